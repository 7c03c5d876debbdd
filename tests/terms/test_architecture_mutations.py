"""Whatever is broken in a config.json, the reader gives a sound model or a ModelError, and nothing else."""

from __future__ import annotations

import contextlib
import copy
import json
import math
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from polyfleet.catalog.models import find_model, list_models
from polyfleet.catalog.reading import TABLES
from polyfleet.errors import ModelError
from polyfleet.terms.architecture import model_from_config
from polyfleet.terms.flops import decode_flops_per_token, prefill_flops
from polyfleet.terms.footprint import decode_kv_bytes, kv_bytes, weight_bytes
from polyfleet.terms.model import Model

ONE_OF_EACH = sorted({find_model(name).architecture: name for name in list_models()}.values())
CONFIGS: dict[str, dict[str, Any]] = {
    name: json.loads((TABLES / "models" / "configs" / f"{name.replace('/', '--')}.json").read_text(encoding="utf-8"))
    for name in ONE_OF_EACH
}
BROKEN = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.sampled_from([0, -1, 10**7, 10**7 + 1, 10**30, 2**63]),
    st.floats(allow_nan=True, allow_infinity=True),
    st.text(max_size=8),
    st.lists(st.one_of(st.integers(-2, 5), st.text(max_size=4), st.none()), max_size=4),
    st.dictionaries(st.text(max_size=6), st.integers(-2, 9), max_size=3),
)


def paths(config: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a config: keys of objects, and the first items of lists."""
    items: Any = []
    if isinstance(config, dict):
        items = config.items()
    elif isinstance(config, list):
        items = list(enumerate(config))[:2]
    return [path for key, value in items for path in [(*prefix, key), *paths(value, (*prefix, key))]]


def mutated(config: dict[str, Any], path: tuple[Any, ...], value: Any, remove: bool) -> dict[str, Any]:
    changed = copy.deepcopy(config)
    place: Any = changed
    for key in path[:-1]:
        place = place[key]
    if remove:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return changed


def assert_sound(model: Model) -> None:
    assert 0 < model.active_params <= model.total_params
    assert model.layers > 0
    assert model.head_params >= 0
    assert model.embedding_params > 0
    for group in model.groups:
        assert group.count > 0
        assert min(group.attention.params, group.ffn.total_params, group.other_params) >= 0
        assert group.attention.indexer_values_per_token <= group.attention.cached_values_per_token
    figures = [
        weight_bytes(model, model.checkpoint.precision),
        kv_bytes(model, 1000.0, model.checkpoint.kv_precision),
        decode_kv_bytes(model, 1000.0, model.checkpoint.kv_precision),
        decode_flops_per_token(model, 1000.0),
        prefill_flops(model, 1000.0),
    ]
    assert all(math.isfinite(f) and f >= 0 for f in figures)


@settings(max_examples=1200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_mutated_config_gives_a_sound_model_or_a_model_error(data: st.DataObject) -> None:
    config = CONFIGS[data.draw(st.sampled_from(ONE_OF_EACH))]
    for _ in range(data.draw(st.integers(1, 3))):
        places = paths(config)
        if not places:
            break
        config = mutated(config, data.draw(st.sampled_from(places)), data.draw(BROKEN), data.draw(st.booleans()))
    with contextlib.suppress(ModelError):
        assert_sound(model_from_config(config, name="mutant"))


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.text(max_size=10), BROKEN, max_size=6))
def test_arbitrary_object_is_refused(config: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="noise"):
        model_from_config(config, name="noise")
