"""curl, as the documents show it."""

from __future__ import annotations

import json
import shutil
import subprocess

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8, "temperature": 0}


def curl(url: str, body: dict, *more: str) -> tuple[int, bytes]:
    program = shutil.which("curl")
    assert program, "curl must be installed"
    command = [program, "-sS", "-N", "--max-time", "20", "-w", "\n%{http_code}", url, "-d", "@-", *more]
    command += ["-H", "content-type: application/json"]
    done = subprocess.run(command, input=json.dumps(body).encode(), capture_output=True, check=True)
    read, _, status = done.stdout.rpartition(b"\n")
    return int(status), read


def test_curl_reads_the_same_whole_and_streamed(fleet):
    key = ("-H", f"authorization: Bearer {fleet.key}")
    status, whole = curl(f"{fleet.url}/chat/completions", CHAT, *key)
    assert status == 200
    status, streamed = curl(f"{fleet.url}/chat/completions", CHAT | {"stream": True}, *key)
    assert status == 200
    *events, last = [event.removeprefix(b"data: ") for event in streamed.strip().split(b"\n\n")]
    assert last == b"[DONE]"
    text = "".join(json.loads(event)["choices"][0]["delta"].get("content") or "" for event in events)
    assert text == json.loads(whole)["choices"][0]["message"]["content"]


def test_curl_without_a_key_reads_an_error_in_openais_form(fleet):
    status, read = curl(f"{fleet.url}/chat/completions", CHAT)
    assert status == 401
    assert json.loads(read)["error"]["code"] == "invalid_api_key"


def test_a_large_body_waits_for_the_gates_leave(fleet):
    """curl asks `Expect: 100-continue` before it sends more than a megabyte."""
    body = CHAT | {"unknown": "x" * 1_200_000}
    status, read = curl(f"{fleet.url}/chat/completions", body, "-H", f"authorization: Bearer {fleet.key}",
                        "-H", "expect: 100-continue")  # fmt: skip
    assert status == 200, read
