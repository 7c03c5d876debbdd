"""What is wanted and what runs, kept in the database, by home: several homes can share one."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from pydantic import ValidationError
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Float,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    delete,
    insert,
    select,
    update,
)
from sqlalchemy.exc import SQLAlchemyError

from polyfleet.errors import LaunchError
from polyfleet.terms.fleet import Replica, ReplicaSpec

_METADATA = MetaData()
_HOMES = Table(
    "launch_homes", _METADATA,
    Column("home", String(32), primary_key=True),
    Column("host", Text, nullable=False),
    Column("spec_file", Text, nullable=False, default=""),
    Column("closing", Integer, nullable=False, default=0),
    Column("asked", Integer, nullable=False, default=0),  # counts changes of what is wanted
    Column("seen", Integer, nullable=False, default=0),  # the last of them that the keeper has acted on
    Column("keeper_pid", Integer),
    Column("keeper_seen", Float),
)  # fmt: skip
_WANTED = Table(
    "launch_wanted", _METADATA,
    Column("home", String(32), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("place", Integer, nullable=False),
    Column("spec", Text, nullable=False),
)  # fmt: skip
_REPLICAS = Table(
    "launch_replicas", _METADATA,
    Column("home", String(32), primary_key=True),
    Column("id", String(40), primary_key=True),
    Column("state", String(16), nullable=False),
    Column("replica", Text, nullable=False),
)  # fmt: skip
_PLACES = Table(
    "launch_places", _METADATA,
    Column("home", String(32), primary_key=True),
    Column("place", String(400), primary_key=True),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a home should run. `closing`: nothing, and the keeper ends once nothing does. `asked` grows with every
    `want` and `close`; `seen` is the last one that the keeper has acted on."""

    specs: tuple[ReplicaSpec, ...] = ()
    spec_file: str = ""
    closing: bool = False
    asked: int = 0
    seen: int = 0


@dataclass(frozen=True, slots=True)
class KeeperSeen:
    """The keeper's last sign of life: its process and when (UTC seconds)."""

    pid: int
    at: float


class State:
    """The rows of one home. Every method is one transaction, so that a process that dies leaves whole steps only; each
    raises LaunchError where the database cannot be used."""

    def __init__(self, engine: Engine, home: str) -> None:
        self._engine = engine
        self._home = home
        self._read: tuple[int, tuple[ReplicaSpec, ...]] | None = None  # what was wanted, and as of which change
        _make_tables(engine)

    def want(self, specs: Sequence[ReplicaSpec], spec_file: str) -> None:
        """This is to run from now on, and nothing else."""
        self._write_wanted(specs, spec_file, closing=False)

    def close(self) -> None:
        """Nothing is to run from now on."""
        self._write_wanted((), "", closing=True)

    def wanted(self) -> Wanted:
        with self._begin() as db:
            home = db.execute(select(_HOMES).where(_HOMES.c.home == self._home)).mappings().first()
            if home is None:
                return Wanted()
            if self._read is None or self._read[0] != home["asked"]:
                self._read = home["asked"], self._specs(db)
        return Wanted(self._read[1], home["spec_file"], bool(home["closing"]), home["asked"], home["seen"])

    def places(self) -> tuple[str, ...]:
        """Where replicas were ever wanted since the home was last empty: there they are looked for."""
        with self._begin() as db:
            rows = db.execute(select(_PLACES.c.place).where(_PLACES.c.home == self._home).order_by(_PLACES.c.place))
            return tuple(place for (place,) in rows)

    def forget_places(self) -> None:
        """Nothing runs anywhere; nothing where `want` was called meanwhile."""
        closing = select(_HOMES.c.home).where(_HOMES.c.home == self._home, _HOMES.c.closing == 1)
        with self._begin() as db:
            db.execute(delete(_PLACES).where(_PLACES.c.home == self._home, _PLACES.c.home.in_(closing)))

    def acknowledge(self, asked: int) -> None:
        """The keeper has acted on this."""
        with self._begin() as db:
            db.execute(update(_HOMES).where(_HOMES.c.home == self._home).values(seen=asked))

    def replicas(self) -> dict[str, Replica]:
        """Replicas as the keeper last saw them, by id. Rows that another version wrote are left out: what runs is found
        without them."""
        with self._begin() as db:
            rows = db.execute(select(_REPLICAS.c.id, _REPLICAS.c.replica).where(_REPLICAS.c.home == self._home)).all()
        found: dict[str, Replica] = {}
        for replica_id, replica in rows:
            with suppress(ValidationError):
                found[replica_id] = Replica.model_validate_json(replica)
        return found

    def save(self, before: Mapping[str, Replica], after: Mapping[str, Replica]) -> None:
        """Write what changed from one step to the next."""
        changed = {i: r for i, r in after.items() if before.get(i) != r}
        gone = [i for i in before if i not in after]
        if not changed and not gone:
            return
        with self._begin() as db:
            mine = _REPLICAS.c.home == self._home
            db.execute(delete(_REPLICAS).where(mine, _REPLICAS.c.id.in_([*changed, *gone])))
            if changed:
                db.execute(insert(_REPLICAS), [self._row(replica) for replica in changed.values()])

    def keeper(self) -> KeeperSeen | None:
        with self._begin() as db:
            row = db.execute(select(_HOMES).where(_HOMES.c.home == self._home)).mappings().first()
        return None if row is None or row["keeper_pid"] is None else KeeperSeen(row["keeper_pid"], row["keeper_seen"])

    def sign(self, keeper: KeeperSeen | None) -> None:
        """The keeper's sign of life; None as it ends."""
        values = {"keeper_pid": keeper.pid if keeper else None, "keeper_seen": keeper.at if keeper else None}
        with self._begin() as db:
            db.execute(update(_HOMES).where(_HOMES.c.home == self._home).values(**values))

    @contextmanager
    def _begin(self) -> Iterator[Connection]:
        try:
            with self._engine.begin() as db:
                yield db
        except SQLAlchemyError as error:
            first = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
            raise LaunchError(f"the state cannot be used: {first}") from None

    def _specs(self, db: Connection) -> tuple[ReplicaSpec, ...]:
        rows = db.execute(select(_WANTED.c.spec).where(_WANTED.c.home == self._home).order_by(_WANTED.c.place))
        try:
            return tuple(ReplicaSpec.model_validate_json(spec) for (spec,) in rows)
        except ValidationError:
            raise LaunchError("what is wanted was written by another version; run `polyfleet up` again") from None

    def _write_wanted(self, specs: Sequence[ReplicaSpec], spec_file: str, *, closing: bool) -> None:
        values = {"host": socket.gethostname(), "spec_file": spec_file, "closing": int(closing)}
        with self._begin() as db:
            row = update(_HOMES).where(_HOMES.c.home == self._home)
            if not db.execute(row.values(**values, asked=_HOMES.c.asked + 1)).rowcount:
                db.execute(insert(_HOMES).values(home=self._home, asked=1, **values))
            db.execute(delete(_WANTED).where(_WANTED.c.home == self._home))
            rows = [
                {"home": self._home, "id": spec.id, "place": place, "spec": spec.model_dump_json()}
                for place, spec in enumerate(specs)
            ]
            if rows:
                db.execute(insert(_WANTED), rows)
            known = select(_PLACES.c.place).where(_PLACES.c.home == self._home)
            new = {spec.place for spec in specs} - set(db.execute(known).scalars())
            if new:
                db.execute(insert(_PLACES), [{"home": self._home, "place": place} for place in sorted(new)])

    def _row(self, replica: Replica) -> dict[str, str]:
        return {
            "home": self._home,
            "id": replica.spec.id,
            "state": str(replica.state),
            "replica": replica.model_dump_json(),
        }


def _make_tables(engine: Engine) -> None:
    """Two processes may do this at once: the one that comes second finds them there on its second try."""
    try:
        _METADATA.create_all(engine)
    except SQLAlchemyError:
        _METADATA.create_all(engine)
