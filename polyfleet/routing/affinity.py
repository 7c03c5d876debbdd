"""Same conversation, same replica, unless it is overloaded."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from struct import unpack

_ROOM_MOST = 16.0
"""Room beyond which a route is not filled for the sake of a conversation alone."""

_POINTS = 96
"""Points on the ring of a route of average share."""


def key_hash(key: str) -> int:
    """64 bits of a key; the same in every process."""
    return int.from_bytes(blake2b(key.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "little")


def points_of(name: str, count: int) -> list[int]:
    """Where an id stands on the ring: the first `count` of its points, the same in every process."""
    found: list[int] = []
    for block in range(-(-count // 8)):
        found += unpack("<8Q", blake2b(f"{name}#{block}".encode("utf-8", "surrogatepass"), digest_size=64).digest())
    return found[:count]


class Ring:
    """Consistent hashing: a route that comes or goes moves only the conversations that it had or gets."""

    def __init__(self, ids: Sequence[str], shares: Sequence[float] | None = None) -> None:
        """Points of each id in proportion to its share (of the mean); ids with share 0 still have one point."""
        given = list(shares) if shares is not None else [1.0] * len(ids)
        mean = sum(given) / len(given) if given and sum(given) > 0 else 1.0
        points = sorted(
            (at, i) for i, name in enumerate(ids) for at in points_of(name, max(1, round(_POINTS * given[i] / mean)))
        )
        self._at = [at for at, _ in points]
        self._owner = [owner for _, owner in points]
        self._count = len(ids)

    def walk(self, hashed: int) -> Iterator[int]:
        """Every index once, in the order in which the ring meets them from this point on."""
        owners = self._owner
        if not owners:
            return
        start = bisect_right(self._at, hashed) % len(owners)
        yield owners[start]
        seen = {owners[start]}
        for step in range(start + 1 - len(owners), start):
            owner = owners[step]
            if owner not in seen:
                yield owner
                seen.add(owner)
                if len(seen) == self._count:
                    return


def bounded_load(
    ring: Ring,
    hashed: int,
    work: Sequence[float],
    shares: Sequence[float],
    cost: float,
    allowed: Sequence[int],
    *,
    bound: float = 1.25,
    rooms: Sequence[float] | None = None,
    flights: Sequence[int] | None = None,
) -> int:
    """The first allowed one on the ring whose work is under `bound` × its share of all work with this request; or -1.

    Mirrokni, Thorup and Zadimoghaddam, 2018 (consistent hashing with bounded loads), with tokens for balls: a bin
    takes one more where its load is below the bound, as `load + 1 <= ceil(bound × mean)` says in whole balls. `rooms`
    (requests): half of its room, of requests like this one, is never overload, so that two in an idle pool are not;
    nor is it where `flights` fill less than half of it, however long they are.
    """
    total, share_sum = cost, 0.0
    for i in allowed:
        total += work[i]
        share_sum += shares[i]
    if share_sum <= 0:
        return -1
    limit = bound * total / share_sum
    for i in ring.walk(hashed):
        if i not in allowed:
            continue
        half = 0.5 * min(rooms[i], _ROOM_MOST) if rooms else 0.0
        if work[i] < max(limit * shares[i], half * cost) or (flights is not None and flights[i] < half):
            return i
    return -1
