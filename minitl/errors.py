"""The wording of errors that several modules raise."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def unknown(kind: str, name: object, known: Iterable[str]) -> ValueError:
    """A ValueError for a name that does not exist, with the names near to it, or all of them."""
    names = sorted(known)
    near = difflib.get_close_matches(str(name).lower(), names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(map(repr, near))}?" if near else f"known: {', '.join(names)}"
    return ValueError(f"unknown {kind} {name!r}; {hint}")


def wrong_shape(where: str, expected: object, got: object, advice: str) -> ValueError:
    """A ValueError for a shape: where, what was expected, what came, what to do."""
    return ValueError(f"{where}: expected shape {expected}, got {got}; {advice}")
