"""The second half of `make demo`: a fleet on this machine answers, loses a replica in mid-answer, and goes.

    python tools/demo_serve.py examples/local.yaml HOME_FOLDER

Everything that it starts is gone afterwards, also after Ctrl-C. Exit code 1 where the answer is not whole.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

QUESTION = "What does os.path.join do?"
TOKENS = 300
KILL_AFTER_EVENTS = 20


def main() -> None:
    spec, home = sys.argv[1], Path(sys.argv[2])
    home.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "POLYFLEET_HOME": str(home)}
    try:
        endpoint, key = _up(spec, environment)
        plain, _ = _answer(endpoint, key, environment, kill=False)
        text, last = _answer(endpoint, key, environment, kill=True)
        whole = text == plain
        print(f"\nthe answer is {'the same, to the last character' if whole else 'NOT the same'}; resumed: {last}")
    finally:
        subprocess.run([sys.executable, "-m", "polyfleet", "down"], env=environment, check=False)
    sys.exit(0 if whole and last else 1)


def _up(spec: str, environment: dict[str, str]) -> tuple[str, str]:
    command = [sys.executable, "-m", "polyfleet", "up", spec, "--port", str(_free_port())]
    print("$ polyfleet", *command[3:4], spec, flush=True)
    said = ""
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as process:
        for line in process.stdout or ():
            said += line
            print(re.sub(r"(pf-.{4})\S+", r"\1...", line), end="", flush=True)
    if process.returncode:
        sys.exit(process.returncode)
    endpoint, key = re.search(r"endpoint\s+(\S+)", said), re.search(r"pf-\S+", said)
    if endpoint is None or key is None:
        sys.exit("up told no endpoint, or no key")
    return endpoint[1], key[0]


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def _answer(endpoint: str, key: str, environment: dict[str, str], *, kill: bool) -> tuple[str, object]:
    """The streamed text, and what the last event says of a resume. With `kill`, the replica that answers is killed."""
    print(f"\n> {QUESTION}" + (" (its replica is killed in the middle)" if kill else ""), flush=True)
    pids = _pids(environment)
    text, resumed = "", None
    for number, (route, event) in enumerate(_events(endpoint, key)):
        resumed = event.get("polyfleet", {}).get("resumed", resumed)
        for choice in event.get("choices", ()):
            piece = choice.get("delta", {}).get("content") or ""
            text += piece
            print(piece, end="", flush=True)
        if kill and number == KILL_AFTER_EVENTS:
            os.kill(pids[route], signal.SIGKILL)
            print(f"\n--- {route} killed ---", flush=True)
    print(flush=True)
    return text, resumed


def _events(endpoint: str, key: str) -> Iterator[tuple[str, dict[str, dict[str, object]]]]:
    body = {
        "model": "chat", "stream": True, "temperature": 0, "max_tokens": TOKENS,
        "messages": [{"role": "user", "content": QUESTION}],
    }  # fmt: skip
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    request = urllib.request.Request(f"{endpoint}/chat/completions", json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        route = answer.headers["x-polyfleet-route"]
        for line in answer:
            if line.startswith(b"data: {"):
                yield route, json.loads(line[6:])


def _pids(environment: dict[str, str]) -> dict[str, int]:
    told = subprocess.run(
        [sys.executable, "-m", "polyfleet", "status", "--json"], env=environment, check=True, capture_output=True
    )
    return {r["id"]: r["pid"] for r in json.loads(told.stdout)["replicas"]}


if __name__ == "__main__":
    main()
