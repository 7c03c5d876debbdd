"""The fuzzer against a real gate: two thousand requests; and it sees what it must see."""

from __future__ import annotations

import subprocess
import sys
from itertools import islice
from pathlib import Path

import pytest
from fuzz_cases import KINDS, Case, Cases
from fuzz_connection import Answer
from fuzz_judge import Seen, judge

TOOL = Path(__file__).resolve().parents[2] / "tools" / "fuzz_gate.py"


def test_two_thousand_requests_find_no_fault():
    command = [sys.executable, str(TOOL), "--requests", "2000", "--loris", "0", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "still open: nothing" in done.stdout
    assert done.stdout.endswith("as promised\n")


def test_a_seed_makes_the_same_requests_again():
    one, two, other = (
        [(case.name, case.raw) for case in islice(Cases(seed, "k"), 500)] for seed in (1, 1, 2)
    )  # fmt: skip
    assert one == two != other


@pytest.mark.parametrize(
    ("case", "answer", "problem"),
    [
        (Case("a", b""), Answer(500, b'{"error":{}}'), "a: 500"),
        (Case("a", b"", right=(1,)), Answer(200, b"{}"), "not answered rightly"),
        (Case("a", b"", right=(1,)), Answer(0), "not answered rightly"),
        (Case("a", b"", statuses=(401,)), Answer(400, b'{"error":{}}'), "400 instead of"),
        (Case("a", b""), Answer(400, b"no"), "not in OpenAI's form"),
    ],
)
def test_a_fault_is_seen(case, answer, problem):
    seen = Seen()
    judge(seen, case, [answer], dict.fromkeys(range(KINDS), "right"))
    assert any(problem in told for told in seen.problems)
