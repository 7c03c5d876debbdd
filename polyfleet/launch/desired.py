"""What a spec asks this machine to run."""

from __future__ import annotations

import re
from pathlib import Path

from polyfleet.errors import InputError, SpecError
from polyfleet.launch.engines import find_engine, require_installed, split_command
from polyfleet.launch.reconcile import GATE
from polyfleet.terms.fleet import ReplicaSpec
from polyfleet.terms.spec import Local
from polyfleet.terms.spec_text import SpecSource

_LONGEST_SLUG = 32


def replicas_of(source: SpecSource, home: Path) -> tuple[ReplicaSpec, ...]:
    """The replicas that the spec's `local:` section asks for, their ids numbered by workload.

    Raises SpecError with the line where this machine cannot run one: unknown engine, no weights, weights of another
    kind than the engine reads, more than its memory holds. Raises MissingExtraError where an engine is not installed.
    Nothing has been started then.
    """
    if not source.spec.local:
        raise SpecError(
            "the spec does not say what to run on this machine", file=source.file,
            hint="add for instance `local: {WORKLOAD: {engine: llama.cpp, replicas: 2}}`, or bring up its plan with "
            "`--on sky` or `--on kubernetes`",
        )  # fmt: skip
    made: list[ReplicaSpec] = []
    slugs: dict[str, str] = {}
    for workload, local in source.spec.local.items():
        slug = _slug(workload)
        if slug in slugs:
            raise SpecError(
                f"the workloads {slugs[slug]!r} and {workload!r} would have replicas of the same names",
                file=source.file, line=source.line_of("local", workload), hint="rename one of them",
            )  # fmt: skip
        slugs[slug] = workload
        made += _replicas(source, workload, local, slug, home)
    _require_memory(source, made)
    return tuple(made)


def gate_spec(
    port: int, routes: Path, state_url: str, host: str = "127.0.0.1", *, workers: int = 1, otlp: str | None = None
) -> ReplicaSpec:
    """The gate as a thing to keep running. `state_url` without a password: command lines can be read by anyone here."""
    command = (
        "{python}", "-m", "polyfleet", "gate", "--routes", str(routes), "--state", state_url,
        "--host", host, "--port", str(port), *(("--workers", str(workers)) if workers > 1 else ()),
        *(("--otlp", otlp) if otlp else ()),
    )  # fmt: skip
    return ReplicaSpec(
        id=GATE, workload="", served=(GATE,), engine=GATE, weights="", command=command, port=port, slots=1
    )


def _replicas(source: SpecSource, workload: str, local: Local, slug: str, home: Path) -> list[ReplicaSpec]:
    model, folder = source.spec.workloads[workload].model, Path(source.file or "").parent
    try:
        engine = find_engine(local.engine)
        require_installed(local.engine, local.python)
        command = split_command(local.command) if local.command else ()
    except InputError as error:
        raise SpecError(error.problem, value=error.value, hint=error.hint).at(
            source.file, source.line_of("local", workload, "engine")
        ) from None
    try:
        weights = _weights(model, engine.weights, folder, home)
    except InputError as error:
        raise SpecError(error.problem, file=error.file, value=error.value, hint=error.hint).at(
            source.file, source.line_of("workloads", workload, "model")
        ) from None
    served = tuple(dict.fromkeys((workload, _known_as(model, folder))))
    return [
        ReplicaSpec(
            id=f"{slug}-{number}", workload=workload, served=served,
            engine=local.engine, weights=weights, slots=local.slots, context_tokens=local.context,
            usd_per_hour=local.usd_per_hour, usd_per_m_input=local.usd_per_m_input,
            usd_per_m_output=local.usd_per_m_output, upstream_model=local.upstream_model, command=command,
            health=local.health, python=local.python, threads=local.threads,
        )
        for number in range(local.replicas)
    ]  # fmt: skip


def _weights(model: str, kind: str, folder: Path, home: Path) -> str:
    """The file or folder with the weights. An engine of the user's own may know the model by name alone."""
    from polyfleet.launch.weights import find_folder, find_weights

    own = folder / Path(model).expanduser()
    named = str(own.resolve()) if own.exists() else model
    if kind == "any":
        return named
    return str(find_folder(named) if kind == "folder" else find_weights(named, home))


def _known_as(model: str, folder: Path) -> str:
    """The name that clients may ask for: a path is no name, its last part is."""
    own = folder / Path(model).expanduser()
    return (own.stem if own.is_file() else own.resolve().name) if own.exists() else model


def _require_memory(source: SpecSource, specs: list[ReplicaSpec]) -> None:
    """Refuse what cannot be held at all. Replicas of the same file share its pages, so each file counts once."""
    files = {spec.weights for spec in specs if Path(spec.weights).is_file()}
    needed, there = sum(Path(f).stat().st_size for f in files), available_bytes()
    if there is not None and needed > there:
        raise SpecError(
            f"the weights take {needed / 2**30:.1f} GiB and this machine has {there / 2**30:.1f} GiB free",
            file=source.file, line=source.line_of("local"),
        )  # fmt: skip


def available_bytes() -> int | None:
    """Memory that could be used now, None where the machine does not tell."""
    try:
        text = Path("/proc/meminfo").read_text()
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    return int(found[1]) * 1024 if found else None


def _slug(workload: str) -> str:
    """A workload's name as part of an id: lower case, digits, dashes."""
    slug = re.sub(r"[^a-z0-9]+", "-", workload.casefold()).strip("-")[:_LONGEST_SLUG].strip("-")
    return slug or "workload"
