"""The shell of every page: one HTML file with style, script and figures inside, so that it opens offline."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from importlib.resources import files
from typing import Any


@dataclass
class Page:
    """A page under construction: parts are added in reading order, `html` is the whole file.

    Texts given to its methods are escaped; only `raw` takes markup.
    """

    title: str
    _parts: list[str] = field(default_factory=list)
    _figures: list[str] = field(default_factory=list)

    def raw(self, markup: str) -> None:
        self._parts.append(markup)

    def heading(self, text: str, note: str = "") -> None:
        self.raw(f"<h2>{escape(text)}</h2>" + (f'<p class="quiet">{escape(note)}</p>' if note else ""))

    def paragraph(self, text: str, kind: str = "") -> None:
        self.raw(f'<p class="{kind}">{escape(text)}</p>')

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Cards of (figure, what it is)."""
        cards = "".join(f'<div class="fact"><b>{escape(f)}</b><span>{escape(w)}</span></div>' for f, w in facts)
        self.raw(f'<div class="facts">{cards}</div>')

    def table(self, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """A column name that starts with `>` is aligned right."""
        right = [' class="r"' if c.startswith(">") else "" for c in columns]
        head = "".join(f"<th{r}>{escape(c.lstrip('>'))}</th>" for c, r in zip(columns, right, strict=True))
        body = "".join(
            "<tr>" + "".join(f"<td{r}>{escape(c)}</td>" for c, r in zip(row, right, strict=True)) + "</tr>"
            for row in rows
        )
        self.raw(f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>')

    def figure(self, data: Sequence[dict[str, Any]], layout: dict[str, Any], height: int = 340) -> None:
        """A Plotly figure, as plain dictionaries; colours of paper and ink follow the reader's scheme."""
        name = f"figure-{len(self._figures)}"
        base = {"height": height, "margin": {"l": 60, "r": 16, "t": 16, "b": 48}, "hovermode": "closest"}
        text = json.dumps({"data": list(data), "layout": {**base, **layout}}, allow_nan=False).replace("</", "<\\/")
        self._figures.append(f'<script type="application/json" id="{name}-data">{text}</script>')
        self.raw(f'<div class="plot" id="{name}" style="height:{height}px"></div>')

    def html(self) -> str:
        """The whole file."""
        from plotly.offline import get_plotlyjs

        assets = files("polyfleet.page").joinpath("assets")
        style, script = (assets.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("css", "js"))
        drawn = f"<script>{get_plotlyjs()}</script>{''.join(self._figures)}<script>{script}</script>"
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark">'
            f"<title>{escape(self.title)}</title><style>{style}</style></head>\n"
            f"<body><main>{''.join(self._parts)}</main>{drawn if self._figures else ''}</body></html>\n"
        )


def axis(title: str, **more: Any) -> dict[str, Any]:
    """An axis with its title, for a figure's layout."""
    return {"title": {"text": title, "standoff": 8}, "automargin": True, **more}


PALETTE = (
    "#2563eb", "#d97706", "#059669", "#9333ea", "#dc2626", "#0891b2", "#a16207", "#db2777", "#65a30d", "#64748b",
)  # fmt: skip
"""Colours that hold on light and on dark paper, in order of use."""
