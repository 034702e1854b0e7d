"""Sums of products along named axes, on traced arrays: `einsum`, and `tensordot` by it.

    y[out] = sum over what is not in out of a[first] b[second] ...

The gradient of one factor is a sum of the same kind: dy in the place of y, summed over what that factor has not.
"""

from __future__ import annotations

import string
from typing import Any

import numpy as np

from minitl.autodiff.trace import Traced, plain


def einsum(subscripts: str, *operands: Any, optimize: Any = False) -> Traced:
    """numpy.einsum, of letters alone.

    Errors: TypeError for an ellipsis, or a letter twice in one operand.
    """
    terms, out = _parsed(subscripts.replace(" ", ""))
    values = [np.asarray(plain(item)) for item in operands]
    for term in terms:
        if not term.isalpha() or len(set(term)) != len(term):
            raise TypeError(
                f"np.einsum({subscripts!r}) of a traced array: an ellipsis, or a letter twice, has no derivative here"
            )

    def gradient(i: int, dy: Any) -> Any:
        others = [j for j in range(len(values)) if j != i]
        known = "".join(letter for letter in terms[i] if letter in out or any(letter in terms[j] for j in others))
        found = np.einsum(
            f"{','.join([out, *(terms[j] for j in others)])}->{known}", dy, *(values[j] for j in others), optimize=True
        )
        for axis, letter in enumerate(terms[i]):  # what was summed alone: the same everywhere
            if letter not in known:
                found = np.expand_dims(found, axis)
        return np.broadcast_to(found, values[i].shape)

    places = [i for i, item in enumerate(operands) if isinstance(item, Traced)]
    y = np.asarray(np.einsum(subscripts, *values, optimize=True))
    return Traced(y, [operands[i] for i in places], lambda dy: [gradient(i, dy) for i in places])


def tensordot(a: Any, b: Any, axes: Any = 2) -> Traced:
    """numpy.tensordot."""
    first, second = (np.ndim(a), np.ndim(b))
    if isinstance(axes, (int, np.integer)):
        axes = list(range(first - axes, first)), list(range(axes))
    ours, theirs = ([axis] if isinstance(axis, (int, np.integer)) else list(axis) for axis in axes)
    of_a = list(string.ascii_letters[:first])
    of_b = list(string.ascii_letters[first : first + second])
    for i, j in zip(ours, theirs, strict=True):
        of_b[j] = of_a[i]
    out = [letter for letter in of_a + of_b if (letter in of_a) != (letter in of_b)]
    return einsum(f"{''.join(of_a)},{''.join(of_b)}->{''.join(out)}", a, b)


def _parsed(subscripts: str) -> tuple[list[str], str]:
    terms, arrow, out = subscripts.partition("->")
    if not arrow:  # NumPy's rule: what occurs once, in alphabetical order
        out = "".join(sorted(letter for letter in set(terms) - {","} if terms.count(letter) == 1))
    return terms.split(","), out
