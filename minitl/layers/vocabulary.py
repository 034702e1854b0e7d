"""Vocabularies: which entries have a number, in which order, behind the special ones. For texts and for lookups."""

from __future__ import annotations

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any


def most_frequent(counts: collections.Counter[Any], limit: int | None, special: int) -> list[Any]:
    """The entries, the most frequent first; at most `limit` with the special ones. Ties stand in reverse order, as in Keras."""
    known = sorted(counts, key=lambda entry: (counts[entry], entry), reverse=True)
    return known[: None if limit is None else max(limit - special, 0)]


def given_entries(label: str, given: Any, front: list[Any], limit: int | None, read: Callable[[Any], list[Any]]) -> list[Any]:
    """The entries of a list or of a file with one per line, without the special ones at its front; `read` makes them plain.

    Errors: ValueError for an entry that is there twice, or more entries than the limit.
    """
    if isinstance(given, (str, Path)):
        given = Path(given).read_text(encoding="utf-8").splitlines()
    entries = read(given)
    entries = entries[len(front) :] if entries[: len(front)] == front else entries
    if len(set(entries)) < len(entries):
        twice = next(entry for entry, count in collections.Counter(entries).items() if count > 1)
        raise ValueError(f"{label}: the vocabulary has {twice!r} twice; every entry needs a number of its own")
    if limit is not None and len(entries) + len(front) > limit:
        raise ValueError(f"{label}: {len(entries)} entries and {len(front)} special ones, max_tokens={limit}")
    return entries
