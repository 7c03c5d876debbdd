"""Asking SkyPilot's process: JSON lines there and back, several questions at once; started anew where it has died."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import IO, Any

from polyfleet.errors import LaunchError, MissingExtraError
from polyfleet.launch.local import STATE_VARIABLES
from polyfleet.launch.sky.refusals import AwayError, EngineError

PYTHON = "POLYFLEET_SKY_PYTHON"
"""Environment variable that names the Python that has SkyPilot; default: the one that runs polyfleet."""
_ENGINE = Path(__file__).with_name("engine.py")
_SECRET = "POLYFLEET_SECRET_"
_IMPORT_S = 120.0
_JOIN_S = 5.0
Ask = Callable[..., Any]
"""`ask(call, timeout_s, **with)`: what a call of the engine answers. Raises EngineError with SkyPilot's refusal,
AwayError where no answer came."""


class Talk:
    """SkyPilot's process. `secrets`: values that tasks may name; they go by environment alone. `log`: where its stderr
    goes."""

    def __init__(
        self, log: Path, secrets: Mapping[str, str] | None = None, *, python: str = "", engine: Path = _ENGINE
    ) -> None:
        self._log, self._secrets, self._engine = log, dict(secrets or {}), engine
        self._python = python or os.environ.get(PYTHON) or sys.executable
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self._waiting: dict[int, Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._lock = threading.Lock()
        self._closed = False

    def ask(self, call: str, timeout_s: float, /, **told: Any) -> Any:
        """What the call answers. Raises EngineError, AwayError, or MissingExtraError where there is no SkyPilot."""
        future: Future[Any] = Future()
        with self._lock:
            process = self._running()
            number = next(self._numbers)
            self._waiting[number] = future
            self._send(process, {"id": number, "call": call, "with": told})
        try:
            return future.result(timeout_s)
        except TimeoutError:
            raise AwayError(f"sky: no answer to {call!r} within {timeout_s:g} s") from None
        finally:
            self._waiting.pop(number, None)

    def close(self) -> None:
        """End the process; what SkyPilot's API server has under way goes on."""
        with self._lock:
            self._closed = True
            process, reader = self._process, self._reader
            if process is not None:
                _end(process)
        if process is not None and reader is not None:
            reader.join(_JOIN_S)

    def _running(self) -> subprocess.Popen[str]:
        if self._closed:
            raise AwayError("sky: closed")
        if self._process is not None and self._process.poll() is not None:
            _end(self._process)
            self._process = None
        if self._process is None:
            self._process = self._begun()
        return self._process

    def _begun(self) -> subprocess.Popen[str]:
        withheld = (*self._secrets, *STATE_VARIABLES)  # the API server that it may start would inherit them
        environment = {name: value for name, value in os.environ.items() if name not in withheld}
        environment |= {f"{_SECRET}{name}": value for name, value in self._secrets.items()}
        try:
            self._log.parent.mkdir(parents=True, exist_ok=True)
            with self._log.open("ab") as log:
                process = subprocess.Popen(
                    [self._python, str(self._engine)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
                    env=environment, text=True,
                )  # fmt: skip
        except OSError as error:
            raise LaunchError(
                f"sky: {self._python} cannot be run: {error.strerror}; name a Python that has SkyPilot in {PYTHON}"
            ) from None
        assert process.stdout is not None
        _require_sky(self._python, process, process.stdout)
        self._reader = threading.Thread(target=self._read, args=(process,), daemon=True, name="sky-read")
        self._reader.start()
        return process

    def _send(self, process: subprocess.Popen[str], asked: Mapping[str, Any]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(json.dumps(asked) + "\n")
            process.stdin.flush()
        except OSError:
            self._waiting.pop(asked["id"], None)
            raise AwayError("sky: SkyPilot's process has ended; it is started again") from None

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            try:
                answer = json.loads(line)
                future = self._waiting.get(answer["id"])
            except (ValueError, KeyError, TypeError):
                continue  # no answer of ours: something printed past the engine's guard
            if future is None or future.done():
                continue
            if "error" in answer:
                future.set_exception(EngineError.of(answer["error"]))
            else:
                future.set_result(answer.get("ok"))
        process.stdout.close()
        code = process.wait()
        with self._lock:
            lost = list(self._waiting.values()) if process is self._process else []
        for future in lost:
            if not future.done():
                future.set_exception(AwayError(f"sky: SkyPilot's process ended ({code}); see {self._log}"))


def _require_sky(python: str, process: subprocess.Popen[str], out: IO[str]) -> None:
    """Its first line says which SkyPilot it has."""
    timer = threading.Timer(_IMPORT_S, process.kill)
    timer.start()
    first = out.readline()
    timer.cancel()
    try:
        told = json.loads(first)
    except ValueError:
        told = {}
    if "ok" not in told:
        _end(process)
        out.close()
        why = f" ({told['error']['message']})" if "error" in told else ""
        raise NoSkyError(python, why)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdin is not None:
        with contextlib.suppress(OSError):  # what was not sent yet is lost
            process.stdin.close()


class NoSkyError(MissingExtraError, LaunchError):
    """There is no SkyPilot in the Python that should have it."""

    def __init__(self, python: str, why: str = "") -> None:
        MissingExtraError.__init__(self, "renting machines", "sky")
        self.args = (
            f"sky: {python} has no SkyPilot{why}; `pip install 'polyfleet[sky]'`, or name a Python that has it in "
            f"{PYTHON}",
        )
