"""Typed reading of a config.json: every value is checked, and an error names the key."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from polyfleet.errors import ModelError

MOST = 10_000_000  # no width, vocabulary or expert count in any published config comes near
MOST_LAYERS = 4_000
MOST_ITEMS = 200_000  # a quantisation config may name every projection of every expert
MOST_CONTEXT = 1_000_000_000


@dataclass(frozen=True)
class Config:
    """A config.json, or one of its sections, that answers only with sound values.

    `path` is where the section stands (`text_config.`), so that an error names the full key.
    All methods raise ModelError with the key when the value is missing, of the wrong type or out of bounds.
    """

    values: Mapping[str, Any]
    model: str
    path: str = ""

    def wrong(self, key: str, problem: str, hint: str | None = None) -> ModelError:
        """A ModelError about one key, for readers that find a contradiction themselves."""
        return ModelError(
            f"{self.model}: config key '{self.path}{key}' {problem}", value=self.values.get(key), hint=hint
        )

    def has(self, key: str) -> bool:
        """Whether the key is there and not null."""
        return self.values.get(key) is not None

    def count(self, *keys: str, default: int | None = None, most: int = MOST, least: int = 1) -> int:
        """The first of `keys` that is set, an integer from `least` to `most`."""
        key = next((k for k in keys if self.has(k)), None)
        if key is None:
            if default is None:
                raise self.wrong(keys[0], "is missing", "a whole number is needed")
            return default
        return self._whole(key, self.values[key], least, most)

    def number(self, key: str) -> float:
        """A finite number above zero."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < MOST:
            raise self.wrong(key, "must be a number above zero")
        return float(value)

    def flag(self, key: str, default: bool) -> bool:
        """True or false."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return value

    def text(self, key: str, default: str) -> str:
        """A string."""
        value = self.values.get(key)
        if value is None:
            return default
        if not isinstance(value, str):
            raise self.wrong(key, "must be a string")
        return value

    def section(self, key: str) -> Config:
        """A nested object."""
        value = self.values.get(key)
        if not isinstance(value, Mapping):
            raise self.wrong(key, "must be an object" if self.has(key) else "is missing")
        return Config(value, self.model, f"{self.path}{key}.")

    def sections(self, key: str) -> list[Config]:
        """A list of nested objects."""
        return [
            Config(self._mapping(key, item), self.model, f"{self.path}{key}[{i}].")
            for i, item in enumerate(self._list(key))
        ]

    def texts(self, key: str) -> list[str]:
        """A list of strings."""
        items = self._list(key)
        for item in items:
            if not isinstance(item, str):
                raise self.wrong(key, "must be a list of strings")
        return [str(item) for item in items]

    def names(self, key: str) -> list[str]:
        """A list of strings, or one string alone."""
        value = self.values.get(key)
        return [value] if isinstance(value, str) else self.texts(key)

    def counts(self, key: str, *, least: int = 0) -> list[int]:
        """A list of integers."""
        return [self._whole(key, item, least, MOST) for item in self._list(key)]

    def layers(self) -> int:
        """`num_hidden_layers` under any of its names."""
        return self.count("num_hidden_layers", "n_layer", "n_layers", most=MOST_LAYERS)

    def context(self) -> int:
        """Longest context in tokens, under any of its names."""
        return self.count(
            "max_position_embeddings",
            "n_positions",
            "max_sequence_length",
            "seq_length",
            default=2048,
            most=MOST_CONTEXT,
        )

    def per_layer(self, key: str, layers: int, known: Sequence[str]) -> list[str]:
        """A list of one word a layer, each one of `known`."""
        words = self.texts(key)
        if len(words) < layers:
            raise self.wrong(key, f"names {len(words)} layers, but the model has {layers}")
        for word in words:
            if word not in known:
                raise self.wrong(key, f"names an unknown layer type '{word}'", f"known: {', '.join(known)}")
        return words[:layers]

    def _whole(self, key: str, value: object, least: int, most: int) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            if isinstance(value, float) and math.isnan(value):
                raise self.wrong(key, "is not a number", "a whole number is needed")
            raise self.wrong(key, "must be a whole number")
        if not least <= value <= most:
            raise self.wrong(key, f"must be from {least} to {most:,}")
        return value

    def _list(self, key: str) -> Sequence[Any]:
        value = self.values.get(key)
        if not isinstance(value, list | tuple):
            raise self.wrong(key, "must be a list" if self.has(key) else "is missing")
        if len(value) > MOST_ITEMS:
            raise self.wrong(key, f"has {len(value):,} items, more than any config lists")
        return value

    def _mapping(self, key: str, value: object) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise self.wrong(key, "must be a list of objects")
        return value
