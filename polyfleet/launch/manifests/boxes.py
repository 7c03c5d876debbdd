"""Which replicas stand on which rented machine."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from polyfleet.terms.plan import Line, Plan, Rental


@dataclass(slots=True)
class Machine:
    """One rented machine: `held` are (line id, replica id, its first chip here)."""

    rental: Rental
    number: int
    free: int
    held: list[tuple[int, str, int]] = field(default_factory=list)

    @property
    def layout(self) -> tuple[tuple[int, int], ...]:
        """(line id, replicas of it): machines with the same one are started alike."""
        return tuple(sorted(Counter(line for line, _, _ in self.held).items()))


def machines_of(plan: Plan, window: int, replicas: Sequence[tuple[Line, Sequence[str]]]) -> tuple[Machine, ...]:
    """Replicas put on the machines rented in a window, those of most chips first, each on the first that has room.

    A replica that spans machines takes whole ones and stands with the first of them. Where the plan's machines do not
    suffice (chips left over in pieces), one more of the line's offer is taken.
    """
    machines = [
        Machine(rental, number, rental.chips_per_instance)
        for rental in plan.rentals for number in range(rental.instances[window])
    ]  # fmt: skip
    for line, ids in sorted(replicas, key=lambda item: (-item[0].chips_per_replica, item[0].id)):
        for replica in ids:
            _put(plan, machines, line, replica)
    return tuple(machine for machine in machines if machine.held)


def _put(plan: Plan, machines: list[Machine], line: Line, replica: str) -> None:
    mine = [m for m in machines if m.rental.offer in line.offers]
    if not mine or line.chips_per_replica <= mine[0].rental.chips_per_instance:
        machine = next((m for m in mine if m.free >= line.chips_per_replica), None) or _another(plan, machines, line)
        machine.held.append((line.id, replica, machine.rental.chips_per_instance - machine.free))
        machine.free -= line.chips_per_replica
        return
    needed = -(-line.chips_per_replica // mine[0].rental.chips_per_instance)
    whole = [m for m in mine if not m.held and m.free == m.rental.chips_per_instance][:needed]
    whole += [_another(plan, machines, line) for _ in range(needed - len(whole))]
    whole[0].held.append((line.id, replica, 0))
    for machine in whole:
        machine.free = 0


def _another(plan: Plan, machines: list[Machine], line: Line) -> Machine:
    rental = next(r for r in plan.rentals if r.offer in line.offers)
    machine = Machine(rental, sum(m.rental == rental for m in machines), rental.chips_per_instance)
    machines.append(machine)
    return machine
