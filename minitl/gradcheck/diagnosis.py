"""When a gradient is wrong: which of the usual mistakes would give exactly this wrong gradient?

Each suspect undoes one kind of mistake on the gradient that backward gave, or runs backward again under another
condition. The first whose outcome agrees with the numerical gradient at every checked coordinate is named.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minitl.gradcheck.differences import Slope
from minitl.gradcheck.problems import Problem, restored
from minitl.gradcheck.report import Diagnosis, TensorReport

FIT = 1e-5  # relative to the largest entry: how well an explanation must agree

Found = tuple[str, str]  # kind, text


def diagnose(problem: Problem, row: TensorReport, position: int, gradients: list[Any], slope: Slope) -> Diagnosis | None:
    """The mistake that explains a wrong row, or None when none of the suspects does."""
    case = Case(problem, row, position, gradients, slope)
    suspects = _wrong_shape if row.comparison is None else _wrong_values
    with np.errstate(all="ignore"):
        for suspect in suspects:
            for kind, text in suspect(case):
                return Diagnosis(row.name, kind, text)
    return None


class Case:
    """One wrong tensor: the gradient `g` that backward gave, and the numbers n that it should have at some coordinates."""

    def __init__(self, problem: Problem, row: TensorReport, position: int, gradients: list[Any], slope: Slope):
        self.problem, self.row, self.position, self.slope = problem, row, position, slope
        self.g = np.asarray(gradients[position])
        self.array = problem.arrays[position]
        self.y, self.dy = slope.here, slope.dy
        if row.comparison is not None:
            known = row.comparison.trusted & np.isfinite(row.comparison.analytic)
            self.picked, self.n, self.a = (
                v[known] for v in (row.comparison.picked, row.comparison.numeric, row.comparison.analytic)
            )
            self.size = float(np.abs(self.n).max(initial=0.0))
            self.index = np.unravel_index(self.picked, self.array.shape)
            self.wrong = np.abs(self.a - self.n) > FIT * max(self.size, float(np.abs(self.a).max(initial=0.0)))

    def fits(self, candidate: np.ndarray, where: np.ndarray | None = None) -> bool:
        """Whether a whole candidate gradient agrees with the numerical one, everywhere or at some of the coordinates."""
        if candidate.shape != self.array.shape:
            return False
        values, n = candidate.reshape(-1)[self.picked], self.n
        if where is not None:
            values, n = values[where], n[where]
        enough = len(n) >= min(2, len(self.n)) and np.abs(n).max(initial=0.0) > 1e-6 * self.size
        return bool(enough and (np.abs(values - n) <= FIT * max(self.size, 1e-12)).all())

    def after(self, substitute: Callable[[], Any]) -> np.ndarray | None:
        """This tensor's gradient, when something was changed between forward and backward; all is put back."""
        with restored(self.problem.arrays), contextlib.suppress(Exception):
            return np.asarray(self.problem.gradients(self.dy, substitute)[self.position])
        return None


def _no_gradient(case: Case) -> Iterator[Found]:
    if not case.g.any() and case.size > 0:
        yield "zero", "the gradient is zero everywhere; it was never filled in"


def _stale(case: Case) -> Iterator[Found]:
    if case.problem.scalar or case.dy.size < 2:
        return
    other = case.problem.gradients(case.dy[::-1].copy() * 1.7 + 0.1)[case.position]
    if other is not None and np.array_equal(other, case.g) and not _right_for_ones(case):
        yield "stale", "the gradient is the same whatever dy is: it is an old one, or was computed without dy"


def _constant_factor(case: Case) -> Iterator[Found]:
    if not len(case.n) or not (case.a**2).sum():
        return
    factor = float((case.a * case.n).sum() / (case.n**2).sum())
    if not abs(factor) > 1e-12 or not case.fits(case.g / factor):
        return
    if abs(factor + 1) < FIT:
        yield "sign", "the sign: backward gives exactly the negative"
    elif len(case.n) > 1 or abs(factor * 60 - round(factor * 60)) < 1e-4:
        yield "factor", f"a constant factor: backward gives {_number(factor)} times the gradient{_meaning(case, factor)}"


def _only_for_ones(case: Case) -> Iterator[Found]:
    if _right_for_ones(case):
        yield "dy", "it is right for dy = 1 only: dy must be multiplied in once, not left out, summed away or squared"


def _right_for_ones(case: Case) -> bool:
    if case.problem.scalar or case.dy.size < 2:
        return False
    ones = np.ones_like(case.dy)
    with_ones = Slope(case.problem.values, ones, case.slope.tolerance)
    gradient = np.asarray(case.problem.gradients(ones)[case.position])
    if gradient.shape != case.array.shape:
        return False
    wrong = case.picked[case.wrong] if case.row.comparison else np.arange(0)
    some = wrong[:: max(1, len(wrong) // 20)]
    if not len(some):
        return False
    n = np.array([with_ones.along(case.array, np.array([p]), np.ones(1))[0] for p in some])
    size = float(np.abs(n).max(initial=0.0))
    return size > 1e-6 and bool((np.abs(gradient.reshape(-1)[some] - n) <= FIT * size).all())


def _transposed(case: Case) -> Iterator[Found]:
    for i, j in itertools.combinations(range(case.g.ndim), 2):
        if case.g.shape[i] == case.g.shape[j] > 1 and case.fits(case.g.swapaxes(i, j)):
            yield "transposed", f"transposed: axes {i} and {j} of the gradient are exchanged"


def _flipped(case: Case) -> Iterator[Found]:
    for axes in ((0,), (1,), (0, 1), (1, 2), (2,)):
        if case.g.ndim > max(axes) and case.fits(np.flip(case.g, axes)):
            yield "flipped", f"flipped: the gradient runs backwards along {_axes(axes)}"


def _other_kernel(case: Case) -> Iterator[Found]:
    """Backward went through a kernel that is transposed or flipped: put one there that is, and it comes out right."""
    for name, array in list(zip(case.problem.names, case.problem.arrays, strict=True))[1:]:
        if array.ndim < 2:
            continue
        pairs = [(i, j) for i, j in itertools.combinations(range(array.ndim), 2) if array.shape[i] == array.shape[j] > 1]
        for i, j in sorted(pairs, key=lambda pair: -pair[0]):
            found = case.after(partial(_put, array, array.swapaxes(i, j).copy()))
            if found is not None and case.fits(found):
                yield "transposed", f"{name} is used transposed: its axes {i} and {j} are exchanged in backward"
        for axes in ((0, 1), (0,), (1,)) if array.ndim == 4 else ():
            found = case.after(partial(_put, array, np.flip(array, axes).copy()))
            if found is not None and case.fits(found):
                yield "flipped", f"the kernel is flipped: {name} runs backwards along {_axes(axes)} in backward"


def _put(array: np.ndarray, values: np.ndarray) -> None:
    array[...] = values


def _shifted(case: Case) -> Iterator[Found]:
    spatial = range(1, case.g.ndim - 1) if case.position == 0 and case.g.ndim > 2 else range(min(2, case.g.ndim))
    steps = [s for s in itertools.product((-1, 0, 1), repeat=len(spatial)) if any(s)]
    for step in sorted(steps, key=lambda s: sum(map(abs, s))):
        inside = np.ones(len(case.n), bool)
        for axis, s in zip(spatial, step, strict=True):
            if s:
                inside &= (case.index[axis] > 0) & (case.index[axis] < case.g.shape[axis] - 1)
        if inside.sum() >= 3 and case.fits(np.roll(case.g, step, tuple(spatial)), inside):
            told = " and ".join(f"{-s:+d} along axis {axis}" for axis, s in zip(spatial, step, strict=True) if s)
            yield "shifted", f"shifted by one place: {told}; look at where the window or slice begins"


def _batch_statistics(case: Case) -> Iterator[Found]:
    """x reaches a normalised y through the mean and the variance, too: what is missing is a + b (x - mean) in every group."""
    if case.position or case.array.ndim < 2:
        return
    x, dy = case.array, case.dy
    for axes in (tuple(range(x.ndim - 1)), (0,), (x.ndim - 1,), tuple(range(1, x.ndim))):
        if not axes:
            continue
        centred = x - x.mean(axis=axes, keepdims=True)
        group = np.ravel_multi_index([np.zeros_like(c) if axis in axes else c for axis, c in enumerate(case.index)], x.shape)
        missing = case.n - case.a
        for columns, ways in (((0,), "mean"), ((1,), "variance"), ((0, 1), "mean and the variance")):
            shares: list[float] = []
            parts = 0
            for g in np.unique(group):
                of = group == g
                basis = np.stack([np.ones(of.sum()), centred.reshape(-1)[case.picked[of]]], axis=1)[:, list(columns)]
                if of.sum() < basis.shape[1] + 2:
                    continue
                weight = np.linalg.lstsq(basis, missing[of], rcond=None)[0]
                if np.abs(basis @ weight - missing[of]).max() > FIT * case.size:
                    break
                parts += 1
                if dy.shape == x.shape and of.sum() > 4:
                    shares.append(_share(dy.reshape(-1)[case.picked[of]], case.n[of], basis, weight))
            else:
                if parts and parts >= 0.5 * len(np.unique(group)):
                    share = float(np.median(shares)) if shares else np.nan
                    how = "is missing" if abs(share - 1) < 0.2 else "is counted twice" if abs(share + 1) < 0.2 else "is wrong"
                    yield "statistics", f"the way through the {ways} (over {_axes(axes)}) {how}"


def _share(dy: np.ndarray, n: np.ndarray, basis: np.ndarray, weight: np.ndarray) -> float:
    """What is missing, as a share of what belongs there: dx is dy times some scale, less its part along the basis."""
    belongs = -np.linalg.lstsq(basis, dy, rcond=None)[0]
    direct = dy + basis @ belongs
    scale = float((n * direct).sum() / (direct**2).sum())
    return float(weight[0] / (scale * belongs[0])) if scale * belongs[0] else np.nan


def _by_axis(case: Case) -> Iterator[Found]:
    """A factor that is the same along all axes but one: a forgotten gamma, a mean over the wrong thing."""
    usable = np.abs(case.n) > 1e-3 * case.size
    ratio = case.a[usable] / case.n[usable]
    for axis, name in ((case.g.ndim - 1, "channel"), (0, "sample")):
        places = case.index[axis]
        several = [ratio[places[usable] == p] for p in np.unique(places) if (places[usable] == p).sum() > 1]
        if len(several) > 1 and all(np.ptp(r) <= 1e-4 * np.abs(r).max() for r in several):
            means = [float(r.mean()) for r in several]
            factors = np.zeros(case.g.shape[axis])
            factors[[p for p in np.unique(places) if (places[usable] == p).sum() > 1]] = means
            if np.abs(case.a - factors[places] * case.n).max() > 1e-4 * case.size or np.ptp(means) < 1e-4:
                continue
            what = name if case.position == 0 else f"index of axis {axis}"
            yield "per axis", f"a factor that differs by {what} ({', '.join(_number(m) for m in means[:4])}, ...) is too much"


def _elementwise(case: Case) -> Iterator[Found]:
    """A factor made of x, y or dy is missing, or there once too often."""
    if case.position or case.y.shape != case.array.shape:
        return
    x, y, dy = case.array, case.y, case.dy
    for name, factor in (
        ("dy", dy), ("y", y), ("x", x), ("1 - y", 1 - y), ("1 - y^2", 1 - y**2), ("y (1 - y)", y * (1 - y)), ("x > 0", x > 0),
        ("2 x", 2 * x), ("1 + y", 1 + y),
    ):  # fmt: skip
        if case.fits(case.g * factor):
            yield "elementwise", f"the factor {name} is missing"
        elif case.fits(case.g / np.where(factor == 0, 1, factor)):
            yield "elementwise", f"the factor {name} is there once too often"
    if case.fits(dy.astype(float)):
        yield "elementwise", "it should be dy itself"


def _somewhere(case: Case) -> Iterator[Found]:
    """Wrong in one region only."""
    wrong, index = case.wrong, case.index
    if not wrong.any() or wrong.all():
        return
    if wrong.sum() == 1 and len(wrong) > 2:
        yield "somewhere", f"it is wrong at the one coordinate {list(case.row.index)}, of {len(wrong)} that were looked at"
        return
    if case.position == 0 and case.g.ndim == 4:
        h, w = case.g.shape[1:3]
        for depth in (1, 2):
            border = (index[1] < depth) | (index[1] >= h - depth) | (index[2] < depth) | (index[2] >= w - depth)
            if border[wrong].all() and not border.all():
                yield "border", "it is right inside the image and wrong at its border: padding, or the last window"
            if not border[wrong].any() and border.any():
                advice = "windows overlap there, and their gradients add up (+=, not =)"
                yield "overlap", f"it is right at the image's border and wrong inside: {advice}"
    for axis, name in ((0, "sample"), (case.g.ndim - 1, "channel")):
        places = np.unique(index[axis][wrong])
        if case.g.shape[axis] > len(places) and not wrong[~np.isin(index[axis], places)].any():
            what = name if case.position == 0 else f"index of axis {axis}"
            yield "somewhere", f"it is wrong at {what} {', '.join(map(str, places[:5]))} only"
    here = case.array.reshape(-1)[case.picked]
    for name, region in (("x < 0", here < 0), ("x > 0", here > 0), ("|x| > 1", abs(here) > 1), ("|x| < 1", abs(here) < 1)):
        if region[wrong].all() and not wrong[~region].any():
            yield "somewhere", f"it is wrong where {name} only"


def _sums(case: Case) -> Iterator[Found]:
    """A shared parameter's gradient is a sum over all that shares it; which sum was taken instead?"""
    n = np.asarray(case.row.comparison.numeric) if case.row.comparison else _numeric(case)
    if case.array.ndim != 1 or case.dy.ndim < 2 or len(n) != case.array.size:
        return
    size = float(np.abs(n).max(initial=0.0))
    terms = [("dy", case.dy)]
    if case.problem.arrays[0].shape == case.dy.shape:
        terms.append(("dy x", case.dy * case.problem.arrays[0]))
    for name, term in terms:
        for count in range(term.ndim + 1):
            for axes in itertools.combinations(range(term.ndim), count):
                for how, reduced in (("sum", term.sum(axis=axes)), ("mean", term.mean(axis=axes))):
                    for keep in (reduced, np.broadcast_to(reduced, case.array.shape) if reduced.ndim == 0 else reduced):
                        if keep.shape == case.g.shape and np.allclose(keep, case.g, rtol=FIT, atol=FIT * size):
                            right = tuple(range(term.ndim - 1))
                            if axes != right or how != "sum":
                                told = f"it is the {how} of {name} over {_axes(axes)}"
                                yield "axes", f"{told}; the parameter is shared along {_axes(right)}: sum over these"
    if case.g.ndim > case.array.ndim:
        for axes in itertools.combinations(range(case.g.ndim), case.g.ndim - case.array.ndim):
            total = case.g.sum(axis=axes)
            if total.shape == case.array.shape and np.allclose(total, n, rtol=1e-4, atol=FIT * size):
                yield "axes", f"the sum over {_axes(axes)} is missing: the parameter is shared along them"


def _shape_transposed(case: Case) -> Iterator[Found]:
    if case.g.shape != case.array.shape and case.g.ndim == case.array.ndim and sorted(case.g.shape) == sorted(case.array.shape):
        yield "transposed", f"transposed: the gradient has shape {case.g.shape}, its parameter {case.array.shape}"


def _numeric(case: Case) -> np.ndarray:
    return np.array([case.slope.along(case.array, np.array([p]), np.ones(1))[0] for p in range(min(case.array.size, 256))])


_wrong_shape = (_sums, _shape_transposed)
_wrong_values = (
    _no_gradient, _constant_factor, _only_for_ones, _stale, _sums, _transposed, _flipped, _other_kernel, _batch_statistics,
    _elementwise, _by_axis, _shifted, _somewhere,
)  # fmt: skip


def _meaning(case: Case, factor: float) -> str:
    """Which size the factor happens to be."""
    shape, out = case.problem.arrays[0].shape, case.dy.shape
    sizes = {"the number of samples": shape[0] if shape else 0}
    if len(shape) == 4:
        sizes["the image's height"], sizes["the number of pixels"] = shape[1], shape[1] * shape[2]
    if len(out) > 1:
        sizes["the number of output positions"] = case.dy.size // out[-1]
        sizes["the number of output channels"] = out[-1]
    sizes["the number of outputs"] = case.dy.size
    for name, size in sizes.items():
        for value, told in ((size, name), (1 / size if size else 0, f"1 / {name}")):
            if size > 2 and abs(factor - value) < FIT * abs(factor):
                return f" ({told})"
    return ""


def _number(value: float) -> str:
    for denominator in (1, 2, 3, 4):
        if abs(value * denominator - round(value * denominator)) < 1e-5 and round(value * denominator):
            whole = round(value * denominator)
            return str(whole) if denominator == 1 else f"{whole}/{denominator}"
    return f"{value:.4g}"


def _axes(axes: tuple[int, ...]) -> str:
    if not axes:
        return "no axis"
    return f"ax{'i' if len(axes) == 1 else 'e'}s {', '.join(map(str, axes))}"
