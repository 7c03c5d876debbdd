"""Kill `polyfleet up` and the keeper at random moments, run `up` again, and count: is anything doubled or left behind?

    python tools/prove_up.py --kills 20 [--seed 1] [--no-gate] [--model polyfleet/tiny]

Each round starts `polyfleet up` (every fourth from nothing, every third towards another number of replicas), sends
SIGKILL to it, to the keeper, to both, or to a replica and the keeper at a random moment (every second time within the
second that follows the keeper's start, when replicas are being started), then runs `up` to its end.
The oracle is a scan of /proc for the mark that each engine process bears, made by this program itself, every 20 ms
through the whole run: two leaders of one id at any moment are a double, a leader that no `up` wanted after it has
settled, or any process after `down`, is an orphan.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

SPEC = """\
workloads:
  chat:
    model: {model}
    traffic: {{rate: 1/s, input: 100, output: 100}}
local:
  chat: {{engine: llama.cpp, replicas: {replicas}, slots: 2, context: 512}}
"""


@dataclass(frozen=True)
class Seen:
    """A process of the home under proof: what its mark says, and whether it leads its own group."""

    pid: int
    replica: str
    leader: bool


def scan(home: Path) -> tuple[list[Seen], list[int]]:
    """Marked processes of the home, and its keepers."""
    seen, keepers = [], []
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            raw = Path("/proc", entry, "environ").read_bytes().split(b"\0")
            status = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            command = Path("/proc", entry, "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if status[0] in "ZX" or f"POLYFLEET_HOME={home}".encode() not in raw:
            continue
        marks = [line.partition(b"=")[2].decode() for line in raw if line.startswith(b"POLYFLEET_REPLICA=")]
        if marks:
            seen.append(Seen(int(entry), marks[0].partition("/")[2], entry == status[2]))
        elif b"polyfleet.launch" in command:
            keepers.append(int(entry))
    return seen, keepers


@dataclass
class Oracle:
    """Watches from a thread of its own until `stop`."""

    home: Path
    doubles: set[tuple[str, tuple[int, ...]]] = field(default_factory=set)
    scans: int = 0
    stop: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        while not self.stop.is_set():
            leaders: dict[str, list[int]] = {}
            for one in scan(self.home)[0]:
                if one.leader:
                    leaders.setdefault(one.replica, []).append(one.pid)
            for replica, pids in leaders.items():
                if len(pids) > 1:
                    self.doubles.add((replica, tuple(sorted(pids))))
            self.scans += 1
            self.stop.wait(0.02)


class Proof:
    """One home, one port, one source of chance."""

    def __init__(self, folder: Path, seed: int, model: str, port: int, with_gate: bool) -> None:
        self.folder, self.chance, self.model, self.port, self.with_gate = (
            folder,
            random.Random(seed),
            model,
            port,
            with_gate,
        )
        self.home = (folder / "home").resolve()
        self.environment = os.environ | {"POLYFLEET_HOME": str(self.home), "OMP_NUM_THREADS": "1"}
        self.count: Counter[str] = Counter()
        self.problems: list[str] = []
        self.replicas = 3

    def polyfleet(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "polyfleet", *arguments], cwd=self.folder, env=self.environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
        )  # fmt: skip

    def up(self) -> subprocess.Popen[str]:
        spec = self.folder / "spec.yaml"
        spec.write_text(SPEC.format(model=self.model, replicas=self.replicas))
        more = ("--port", str(self.port)) if self.with_gate else ("--no-gate",)
        return self.polyfleet("up", str(spec), "--timeout", "60", *more)

    def round(self, number: int) -> None:
        if number % 4 == 0:
            self.down(number)
        if number % 3 == 0:
            self.replicas = self.chance.choice([n for n in (2, 3, 4) if n != self.replicas])
        begun = self.up()
        self.wait(begun)
        self.kill(begun)
        begun.communicate()
        again = self.up()
        told, _ = again.communicate()
        if again.returncode != 0:
            self.problems.append(f"round {number}: the second up exits {again.returncode}: {told.strip()}")
        else:
            self.judge(number)

    def wait(self, begun: subprocess.Popen[str]) -> None:
        if self.chance.random() < 0.5:
            while begun.poll() is None and not scan(self.home)[1]:
                time.sleep(0.005)
            time.sleep(self.chance.uniform(0, 1.0))
        else:
            time.sleep(self.chance.uniform(0, 3.0))

    def kill(self, begun: subprocess.Popen[str]) -> None:
        what = self.chance.choice(["up", "keeper", "both", "keeper and a replica"])
        self.count[f"killed {what}"] += 1
        seen, keepers = scan(self.home)
        victims = [begun.pid] if what in ("up", "both") else []
        victims += [] if what == "up" else keepers
        if what == "keeper and a replica" and seen:
            victims.append(self.chance.choice(seen).pid)
        for pid in victims:
            try:
                os.kill(pid, signal.SIGKILL)
                self.count["SIGKILLs"] += 1
            except ProcessLookupError:
                self.count["gone before"] += 1

    def judge(self, number: int) -> None:
        """After an `up` that went well: every wanted replica once, nothing else, each on a port of its own."""
        wanted = {f"chat-{n}" for n in range(self.replicas)} | ({"gate"} if self.with_gate else set())
        deadline = time.monotonic() + 15  # what is no longer wanted drains first
        while True:
            seen, keepers = scan(self.home)
            leaders = Counter(one.replica for one in seen if one.leader)
            if leaders == Counter(wanted) and len(keepers) == 1:
                break
            if time.monotonic() > deadline:
                self.problems.append(
                    f"round {number}: wanted {sorted(wanted)}, found {dict(leaders)}, {len(keepers)} keepers"
                )
                self.count["orphaned"] += sum((leaders - Counter(wanted)).values())
                break
            time.sleep(0.05)
        routes = json.loads((self.home / "routes.json").read_text())["routes"]
        urls = [route["url"] for route in routes]
        if len(set(urls)) != len(urls):
            self.count["port clashes"] += 1
        for name in wanted - {"gate"}:
            self.count["port clashes"] += "address already in use" in log_of(self.home, name).lower()

    def down(self, number: int) -> None:
        ended = self.polyfleet("down")
        told, _ = ended.communicate()
        seen, keepers = scan(self.home)
        if ended.returncode != 0 or seen or keepers:
            self.problems.append(
                f"round {number}: down exits {ended.returncode}, leaves {seen} {keepers}: {told.strip()}"
            )
            self.count["orphaned"] += len(seen) + len(keepers)


def log_of(home: Path, replica: str) -> str:
    """A replica's log; empty where there is none."""
    try:
        return (home / "logs" / f"{replica}.log").read_text(errors="replace")
    except OSError:
        return ""


def main() -> None:
    """Prints the counts as JSON; exits 1 where anything is doubled, orphaned or clashes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--model", default="polyfleet/tiny")
    parser.add_argument("--port", type=int, default=18400)
    parser.add_argument("--gate", action=argparse.BooleanOptionalAction, default=True)
    asked = parser.parse_args()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="polyfleet-prove-") as folder:
        proof = Proof(Path(folder), asked.seed, asked.model, asked.port, asked.gate)
        oracle = Oracle(proof.home)
        watcher = threading.Thread(target=oracle.watch)
        watcher.start()
        try:
            for number in range(asked.kills):
                proof.round(number)
                print(f"{number + 1}/{asked.kills} {dict(proof.count)}", file=sys.stderr)
        finally:
            proof.down(asked.kills)
            oracle.stop.set()
            watcher.join()
    found = {
        "rounds": asked.kills, "seed": asked.seed, "doubled": len(oracle.doubles), "orphaned": proof.count["orphaned"],
        "port_clashes": proof.count["port clashes"], "problems": proof.problems, "scans": oracle.scans,
        "kills": {k: v for k, v in sorted(proof.count.items()) if "kill" in k.casefold()},
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip
    print(json.dumps(found, indent=1))
    sys.exit(1 if oracle.doubles or proof.problems or found["port_clashes"] else 0)


if __name__ == "__main__":
    main()
