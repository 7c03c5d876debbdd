"""What the gate measures: one row a metric."""

from __future__ import annotations

from typing import Literal, NamedTuple


class Family(NamedTuple):
    """`labels` in order; `bounds` of a histogram, in its unit."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    told: str
    bounds: tuple[float, ...] = ()


FIRST_BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
GAP_BOUNDS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
WAIT_BOUNDS_S = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

FAMILIES = (
    Family("polyfleet_requests", "counter", ("model", "status"), "Requests, by the status that the client saw"),
    Family("polyfleet_request_seconds", "histogram", ("model",), "From request to last byte", FIRST_BOUNDS_S),
    Family("polyfleet_attempts", "counter", ("route", "outcome"), "Attempts on a route, by how they ended"),
    Family("polyfleet_ttft_seconds", "histogram", ("route",), "From attempt to first byte", FIRST_BOUNDS_S),
    Family("polyfleet_inter_token_seconds", "histogram", ("route",), "Between pieces of an answer", GAP_BOUNDS_S),
    Family(
        "polyfleet_tokens",
        "counter",
        ("route", "kind"),
        "Tokens in and out of answers, as the engine counted them; of a resumed one on its last route",
    ),
    Family("polyfleet_spend_usd", "counter", ("route", "provider"), "Spend at the offers' prices"),
    Family("polyfleet_retries", "counter", ("model", "reason"), "Requests sent again before their first byte"),
    Family("polyfleet_resumes", "counter", ("model", "route", "to"), "Streams continued on another route"),
    Family("polyfleet_poisoned", "counter", ("model",), "Requests given up because they kill replicas"),
    Family("polyfleet_ejections", "counter", ("route", "reason"), "Routes taken out for a while"),
    Family("polyfleet_holds", "counter", ("route", "reason"), "Routes held back: no key, key refused, rate limited"),
    Family("polyfleet_refusals", "counter", ("model", "code"), "Requests refused by the gate"),
    Family("polyfleet_queue_seconds", "histogram", ("model",), "Waiting for admission", WAIT_BOUNDS_S),
    Family("polyfleet_log_lines_lost", "counter", (), "Access log lines that could not be written"),
    Family("polyfleet_queue", "gauge", ("model",), "Requests that wait"),
    Family("polyfleet_predicted_wait_seconds", "gauge", ("model",), "Wait of a new key's request; of workers, the sum"),
    Family("polyfleet_in_flight", "gauge", ("route",), "Requests in flight"),
    Family("polyfleet_work_tokens", "gauge", ("route",), "Work in flight in tokens"),
    Family("polyfleet_route", "gauge", ("route", "state"), "Gate workers that see the route in this state"),
    Family("polyfleet_route_held", "gauge", ("route", "reason"), "Gate workers that hold the route back"),
    Family("polyfleet_rate_limit", "gauge", ("route", "kind", "worker"), "A host's limit as its headers told last"),
    Family("polyfleet_rate_limit_remaining", "gauge", ("route", "kind", "worker"), "What was left of it then"),
)
BY_NAME = {family.name: family for family in FAMILIES}
