"""What is not installed is named before anything is started."""

import pytest

from polyfleet.errors import MissingExtraError
from polyfleet.launch import extras


@pytest.mark.parametrize(("missing", "gate", "refused"), [
    ("sqlalchemy", False, True), ("aiohttp", False, False), ("aiohttp", True, True), ("uvloop", True, True),
    (None, True, False),
])  # fmt: skip
def test_the_extra_that_brings_it_is_named(monkeypatch, missing, gate, refused):
    found = extras.importlib.util.find_spec
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    if not refused:
        extras.require_extras(gate=gate)
        return
    with pytest.raises(MissingExtraError, match=r"install polyfleet\[serve\]"):
        extras.require_extras(gate=gate)
