"""The rig as a whole: an EC2 on loopback, a user of SkyPilot with an account there, and SkyPilot's API server."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from catalogs import write_catalogs

HERE = Path(__file__).parent
_EC2_PORT, _API_PORT = 5556, 46591
_KEY = "rig-3b1f7c"


class Rig:
    """What proofs do to the cloud, and ask of it beside SkyPilot."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.home, self.python = folder, folder / "home", folder / "venv" / "bin" / "python"

    @property
    def environment(self) -> dict[str, str]:
        """Of a user who has SkyPilot and an account."""
        return os.environ | {
            "HOME": str(self.home), "POLYFLEET_SKY_PYTHON": str(self.python), "VLLM_API_KEY": _KEY,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{_EC2_PORT}", "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_MAX_ATTEMPTS": "2", "SKYPILOT_API_SERVER_LOCAL_PORT": str(_API_PORT),
            "SKYPILOT_DISABLE_USAGE_COLLECTION": "1",
        }  # fmt: skip

    def fail(self, *faults: Mapping[str, Any]) -> None:
        """From now on the cloud answers so; with none, as it should."""
        self._ask("/_faults", json.dumps(faults).encode())

    def refuse_capacity(self, kind: str = ".*", zone: str = ".*", *, market: str = ".*") -> None:
        self.fail({
            "Action": "RunInstances", "code": "InsufficientInstanceCapacity", "count": 10_000,
            "message": "We currently do not have sufficient capacity in the Availability Zone you requested.",
            "status": "500 Internal Server Error",
            "match": {
                "InstanceType": kind, "Placement.AvailabilityZone": zone, "InstanceMarketOptions.MarketType": market,
            },
        })  # fmt: skip

    def reclaim(self, instance: str) -> None:
        """The cloud takes a machine back."""
        self._ask("/_reclaim", instance.encode())

    def instances(self) -> list[dict[str, Any]]:
        """Machines that are not ended, by the cloud's own word."""
        return [each for each in self._ask("/_instances") if each.get("state") in ("pending", "running", "stopped")]

    def machines(self) -> dict[str, list[dict[str, Any]]]:
        """The same by the label that polyfleet gave them."""
        found: dict[str, list[dict[str, Any]]] = {}
        for each in self.instances():
            found.setdefault(each["tags"].get("polyfleet-machine", "nobody's"), []).append(each)
        return found

    def engines(self, machine: Mapping[str, Any]) -> list[int]:
        """Processes of the tiny model on a machine."""
        space = f"pfsky{machine['ip'].split('.')[2]}"
        pids = subprocess.run(["ip", "netns", "pids", space], check=True, capture_output=True, text=True).stdout.split()
        return [int(pid) for pid in pids if _is_engine(Path(f"/proc/{pid}/cmdline"))]

    def firewalls(self) -> list[str]:
        """Of clusters; SkyPilot keeps one of the user's for ever."""
        return [each["id"] for each in self._ask("/_instances") if each["kind"] == "firewall" and "-pf-" in each["id"]]

    def calls(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._ask("/_calls")
        return found

    def server_pid(self) -> int | None:
        """SkyPilot's API server."""
        for entry in os.listdir("/proc"):
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{entry}/cmdline").read_bytes().split(b"\0") if entry.isdigit() else []
                if b"sky.server.server" in words and f"--port={_API_PORT}".encode() in words:
                    return int(entry)
        return None

    def kill_server(self) -> None:
        """The server and all that works for it, at once."""
        pid = self.server_pid()
        if pid is not None:
            for each in (pid, *_descendants(pid)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)

    def _ask(self, path: str, body: bytes | None = None) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{_EC2_PORT}{path}", data=body, timeout=60) as answer:
            return json.loads(answer.read())


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Rig]:
    """The EC2 runs, and the account is empty; SkyPilot's server is started by who asks it first, and ended here."""
    rig = Rig(folder)
    (folder / "run").mkdir(exist_ok=True)
    (rig.home / ".aws").mkdir(parents=True, exist_ok=True)
    account = "[default]\naws_access_key_id = rig\naws_secret_access_key = rig\nregion = us-east-1\n"
    (rig.home / ".aws" / "credentials").write_text(account)
    write_catalogs(rig.home)
    for path in (rig.home / ".sky" / "catalogs" / "v8").rglob("*az_mappings*"):
        path.unlink()  # of an earlier account
    rig.kill_server()
    with contextlib.suppress(OSError):  # what it remembers is of an earlier account, too
        (rig.home / ".sky" / "state.db").unlink()
    command = [folder / "ec2" / "bin" / "python", "-u", HERE / "ec2.py", folder, str(_EC2_PORT)]
    with (folder / "run" / "ec2.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        wait_for(lambda: b"\nready" in (folder / "run" / "ec2.log").read_bytes() or process.poll() is not None)
        assert process.poll() is None, (folder / "run" / "ec2.log").read_text()
        yield rig
    finally:
        rig.kill_server()
        for each in rig.instances():
            rig.reclaim(each["id"])
        process.terminate()
        process.wait(30)
        subprocess.run(["umount", "-l", folder / "machines"], check=False, capture_output=True)


def wait_for(met: Callable[[], object], timeout_s: float = 60.0, what: str = "it did not come to be") -> float:
    """Seconds until it is so."""
    begun = time.monotonic()
    while not met():
        assert time.monotonic() - begun < timeout_s, what
        time.sleep(0.05)
    return time.monotonic() - begun


def _is_engine(command: Path) -> bool:
    with contextlib.suppress(OSError):
        words = command.read_bytes().split(b"\0")
        return b"python" in words[0] and b"polyfleet.launch.llamacpp_server" in words
    return False


def _descendants(pid: int) -> Sequence[int]:
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if entry.isdigit():
                parent = int(Path(f"/proc/{entry}/stat").read_text().rpartition(")")[2].split()[1])
                children.setdefault(parent, []).append(int(entry))
    found: list[int] = []
    due = [pid]
    while due:
        due += children.get(due[0], [])
        found += children.get(due.pop(0), [])
    return found
