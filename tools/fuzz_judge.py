"""What the fuzz thinks of the gate's answers."""

from __future__ import annotations

import argparse
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field

from fuzz_cases import Case
from fuzz_connection import Answer


@dataclass(slots=True)
class Seen:
    """What all cases together came to."""

    statuses: Counter[int] = field(default_factory=Counter)
    kinds: dict[str, Counter[int]] = field(default_factory=dict)
    sound: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, bytes] = field(default_factory=dict)
    rss_mib: list[float] = field(default_factory=list)

    def problem(self, what: str, raw: bytes) -> None:
        self.problems[what] += 1
        self.examples.setdefault(what, raw)


def judge(seen: Seen, case: Case, answers: list[Answer], right: dict[int, str]) -> None:
    """Counts a case's answers, and what is wrong with them."""
    for answer in answers:
        seen.statuses[answer.status] += 1
        seen.kinds.setdefault(case.name, Counter())[answer.status] += 1
        if answer.status >= 500:
            seen.problem(f"{case.name}: {answer.status}", case.raw)
        if 400 <= answer.status < 500 and answer.body and b'"error"' not in answer.body:
            seen.problem(f"{case.name}: a {answer.status} not in OpenAI's form", case.raw)
    if case.statuses and answers[0].status not in (*case.statuses, *((0,) if 413 in case.statuses else ())):
        seen.problem(f"{case.name}: {answers[0].status} instead of {case.statuses}", case.raw)
    for index, number in enumerate(case.right):
        seen.sound += 1
        got = answers[index] if index < len(answers) else Answer()
        if got.status != 200 or said(got.body) != right[number]:
            seen.problem(f"{case.name}: not answered rightly ({got.status})", case.raw)


def said(body: bytes) -> str:
    """Text, finish and usage of an answer, streamed or not."""
    with contextlib.suppress(ValueError, LookupError, TypeError):
        if not body.startswith(b"data: "):
            whole = json.loads(body)
            choice = whole["choices"][0]
            return repr((choice["message"]["content"], choice["finish_reason"], whole["usage"]))
        *events, last = [event[6:] for event in body.split(b"\n\n")[:-1]]
        told = [json.loads(event) for event in events]
        choices = [choice for one in told for choice in one["choices"]]
        text = "".join(choice["delta"].get("content") or "" for choice in choices)
        return repr((text, choices[-1]["finish_reason"], told[-1]["usage"])) if last == b"[DONE]" else "no end"
    return "unreadable"


def told(seen: Seen, held: str, took: float, options: argparse.Namespace) -> bool:
    """Prints what was seen; gives whether all is well."""
    classes = Counter(f"{status // 100}xx" if status else "closed" for status in seen.statuses.elements())
    print(f"{options.requests:,} cases in {took:.0f} s (seed {options.seed}); {dict(sorted(classes.items()))}")
    print(f"by status: {dict(sorted(seen.statuses.items()))}")
    print(f"{seen.sound:,} sound requests between them, each compared with the engine's own answer")
    warm = seen.rss_mib[len(seen.rss_mib) // 4 :] or [0.0]
    half = len(warm) // 2 or 1
    grown = max(warm[half:] or warm) - max(warm[:half])
    shown = ", ".join(f"{one:.0f}" for one in seen.rss_mib[:: max(1, len(seen.rss_mib) // 8)])
    print(f"memory over the run: {shown} MiB; its peak grew by {grown:.1f} after warm-up")
    print(f"still open: {held or 'nothing'}")
    if options.verbose:
        for name, counts in sorted(seen.kinds.items()):
            print(f"  {name}: {dict(sorted(counts.items()))}")
    for problem, count in seen.problems.most_common(20):
        print(f"PROBLEM {count} x {problem}\n    {seen.examples[problem][:600]!r}")
    return not seen.problems and not held and grown <= options.growth_mib
