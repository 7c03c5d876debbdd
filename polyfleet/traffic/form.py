"""The forms of trace that can be read, told apart by the names of their columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from polyfleet.errors import TraceError


class TimeUnit(StrEnum):
    """What a time column holds."""

    DATE = "date"  # ISO 8601 text
    SECONDS = "seconds"  # since the start of the trace
    MILLISECONDS = "milliseconds"  # since the start of the trace
    DATE_OR_SECONDS = "date or seconds"  # ISO 8601 text, seconds since 1970, or seconds since the start


@dataclass(frozen=True, slots=True)
class Form:
    """A known form. Column names are compared without regard to case; further columns are passed over.
    `cached` and `hashes` are read where they are there."""

    name: str
    time: str
    unit: TimeUnit
    input: str
    output: str
    cached: str | None = None
    hashes: str | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.time, self.input, self.output, *(c for c in (self.cached, self.hashes) if c))


FORMS = (
    Form("polyfleet", "arrival_s", TimeUnit.SECONDS, "input_tokens", "output_tokens", cached="cached_tokens"),
    Form("polyfleet", "timestamp", TimeUnit.DATE_OR_SECONDS, "input_tokens", "output_tokens", cached="cached_tokens"),
    Form("Azure", "TIMESTAMP", TimeUnit.DATE, "ContextTokens", "GeneratedTokens"),
    Form("BurstGPT", "Timestamp", TimeUnit.SECONDS, "Request tokens", "Response tokens"),
    Form("Mooncake", "timestamp", TimeUnit.MILLISECONDS, "input_length", "output_length", hashes="hash_ids"),
)
KNOWN_FORMS = "known forms: " + "; ".join(f"{f.name}: {', '.join(f.columns[:3])}" for f in FORMS)


def recognise(names: Sequence[str], file: str, line: int | None) -> Form:
    """The known form of a trace with these column names, its names spelled as they stand in the trace.

    Raises TraceError when a name stands twice or no form fits; `line` is where the names stand.
    """
    spelled: dict[str, str] = {}
    for name in names:
        key = name.strip().casefold()
        if key in spelled:
            raise TraceError("a column stands twice", file=file, line=line, value=name, hint="keep one of the two")
        spelled[key] = name
    for form in FORMS:
        if all(c.casefold() in spelled for c in (form.time, form.input, form.output)):
            return Form(
                form.name,
                spelled[form.time.casefold()],
                form.unit,
                spelled[form.input.casefold()],
                spelled[form.output.casefold()],
                spelled.get(form.cached.casefold()) if form.cached else None,
                spelled.get(form.hashes.casefold()) if form.hashes else None,
            )
    raise TraceError("unknown columns", file=file, line=line, value=", ".join(names), hint=KNOWN_FORMS)
