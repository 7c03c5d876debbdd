"""Names that people misspell: how names are compared, and which known ones come closest."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from difflib import SequenceMatcher

_PART = re.compile(r"[a-z]+|[0-9]+(?:\.[0-9]+)?")
_CLOSE = 0.7  # of 1: below it a name is another name, not a misspelling
_ALIKE = 0.08  # names this near the best one are told beside it


def squeezed(name: str) -> str:
    """A name without case, spaces, dashes, underscores: how names are compared."""
    return "".join(c for c in name.casefold() if c not in " -_")


def closest(wanted: str, names: Iterable[str], most: int = 3) -> list[str]:
    """The known names that come closest to what was written, best first; none where none is close.

    Names that hold it whole come first, the shortest ahead; then those whose words and numbers it has (`llama 3.3 70b`
    for `meta-llama/Llama-3.3-70B-Instruct`), or that are spelled alike (`nvidea`). An organisation before a slash may
    be missing or wrong.
    """
    text, known = squeezed(wanted), sorted(set(names), key=lambda name: (len(name), name))
    if len(text) > 2 and (holding := [name for name in known if text in squeezed(name)]):
        return _one_spelling(holding)[:most]
    scored = sorted(((_likeness(wanted, name), name) for name in known), key=lambda pair: -pair[0])
    if not scored or scored[0][0] < _CLOSE:
        return []
    return _one_spelling([name for score, name in scored if score >= max(_CLOSE, scored[0][0] - _ALIKE)])[:most]


def _one_spelling(names: Sequence[str]) -> list[str]:
    first: dict[str, str] = {}
    for name in names:
        first.setdefault(squeezed(name), name)
    return list(first.values())


def _likeness(wanted: str, name: str) -> float:
    """0 to 1: the better of the name with and without its organisation."""
    pairs = [(wanted, name), (wanted.rsplit("/", 1)[-1], name.rsplit("/", 1)[-1])]
    if len(words := wanted.split(maxsplit=1)) == 2:
        pairs.append((words[1], name))  # `nvidia h100`
    return max(_spelled(*pair) for pair in pairs)


def _spelled(wanted: str, name: str) -> float:
    """The better of: letters alike in order, words and numbers found again."""
    letters = SequenceMatcher(None, squeezed(wanted), squeezed(name))
    alike = letters.ratio() if letters.quick_ratio() >= _CLOSE else 0.0
    asked, has = _PART.findall(wanted.casefold()), _PART.findall(name.casefold())
    if not asked or not has:
        return alike
    found = [max(_part(a, h) for h in has) for a in asked]
    weight = [len(a) for a in asked]
    covered = sum(f * w for f, w in zip(found, weight, strict=True)) / sum(weight)
    back = sum(max(_part(a, h) for a in asked) for h in has) / len(has)
    return max(alike, 0.85 * covered + 0.15 * back)


def _part(asked: str, has: str) -> float:
    """How far one word or number is the other: a number is or is not, a word may be begun or misspelt."""
    if asked == has:
        return 1.0
    if asked[0].isdigit() or has[0].isdigit() or len(asked) < 3:
        return 0.0
    if has.startswith(asked):
        return 0.9
    words = SequenceMatcher(None, asked, has)
    return words.ratio() if words.quick_ratio() >= 0.75 and words.ratio() >= 0.75 else 0.0
