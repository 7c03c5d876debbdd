"""The plan as a document: what to rent, who serves what, what each limit costs, and what all that rests on.

Frozen; JSON round trip; `Plan.model_json_schema()` is its schema. Everything but `solver` is the same, bit for bit, for
the same inputs: `digest` covers it.
"""

from __future__ import annotations

import hashlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from polyfleet.errors import PlanFileError


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PlanWindow(_Part):
    """A part of the month, and what is paid for it."""

    name: str
    hours_per_month: float
    usd_per_month: float


class PlanBucket(_Part):
    """Requests of like size."""

    input_tokens: float
    output_tokens: float
    cached_tokens: float = 0.0


class PlanWorkload(_Part):
    """A workload as planned. `rate_per_s` by window and bucket; `headroom` by window multiplies it for the promise."""

    name: str
    model: str
    kind: Literal["serve", "batch"]
    promise: str
    buckets: tuple[PlanBucket, ...]
    rate_per_s: tuple[tuple[float, ...], ...]
    headroom: tuple[float, ...]
    tokens_per_month: float


class Rental(_Part):
    """Instances rented of one offer. `instances` by window; price of one instance with its date and source."""

    offer: str
    provider: str
    region: str
    instance_type: str
    chip: str
    chips_per_instance: int
    purchase: str
    instances: tuple[int, ...]
    instance_hours_per_month: float
    usd_per_hour: float
    usd_per_month: float
    price_as_of: str
    price_source: str


class Line(_Part):
    """Who serves a workload, and how: replicas of a build on rented boxes, or a host by the token.

    `replicas` by window (empty for hosts). `traffic_share` of the workload's tokens, `usd_per_month` with its part of
    idle chips. `speed_p10`, `speed_p90`: capacity at the band's ends over the capacity planned on (P50 unless the
    policy says otherwise). `price_evidence` `listed`; a host's chip vendor may be `assumed`.
    """

    id: int
    kind: Literal["own", "hosted"]
    workload: str
    offers: tuple[str, ...]
    provider: str
    chip_vendor: str
    region: str
    purchase: str
    chip: str = ""
    chips_per_replica: int = 0
    build: str = ""
    engine: str = ""
    precision: str = ""
    replicas: tuple[int, ...] = ()
    traffic_share: float
    usd_per_month: float
    usd_per_million_tokens: float | None
    speed_p10: float = 1.0
    speed_p90: float = 1.0
    speed_evidence: str
    price_evidence: str = "listed"
    price_as_of: str = ""
    price_source: str = ""
    vendor_evidence: str = "listed"


class Route(_Part):
    """Requests per second of a bucket that a line serves in a window (indices into windows, buckets, line ids)."""

    window: int
    workload: str
    bucket: int
    line: int
    requests_per_s: float


class CapacityRow(_Part):
    """Capacity against demand of one workload and window, in the base case or while something is lost.

    `demand_per_s` mean requests, `staffed_per_s` with headroom (and, in a loss, the share to be kept), `capacity_per_s`
    what the chips standing could serve of that mix; `hosted_per_s` what hosts serve.
    """

    scenario: str
    workload: str
    window: int
    demand_per_s: float
    staffed_per_s: float
    capacity_per_s: float
    hosted_per_s: float


class LossRow(_Part):
    """What happens when one supplier is lost: who takes over, and what hosts then cost beyond the plan."""

    kind: str
    supplier: str
    traffic_share_lost: float
    hosted_usd_per_hour: float
    routes: tuple[Route, ...]


class LimitRow(_Part):
    """A limit: its bound and what is used of it, in `unit`. `marginal_usd_per_month` is the relaxed program's dual, per
    `marginal_of`; whole numbers make the true price differ: `why` re-solves for it."""

    name: str
    kind: str
    bound: float
    used: float
    unit: str
    binding: bool
    marginal_usd_per_month: float | None = None
    marginal_of: str = ""


class SolverFacts(_Part):
    """How the solve went. Not covered by the digest. Times differ between runs, so they are not written to the file."""

    solver: str
    gap_asked: float
    seconds_build: float = Field(0.0, exclude=True)
    seconds_solve: float = Field(0.0, exclude=True)


class ProblemBox(_Part):
    """See `polyfleet.plan.problem.Box`."""

    provider: str
    chip_vendor: str
    region: str
    chip: str
    chips: int
    purchase: str
    steps: tuple[tuple[str, float, int | None], ...]


class ProblemBuild(_Part):
    """A workload's build and its capacity by bucket."""

    workload: int
    model: str
    chip: str
    tp: int
    pp: int
    ep: int
    dp: int
    engine: str
    precision: str
    kv_precision: str
    capacity: tuple[float, ...]
    capacity_lost: tuple[float, ...]
    band: tuple[float, float]
    evidence: str


class ProblemHost(_Part):
    """A hosted option; None = cannot (price) or no limit (limit)."""

    workload: int
    provider: str
    chip_vendor: str
    region: str
    offer: str
    usd_per_request: tuple[float | None, ...]
    limit_per_s: tuple[float | None, ...]


class ProblemNeed(_Part):
    """A workload's demand as the solver sees it."""

    name: str
    rate_per_s: tuple[tuple[float, ...], ...]
    headroom: tuple[float, ...]
    tokens: tuple[float, ...]
    is_batch: bool = False


class ProblemLimits(_Part):
    """The limits as the solver sees them."""

    caps: tuple[tuple[str, str, float, tuple[int, ...]], ...] = ()
    losses: tuple[tuple[str, str], ...] = ()
    keep: float = 1.0
    quotas: tuple[tuple[str, str, int], ...] = ()
    budget_usd_per_month: float | None = None


class ProblemFile(_Part):
    """The numbers that were solved, so that `why` can solve them again without the traces and the catalog."""

    windows: tuple[str, ...]
    hours: tuple[float, ...]
    needs: tuple[ProblemNeed, ...]
    boxes: tuple[ProblemBox, ...]
    builds: tuple[ProblemBuild, ...]
    options: tuple[tuple[int, int, int], ...] = Field(description="box, build, chips taken of the box")
    hosted: tuple[ProblemHost, ...]
    limits: ProblemLimits


class Plan(_Part):
    """What to rent. `gap` is proven: no plan that keeps the limits costs less than `bound_usd_per_month`."""

    version: Literal["1"] = "1"
    spec_digest: str
    catalog_digest: str
    status: Literal["proven", "stopped"]
    usd_per_month: float
    usd_per_month_speed_p10: float | None = Field(
        None,
        description="what the same lines would cost if every build ran at the P10 of its speed, in whole instances; "
        "null where a promise could then not be kept at any load",
    )
    usd_per_month_speed_p90: float | None = Field(None, description="the same at the P90 of the speeds")
    bound_usd_per_month: float
    gap: float
    windows: tuple[PlanWindow, ...]
    workloads: tuple[PlanWorkload, ...]
    rentals: tuple[Rental, ...]
    lines: tuple[Line, ...]
    routes: tuple[Route, ...]
    losses: tuple[LossRow, ...]
    capacity: tuple[CapacityRow, ...]
    limits: tuple[LimitRow, ...]
    warnings: tuple[str, ...] = ()
    problem: ProblemFile
    solver: SolverFacts
    checksum: str = Field("", description="digest of the plan as it was made, written with the file")

    @property
    def digest(self) -> str:
        """SHA-256 of everything but `solver` and `checksum`."""
        return hashlib.sha256(self.model_dump_json(exclude={"solver", "checksum"}).encode()).hexdigest()

    def line(self, number: int) -> Line:
        """The line of an id."""
        return self.lines[number]


def plan_to_json(plan: Plan) -> str:
    """The plan file's text."""
    return plan.model_copy(update={"checksum": plan.digest}).model_dump_json(indent=1)


def plan_from_json(text: str, *, file: str | None = None) -> Plan:
    """Read a plan file.

    Raises PlanFileError where the text is no plan of this version, or was changed after it was made.
    """
    hint = "make it again with `polyfleet plan`"
    try:
        plan = Plan.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(p) for p in first["loc"]) or "plan"
        raise PlanFileError(f"`{where}`: {first['msg']}", file=file, hint=hint) from None
    if plan.checksum != plan.digest:
        raise PlanFileError("the plan was changed after it was made: its checksum differs", file=file, hint=hint)
    return plan.model_copy(update={"checksum": ""})
