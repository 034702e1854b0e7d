"""How forward and backward behave, beside being right: what they must leave alone, repeat, keep and not mix.

Each check is a function that gives findings; `examine` runs those that apply.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from minitl.gradcheck.problems import Pass, Problem, in_dtype, is_real, replayed, restored
from minitl.gradcheck.report import Finding
from minitl.layers.base import Layer

CLOSE = 1e-9  # relative to the largest entry: the order of a sum may change its last digits


def examine(problem: Problem, dy: np.ndarray) -> Iterator[Finding]:
    """Findings about a target whose backward ran once without an error, up to the first check that fails."""
    checks: list[Callable[[Problem, np.ndarray], Iterator[Finding]]] = [leaves_alone]
    if not problem.scalar:
        checks += [keeps_dtype] if problem.layer is not None else []
        checks += [is_linear]
        checks += [repeats, skips_dx_only, uses_the_batch_well] if problem.layer is not None else []
    for check in checks:
        found = list(check(problem, dy))
        yield from found
        if any(finding.failure for finding in found):
            return  # the checks after it would only see the same mistake again


def leaves_alone(problem: Problem, dy: np.ndarray) -> Iterator[Finding]:
    """Neither forward nor backward may write to x, to dy or to a parameter."""
    with restored(problem.arrays) as before:
        problem.values()
        for name, a, b in zip(problem.names, problem.arrays, before, strict=True):
            if not _same(a, b):
                yield Finding(f"forward changes {name} in place; write `y = x * ...` into a new array, not `x *= ...`")
    given = dy.copy()
    with restored(problem.arrays) as before:
        problem.gradients(given)
        for name, a, b in zip([*problem.names, "dy"], [*problem.arrays, given], [*before, dy], strict=True):
            if not _same(a, b):
                yield Finding(f"backward changes {name} in place; it must only read it (updates are the optimizer's work)")


def is_linear(problem: Problem, dy: np.ndarray) -> Iterator[Finding]:
    """Gradients are linear in dy: backward(-3 dy) = -3 backward(dy)."""
    once, thrice = ([None if g is None else np.array(g) for g in problem.gradients(f * dy)] for f in (1.0, -3.0))
    rounding = max(_rounding(once), 1e-5 * float(np.abs(dy).max(initial=0.0)))  # a saturated softmax's is all cancellation
    for name, a, b in zip(problem.names, once, thrice, strict=False):
        if a is None or b is None or a.shape != b.shape or _close(-3 * a, b, rounding):
            continue
        told = "is the same for dy and -3 dy: it does not use dy" if _close(a, b) else "does not grow with dy as it must"
        yield Finding(f"the gradient of {name} {told}; every term of a gradient holds dy exactly once")


def repeats(problem: Problem, dy: np.ndarray) -> Iterator[Finding]:
    """A second backward pass after the same forward gives the same: nothing is used up, added up or overwritten."""
    layer, x = problem.layer, problem.x
    assert layer is not None
    with replayed(layer):
        run = Pass(layer, x, problem.mode)
        y, kept = run.y, np.array(run.y, copy=True)
        first = [None if g is None else np.array(g) for g in run.back(dy)]
        try:
            second = run.back(dy)
        except Exception as error:
            yield Finding(f"a second backward() after one forward() fails ({type(error).__name__}: {error})", failure=False)
            return
        if not _same(np.asarray(y), kept):
            yield Finding("backward changes y, which the next layer still holds, in place")
    rounding = _rounding(first)
    for name, a, b in zip(problem.names, first, second, strict=True):
        if a is None or b is None or np.shape(a) != np.shape(b) or _close(a, np.asarray(b), rounding):
            continue
        if _close(2 * a, np.asarray(b), rounding):
            text = f"the gradient of {name} adds up from call to call; set it (=) in every backward, do not add to it (+=)"
        else:
            text = f"a second backward() gives another gradient of {name}: backward changes what forward kept"
        yield Finding(text)


def skips_dx_only(problem: Problem, dy: np.ndarray) -> Iterator[Finding]:
    """Told that dx is not needed, backward still gives the parameters' gradients."""
    layer = problem.layer
    assert layer is not None
    with replayed(layer):
        full = Pass(layer, problem.x, problem.mode).back(dy)
    with replayed(layer):
        part = Pass(layer, problem.x, problem.mode, need_dx=False).back(dy)
    rounding, count = _rounding(full), sum(name.startswith("x") and "/" not in name for name in problem.names)
    parameters = len(problem.names) - count
    for name, a, b in zip(problem.names[count:], full[len(full) - parameters :], part[len(part) - parameters :], strict=True):
        if a is not None and (b is None or not _close(a, b, rounding)):
            yield Finding(f"with need_dx=False the gradient of {name} is another one; only dx may be left out")


def keeps_dtype(problem: Problem, dy: np.ndarray) -> Iterator[Finding]:
    """float32 in, float32 out; float64 in, float64 out. Narrowing loses digits; widening only costs time, and is a note."""
    layer, inputs = problem.layer, problem.x if isinstance(problem.x, list) else [problem.x]
    assert layer is not None
    for dtype in (np.float64, np.float32):
        other = layer if dtype == np.float64 else copy.deepcopy(layer).astype(dtype)
        xs = [part.astype(dtype) if part.dtype.kind == "f" else part for part in inputs]
        with replayed(other):
            run = Pass(other, xs if isinstance(problem.x, list) else xs[0], problem.mode)
            y, gradients = np.asarray(run.y), [g for g in run.back(dy.astype(dtype)) if g is not None]
        for name, a in zip(["y", *(f"the gradient of {n}" for n in problem.names)], [y, *gradients], strict=True):
            kind = getattr(a, "dtype", None)
            if kind is None or kind == dtype:
                continue
            wider = kind == np.float64
            advice = (
                "NumPy's own constants (np.sqrt(2), np.pi * 1.0 as np.float64) widen; float(...) does not"
                if wider
                else ("use x.dtype for arrays that you create")
            )
            yield Finding(f"{name} is {kind} for {np.dtype(dtype)} inputs; {advice}", failure=not wider)
        if dtype == np.float64 and any(getattr(a, "dtype", dtype) != dtype for a in [y, *gradients]):
            return


def uses_the_batch_well(problem: Problem, dy: np.ndarray) -> Iterator[Finding]:
    """Samples in another order give the same results in that order, and one sample does not influence another.

    Layers that say `batch_statistics = True` may mix samples while training. Others that mix them evenly and channel by
    channel, as batch statistics do, are noted, not blamed.
    """
    layer, x, mode = problem.layer, problem.x, problem.mode
    assert layer is not None
    if isinstance(x, list):
        return
    n, real = len(x), is_real(x)
    if n < 2 or _draws(layer, x, mode) or dy.shape[:1] != (n,):
        return

    def run(rows: np.ndarray, upstream: np.ndarray) -> tuple[np.ndarray, list[Any]]:
        with replayed(layer):
            run = Pass(layer, rows, mode)
            return np.array(run.y), run.back(upstream)

    y, gradients = run(x, dy)
    order = np.array([1, 0, *range(2, n)])
    moved_y, moved = run(x[order], dy[order])
    if not _close(y[order], moved_y):
        yield Finding("y depends on the order of the samples in the batch")
    elif not real or (isinstance(gradients[0], np.ndarray) and gradients[0].shape == x.shape == np.shape(moved[0])):
        rounding = _rounding(gradients)
        if real and not _close(gradients[0][order], moved[0]):
            yield Finding("dx depends on the order of the samples in the batch")
        elif not all(
            _close(np.asarray(a), np.asarray(b), rounding)
            for a, b in zip(gradients[real:], moved[real:], strict=True)
            if a is not None
        ):
            yield Finding("a parameter's gradient depends on the order of the samples in the batch")
    statistics = any(leaf.batch_statistics for _, leaf in layer.named_layers())
    if statistics and mode:
        return
    alone, _ = run(x[:1], dy[:1])
    if alone.shape != y[:1].shape:
        yield Finding(f"y of one sample alone has shape {alone.shape}, in the batch {y[:1].shape}")
    elif not _close(y[:1], alone, float(np.abs(y).max(initial=0.0))):
        even = _close(y[order], moved_y) and _by_channel(run, x, y, dy)
        what = "y of a sample depends on the other samples of the batch"
        if even and not statistics:
            yield Finding(
                f"{what}, channel by channel; if that is not meant (batch statistics), look at the axes of its sums", False
            )
        else:
            yield Finding(
                f"{what}; check the axes of sums and reshapes (batch_statistics = True in the class allows it in training)"
            )


def _by_channel(run: Callable[..., Any], x: np.ndarray, y: np.ndarray, dy: np.ndarray) -> bool:
    """Whether a change in one sample's first channel reaches the other samples in that channel alone."""
    if x.shape[-1:] != y.shape[-1:] or x.ndim < 2 or x.shape[-1] < 2:
        return x.shape[-1:] == y.shape[-1:]
    moved = x.copy()
    moved[-1, ..., 0] += 0.5
    other = run(moved, dy)[0]
    return _close(other[:-1, ..., 1:], y[:-1, ..., 1:])


def is_random(problem: Problem) -> bool:
    """Whether forward gives other numbers for the same input, although its generators were wound back."""
    first, second = (np.asarray(problem.values()) for _ in range(2))
    return first.shape != second.shape or not _same(first, second)


def is_coarse(problem: Problem) -> bool:
    """Whether forward computes in less than float64: a change in the eleventh digit of x leaves almost all of y as it was.

    Of a single number most of several changes must leave it, since one may cancel: along it the number does not grow.
    """
    here = np.asarray(problem.values())
    generator, trials = np.random.default_rng(0), 5 if here.size == 1 else 1
    changed = [0, 0]
    for _ in range(trials):
        signs = [generator.choice((-1.0, 1.0), a.shape) if trials > 1 else 1.0 for a in problem.arrays]
        for size, step in enumerate((1e-10, 1e-2)):
            with restored(problem.arrays):
                for a, sign in zip(problem.arrays, signs, strict=True):
                    a *= 1 + step * sign
                    a += step * 1e-3 * sign
                changed[size] += int((np.asarray(problem.values()) != here).sum())
    return changed[0] < (0.5 if trials > 1 else 0.1) * changed[1]


def _draws(layer: Layer, x: np.ndarray, mode: bool) -> bool:
    """Whether forward draws random numbers: it gives something else when nothing is wound back."""
    clone = in_dtype(layer, x, np.float64)
    with replayed(layer):
        first, second = (np.array(Pass(clone, x, mode).y) for _ in range(2))
    return not _same(first, second)


def _rounding(gradients: list[Any]) -> float:
    """The size below which a gradient may be rounding of the others: a bias in front of a normalisation has none of its own."""
    return 1e-4 * max((float(np.abs(g).max(initial=0.0)) for g in gradients if g is not None), default=0.0)


def _same(a: Any, b: Any) -> bool:
    return bool(np.array_equal(a, b, equal_nan=True))


def _close(a: Any, b: Any, scale: float = 0.0) -> bool:
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape:
        return False
    scale = max(scale, float(np.abs(a).max(initial=0.0)), float(np.abs(b).max(initial=0.0)), 1e-30)
    return bool((np.abs(a - b) <= CLOSE * scale).all())
