"""Precision, recall and F1 of spans: a span counts when its ends and its type are right, as in the CoNLL tasks."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Span = tuple[int, int, str]  # first token, the one behind the last, type


def spans_of(tags: Sequence[str]) -> list[Span]:
    """The spans that tags mark, in IOB1, IOB2 or IOBES, by the rules of the CoNLL evaluation.

    A span ends before O, B-, S-, another type, and after E-, S-; it begins at B-, S-, behind an end, and where the type
    changes. So an I- behind O or behind another type begins a span too, as the official script has it.
    Errors: ValueError for a tag that is neither O nor a prefix with a type.
    """
    found, start, kind = [], None, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, name = tag.partition("-")
        if tag != "O" and (prefix not in ("B", "I", "E", "S") or not name):
            raise ValueError(f"tag {tag!r} at place {place}: expected O, or B-, I-, E- or S- with a type")
        if start is not None and (tag == "O" or prefix in ("B", "S") or name != kind):
            found.append((start, place, kind))
            start = None
        if tag != "O" and start is None:
            start, kind = place, name
        if start is not None and prefix in ("E", "S"):
            found.append((start, place + 1, kind))
            start = None
    return found


def brackets_of(column: Sequence[str]) -> list[Span]:
    """The spans of a column of brackets, as the CoNLL-2005 task writes roles: `(ARG0*`, `*`, `*)`.

    Errors: ValueError for brackets that do not match.
    """
    found, start, kind = [], None, ""
    for place, cell in enumerate(column):
        before, star, after = cell.partition("*")
        if not star or before.count("(") > 1 or (before and start is not None) or after not in ("", ")"):
            raise ValueError(f"cell {cell!r} at place {place}: expected (TYPE*, * or *) and no bracket in another")
        if before:
            start, kind = place, before[1:]
        if after:
            if start is None:
                raise ValueError(f"cell {cell!r} at place {place} closes what was not opened")
            found.append((start, place + 1, kind))
            start = None
    if start is not None:
        raise ValueError(f"the bracket of {kind} at place {start} is never closed")
    return found


def tags_of(spans: Iterable[Span], length: int) -> list[str]:
    """IOB2 tags of spans that do not overlap."""
    tags = ["O"] * length
    for first, last, kind in spans:
        tags[first:last] = [f"B-{kind}", *[f"I-{kind}"] * (last - first - 1)]
    return tags


def span_scores(right: Iterable[Sequence[Span]], found: Iterable[Sequence[Span]]) -> dict[str, float]:
    """Precision, recall and F1 over all sentences, between 0 and 1.

    Formula: F1 = 2 p r / (p + r).
    """
    hits = expected = given = 0
    for wanted, got in zip(right, found, strict=True):
        hits += len(set(wanted) & set(got))
        expected += len(wanted)
        given += len(got)
    precision, recall = hits / given if given else 0.0, hits / expected if expected else 0.0
    total = precision + recall
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / total if total else 0.0}
