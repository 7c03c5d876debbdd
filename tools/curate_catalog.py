"""Makes the catalog's packaged tables, docs/data.md and docs/recipes.md out of a folder of raw data.

    python tools/curate_catalog.py RAW_FOLDER [--out REPOSITORY]

The same raw folder gives the same bytes. Decisions that a person made stand in `tools/curation/decisions/*.csv`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from curation import chips, document, hosted, offers, recipes, regions
from curation.tables import decisions


def curate(raw_folder: Path, repository: Path) -> None:
    """Write `polyfleet/catalog/tables/*.csv`, `docs/data.md` and `docs/recipes.md` under `repository`."""
    tables = repository / "polyfleet" / "catalog" / "tables"
    reports = [
        chips.curate(raw_folder, tables),
        *offers.curate(raw_folder, tables),
        hosted.curate(raw_folder, tables),
        regions.curate(raw_folder, tables),
        recipes.curate(raw_folder, tables),
    ]
    docs = repository / "docs"
    docs.mkdir(parents=True, exist_ok=True)
    (docs / "data.md").write_text(document.page(reports), encoding="utf-8")
    (docs / "recipes.md").write_text(document.recipes_page(decisions("recipes")), encoding="utf-8")
    for report in reports:
        print(f"{report.title}: {report.kept} rows kept of {report.raw_rows} raw rows")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("raw_folder", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).resolve().parents[1])
    arguments = parser.parse_args()
    curate(arguments.raw_folder, arguments.out)


if __name__ == "__main__":
    main()
