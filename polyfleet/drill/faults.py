"""What a drill does to a replica."""

from __future__ import annotations

from enum import StrEnum


class Fault(StrEnum):
    """KILL: SIGKILL. FREEZE: SIGSTOP, the connection stays open and silent. CUT: its connections are reset. SLOW: every
    piece of its answers comes late. GARBLE: bytes of its answers are overwritten."""

    KILL = "kill"
    FREEZE = "freeze"
    CUT = "cut"
    SLOW = "slow"
    GARBLE = "garble"

    @property
    def by_proxy(self) -> bool:
        """On the way between gate and replica, not in the replica's process."""
        return self in {Fault.CUT, Fault.SLOW, Fault.GARBLE}
