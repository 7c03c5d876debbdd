"""Who may ask, for how much, and what was used.

Keys, budgets and rates live in the database; a worker leases small parts of them ahead of need, so that admitting a
request touches no database, and the parts of all workers never come to more than the whole. Nothing here knows HTTP or
engines, and no key, prompt or answer is ever written: of a key the database holds the SHA-256, for the rest names.
"""

from polyfleet.gate.keys.change import Limit, change_key
from polyfleet.gate.keys.door import Door
from polyfleet.gate.keys.open_door import OpenDoor
from polyfleet.gate.keys.passes import Estimate, Pass, Used
from polyfleet.gate.keys.store import KeyFacts, create_key, list_keys, revoke_key

__all__ = [
    "Door",
    "Estimate",
    "KeyFacts",
    "Limit",
    "OpenDoor",
    "Pass",
    "Used",
    "change_key",
    "create_key",
    "list_keys",
    "revoke_key",
]
