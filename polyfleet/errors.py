"""The error tree. Every error polyfleet raises on purpose is one of these.

PolyfleetError                what went wrong, in words the reader can act on
├── InputError                the user's input is wrong: file, line, value, what would be right (exit code 2)
│   ├── SpecError             the spec
│   ├── TraceError            a traffic trace
│   ├── CatalogError          a catalog table, packaged or the user's own
│   ├── ModelError            a model: unknown name, unknown architecture, broken config.json
│   ├── RowsError             measured rows given to `speed --rows` or `calibrate`
│   ├── PlanFileError         a plan file that cannot be read
│   └── RoutesError           the gate's routes file
├── InfeasibleError           a sound spec that no plan can satisfy; carries the limits that clash (exit code 2)
├── UnservableError           one build cannot run one model, or cannot keep one promise; carries the reason
├── MissingExtraError         an optional dependency is not installed; names the extra (exit code 2)
├── LaunchError               a replica or the gate cannot be started, found or stopped
└── SolverError               the solver gave no answer; `can_retry` tells whether trying again may help
"""

from __future__ import annotations

from collections.abc import Sequence


class PolyfleetError(Exception):
    """Base of all. `exit_code` is what the command line returns; `can_retry` tells whether a retry can help."""

    exit_code: int = 1
    can_retry: bool = False


class InputError(PolyfleetError):
    """Wrong input: one clear message with file, line, value and what would be right.

    Parameters are joined as `file:line: problem (got 'value'); hint`; absent parts are left out.
    """

    exit_code = 2

    def __init__(
        self,
        problem: str,
        *,
        file: str | None = None,
        line: int | None = None,
        value: object | None = None,
        hint: str | None = None,
    ) -> None:
        self.problem = problem
        self.file = file
        self.line = line
        self.value = value
        self.hint = hint
        super().__init__(self._message())

    def _message(self) -> str:
        place = self.file or ""
        if self.line is not None:
            place = f"{place}:{self.line}" if place else f"line {self.line}"
        text = f"{place}: {self.problem}" if place else self.problem
        if self.value is not None:
            shown = repr(self.value)
            text += f" (got {shown if len(shown) <= 80 else shown[:77] + '...'})"
        return f"{text}; {self.hint}" if self.hint else text

    def at(self, file: str | None = None, line: int | None = None) -> InputError:
        """The same error with its place filled in where it was not known yet.

        An error in another file keeps its own place, and says where that file is named.
        """
        kind = type(self)
        if self.file and file and self.file != file:
            named = f"{file}:{line}" if line is not None else file
            problem = f"{self.problem} (named at {named})"
            return kind(problem, file=self.file, line=self.line, value=self.value, hint=self.hint)
        return kind(
            self.problem,
            file=self.file or file,
            line=self.line if self.line is not None else line,
            value=self.value,
            hint=self.hint,
        )


class SpecError(InputError):
    """The spec is wrong."""


class TraceError(InputError):
    """A traffic trace cannot be read."""


class CatalogError(InputError):
    """A catalog table is missing or wrong."""


class ModelError(InputError):
    """A model is unknown, or its config.json is of an architecture polyfleet does not know."""


class RowsError(InputError):
    """Measured rows cannot be read."""


class PlanFileError(InputError):
    """A plan file cannot be read."""


class RoutesError(InputError):
    """A routes file cannot be read."""


class MissingExtraError(PolyfleetError):
    """An optional dependency is not installed."""

    exit_code = 2

    def __init__(self, what: str, extra: str) -> None:
        super().__init__(f"{what} needs the extra {extra!r}; install polyfleet[{extra}]")


class LaunchError(PolyfleetError):
    """Something cannot be started, found or stopped."""


class InfeasibleError(PolyfleetError):
    """No plan keeps every limit. `clash` is a smallest set of limits that cannot hold together."""

    exit_code = 2

    def __init__(self, message: str, *, clash: Sequence[str] = (), nearest: str | None = None) -> None:
        self.clash = tuple(clash)
        self.nearest = nearest
        super().__init__(message)


class UnservableError(PolyfleetError):
    """A build cannot run the model, or cannot keep the promise at any load."""

    exit_code = 2


class SolverError(PolyfleetError):
    """The solver stopped without an answer."""

    def __init__(self, message: str, *, can_retry: bool = False) -> None:
        super().__init__(message)
        self.can_retry = can_retry
