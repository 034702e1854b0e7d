"""Grading an answer: does it do what the solution does, and if not, which mistake is it?

An answer is run on fixed random inputs and compared with the solution. Where it differs it is compared with every known
mistake; if it is none of them, and the exercise is about a gradient, the gradient checker looks at it and says what it sees.
"""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minitl.course import exercise
from minitl.gradcheck import check_gradients

TOLERANCE = 1e-7  # relative to the largest entry


class Grade(NamedTuple):
    """Whether an answer is right, what kind of mistake it is, and what to say."""

    right: bool
    mistake: str
    text: str


def grade(path: str | Path) -> Grade:
    """Grade a file that `minitl exercise` has written; the exercise is told by the file's first line.

    Errors: ValueError for a file that belongs to no exercise; OSError for no file.
    """
    text = Path(path).read_text()
    name = next((name for name in exercise.names() if exercise.template(name).split("\n")[0] == text.split("\n")[0]), None)
    if name is None:
        raise ValueError(f"{path}: its first line belongs to no exercise; keep what `minitl exercise NAME` wrote there")
    return of_text(name, text)


def of_text(name: str, text: str) -> Grade:
    """Grade an answer by its text."""
    try:
        answer = exercise.module(text, name)
        found = _results(answer)
    except NotImplementedError:
        return Grade(False, "empty", "Nothing there yet: put your lines in the place of `raise NotImplementedError`.")
    except Exception as error:  # whatever a reader's code may raise
        return Grade(False, "raises", f"It raises {type(error).__name__}: {error}")
    right = _results(exercise.variant(name))
    if _same(found, right):
        return Grade(True, "", _praise(answer))
    for mistake, (body, hint) in exercise.mistakes(name).items():
        if _same(found, _results(exercise.variant(name, body))):
            return Grade(False, mistake, hint)
    return Grade(False, "unknown", _explained(answer, found, right))


def _results(module: ModuleType) -> list[Any]:
    """What an exercise's functions give for fixed inputs: all gradients, and what its `probe` looks at."""
    found: list[Any] = []
    if hasattr(module, "INPUTS"):
        y, cache = module.forward(*_inputs(module))
        dy = np.random.default_rng(99).standard_normal(np.shape(y))
        gradients = module.backward(dy if np.ndim(y) else 1.5, cache)
        found = [y, *(gradients if isinstance(gradients, tuple) else (gradients,))]
    return found + list(module.probe(module)) if hasattr(module, "probe") else found


def _inputs(module: ModuleType) -> list[np.ndarray]:
    return [np.random.default_rng(k).standard_normal(shape) for k, shape in enumerate(module.INPUTS)]


def _same(a: list[Any], b: list[Any]) -> bool:
    if len(a) != len(b):
        return False
    for x, y in zip(a, b, strict=True):
        if np.shape(x) != np.shape(y):
            return False
        if not np.allclose(x, y, rtol=TOLERANCE, atol=TOLERANCE * max(1e-300, float(np.max(np.abs(y), initial=0)))):
            return False
    return True


def _report(module: ModuleType) -> Any:
    return check_gradients((module.forward, module.backward), *_inputs(module)) if hasattr(module, "INPUTS") else None


def _praise(module: ModuleType) -> str:
    report = _report(module)
    return "Right." if report is None else f"Right. The checker agrees:\n{report}"


def _explained(module: ModuleType, found: list[Any], right: list[Any]) -> str:
    for k, (x, y) in enumerate(zip(found, right, strict=False)):
        if np.shape(x) != np.shape(y):
            return f"Result {k} has the shape {np.shape(x)}, and should have {np.shape(y)}."
    report = _report(module)
    return "Not right yet, and none of the usual mistakes." + ("" if report is None else f" The checker says:\n{report}")
