"""How a model is laid on chips."""

from __future__ import annotations

from dataclasses import dataclass

from polyfleet.terms.precision import Precision


@dataclass(frozen=True, slots=True, order=True)
class Build:
    """One way to run a model: model x chip x count x engine x precision. One running build is a replica.

    `tp` x `pp` x `dp` = `chips`. `tp` and `pp` count chips (never vendor cores). `ep` is the number of chips the
    experts are spread over (1 = not spread). `dp` > 1 means attention-DP inside one replica: attention and its KV are
    split by sequence, experts are shared.
    """

    model: str
    chip: str
    tp: int
    engine: str
    precision: Precision
    kv_precision: Precision
    pp: int = 1
    ep: int = 1
    dp: int = 1

    @property
    def chips(self) -> int:
        """Chips that one replica occupies."""
        return self.tp * self.pp * self.dp

    @property
    def label(self) -> str:
        """Short name for tables, for instance `4xH100-SXM fp8 vllm`."""
        return f"{self.chips}x{self.chip} {self.precision} {self.engine}"
