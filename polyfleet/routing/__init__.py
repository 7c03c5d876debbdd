"""Who takes the next request: pure functions of what is known, over plain lists.

The gate and the replay run the same ones. Time and chance are handed in; no I/O, no health, no HTTP. A policy returns
an index into the lists that it was given, or -1 where nobody may take the request. Work is counted in tokens.
"""

from polyfleet.routing.affinity import Ring, bounded_load
from polyfleet.routing.bucket import nearest_bucket
from polyfleet.routing.canary import Canary
from polyfleet.routing.choose import Choice, View
from polyfleet.routing.fair_queue import FairQueue
from polyfleet.routing.fair_share import Shares
from polyfleet.routing.promises import Promises
from polyfleet.routing.simple import RoundRobin, least_work
from polyfleet.routing.work import INPUT_WORK, work_tokens

__all__ = [
    "INPUT_WORK",
    "Canary",
    "Choice",
    "FairQueue",
    "Promises",
    "Ring",
    "RoundRobin",
    "Shares",
    "View",
    "bounded_load",
    "least_work",
    "nearest_bucket",
    "work_tokens",
]
