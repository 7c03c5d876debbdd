"""Machines that are started alike: one file for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from polyfleet.launch.manifests.boxes import Machine
from polyfleet.launch.manifests.fleet import Planned, PlannedLine, slug
from polyfleet.launch.recipes import LaunchRecipe
from polyfleet.terms.plan import Rental


@dataclass(frozen=True, slots=True)
class Seat:
    """A replica's place on a machine."""

    line: PlannedLine
    recipe: LaunchRecipe
    first_chip: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What stands on one machine, and how many machines are to be like it."""

    name: str
    rental: Rental
    machines: int
    seats: tuple[Seat, ...]


def layouts_of(planned: Planned) -> tuple[Layout, ...]:
    """The plan's machines grouped by what stands on them. Replicas that span machines are left out: they are
    Kubernetes' alone."""
    lines = {p.line.id: p for p in planned.lines}
    groups: dict[tuple[str, tuple[tuple[int, int], ...]], list[Machine]] = {}
    for machine in planned.machines:
        if all(lines[line].ask.nodes == 1 for line, _, _ in machine.held):
            groups.setdefault((machine.rental.offer, machine.layout), []).append(machine)
    made, numbers = [], dict[str, int]()
    for (offer, _), machines in groups.items():
        number = numbers[offer] = numbers.get(offer, 0) + 1
        made.append(_layout(f"{_offer_name(machines[0].rental)}-{number}", machines, lines))
    return tuple(made)


def _layout(name: str, machines: list[Machine], lines: Mapping[int, PlannedLine]) -> Layout:
    first = machines[0]
    shared = len(first.held) > 1
    seats = []
    for port, (line, _, chip) in enumerate(first.held, start=8000):
        planned = lines[line]
        ask = replace(planned.ask, first_chip=chip, port=port, shared=shared or planned.build.chips < _chips(first))
        seats.append(Seat(planned, planned.at(ask), chip))
    return Layout(name, first.rental, len(machines), tuple(seats))


def _chips(machine: Machine) -> int:
    return machine.rental.chips_per_instance


def _offer_name(rental: Rental) -> str:
    place = "" if rental.region == "*" else f"-{rental.region}"
    return slug(f"{rental.provider}{place}-{rental.instance_type}-{rental.purchase}", 80)
