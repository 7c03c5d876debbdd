"""The documents: every command they show runs, every key of the spec is explained, every link leads somewhere."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from polyfleet.terms import launch_section
from polyfleet.terms import spec as spec_terms

ROOT = Path(__file__).resolve().parent.parent
_SPEC = importlib.util.spec_from_file_location("refresh_docs", ROOT / "tools" / "refresh_docs.py")
refresh_docs = importlib.util.module_from_spec(_SPEC)
sys.modules["refresh_docs"] = refresh_docs  # dataclasses look their module up there
_SPEC.loader.exec_module(refresh_docs)

DOCUMENTS = refresh_docs.documents()
SHOWING = [path for path in DOCUMENTS if list(refresh_docs.shown_commands(path.read_text()))]


@pytest.mark.parametrize("path", SHOWING, ids=lambda p: p.name)
def test_every_command_that_a_document_shows_exits_as_it_says(path, tmp_path):
    folder = refresh_docs.playground(tmp_path)
    text = path.read_text()
    with refresh_docs.nothing_left(text, folder):
        for shown in refresh_docs.shown_commands(text):
            done = refresh_docs.run(shown, folder)
            assert done.returncode == shown.code, f"{shown.line}\n{done.stderr}"


def test_every_key_of_the_spec_is_explained():
    text = (ROOT / "docs" / "spec.md").read_text()
    values = (*vars(spec_terms).values(), *vars(launch_section).values())
    parts = [v for v in values if isinstance(v, type) and issubclass(v, BaseModel)]
    keys = {key for part in parts for key in part.model_fields}
    assert keys
    assert {key for key in keys if not re.search(rf"\b{key}\b", text)} == set()


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_between_documents_lead_somewhere(path):
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / target).exists(), target
