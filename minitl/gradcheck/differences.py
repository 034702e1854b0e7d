"""The numerical gradient, and how far it can be trusted.

For a random dy, the number L = sum dy y has the gradient that backward(dy) claims. Along a direction v, one coordinate
or many, in float64:

    c(h) = sum dy (y(x + h v) - y(x - h v)) / 2h      central difference, error h^2
    n    = (4 c(h/2) - c(h)) / 3                      Richardson's combination, error h^4

The same four values tell the error of n. Where the function is smooth, c(h) and c(h/2) agree, and so do D(h) and 4 D(h/2),
D(h) = sum dy (y(x + h v) - 2 y(x) + y(x - h v)). At a kink (a ReLU that changes sides, a max-pool that changes its winner)
one of the two fails, the one where the kink lies exactly in the middle, too. Then a smaller step is tried: it may stay on
one side of the kink, and it fits a function that bends strongly. Rounding grows as the step shrinks, and is estimated from
the outputs that moved. What no step can settle is skipped and counted: it is neither right nor wrong.

Source: W. Press et al., Numerical recipes, section 5.7; HIPS autograd's check of random projections, for the directions.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from minitl.gradcheck.report import Comparison, TensorReport

STEPS = (1e-4, 4e-6, 2e-7)  # the first is the best for smooth functions, the others for kinks and strong bends nearby
COARSE_STEPS = (2e-2, 4e-3)  # for a forward pass that computes in float32
EPSILON = float(np.finfo(np.float64).eps)
ROUNDING = 32 * EPSILON  # of an output, relative: sums of many terms round more than once
SMALLEST = 1e-9  # a derivative that is smaller than this cannot be told from zero
MOST_SKIPPED = 0.5  # a tensor of which more is skipped has not been checked
DIRECTIONS = 8  # a large tensor is cut into so many random parts, each checked along one direction

Values = Callable[[], np.ndarray]


class Slope:
    """Measures derivatives of sum dy y: `values` computes y from arrays that are moved in place."""

    def __init__(self, values: Values, dy: np.ndarray, tolerance: float, coarse: bool = False):
        self.values, self.dy, self.tolerance = values, dy, tolerance
        self.steps = COARSE_STEPS if coarse else STEPS
        self.rounding = 1e-7 if coarse else ROUNDING
        self.floor, self.share = 1e-7, 1e-3  # errors of gradients below this, or this share of the largest, are not relative
        self.here = values()

    def along(
        self, array: np.ndarray, where: np.ndarray, direction: np.ndarray, scale: float = 0.0
    ) -> tuple[float, float, float]:
        """The derivative along a direction of the flat positions `where`, how doubtful it is, and its rounding noise.

        A doubt above the tolerance of the derivative or of `scale` means a kink within every step.
        """
        flat = array.reshape(-1)
        before = flat[where].copy()
        size = max(1.0, float(np.abs(before).max(initial=0.0)))
        best = (np.nan, np.inf, 0.0)
        for step in self.steps:
            found = self._measure(flat, where, before, direction, step * size)
            if found[1] < best[1]:
                best = found
            if best[1] <= self.tolerance * max(abs(best[0]), scale) + best[2] + SMALLEST:
                break
        flat[where] = before
        return best

    def _measure(
        self, flat: np.ndarray, where: np.ndarray, before: np.ndarray, direction: np.ndarray, h: float
    ) -> tuple[float, float, float]:
        slopes, bends, noise = [], [], 0.0
        for step in (h, h / 2):
            flat[where] = before + step * direction
            up = self.values()
            flat[where] = before - step * direction
            down = self.values()
            with np.errstate(all="ignore"):
                slopes.append(float((self.dy * (up - down)).sum()) / (2 * step))
                bends.append(float((self.dy * (up - 2 * self.here + down)).sum()))
                # Each output is rounded; those that the coordinate does not reach cancel exactly.
                noise = max(noise, self.rounding * float((np.abs(self.dy * self.here) * (up != down)).sum()) / step)
                # One that should have moved by less than its last digit (a saturated softmax) did not move at all.
                noise = max(noise, EPSILON * float(np.abs(self.dy * self.here).max(initial=0.0)) / step)
        # Smooth: both doubts are of the order h^2. A kink makes one of them about as large as its jump.
        doubt = max(abs(slopes[0] - slopes[1]), abs(bends[0] - 4 * bends[1]) / h)
        derivative = (4 * slopes[1] - slopes[0]) / 3
        if not np.isfinite(derivative) or not np.isfinite(doubt):
            return np.nan, np.inf, 0.0
        return derivative, doubt, noise


def check_tensor(
    name: str, array: np.ndarray, gradient: np.ndarray, slope: Slope, samples: int, generator: np.random.Generator
) -> TensorReport:
    """Compare a gradient with differences: all coordinates of a small tensor, a sample and directions of a large one."""
    picked = np.arange(array.size)
    if array.size > samples:
        picked = np.sort(generator.choice(array.size, samples, replace=False))
    report = compare(name, array, gradient, slope, picked)
    if array.size > samples and report.verdict != "wrong":
        rest = generator.permutation(np.setdiff1d(np.arange(array.size), picked))
        report.directions = DIRECTIONS
        for part in np.array_split(rest, DIRECTIONS):
            direction = generator.choice([-1.0, 1.0], len(part))
            place = _wrong_place(array, gradient, slope, part, direction, len(part) // 16)
            if place is not None:
                found = compare(name, array, gradient, slope, np.sort(np.append(picked, place)))
                if found.verdict == "wrong":
                    return found
    return report


def compare(name: str, array: np.ndarray, gradient: np.ndarray, slope: Slope, picked: np.ndarray) -> TensorReport:
    """The verdict on a tensor's gradient from some flat positions."""
    tolerance = slope.tolerance
    numeric, doubt, noise = np.empty((3, len(picked)))
    one = np.ones(1)
    analytic = gradient.reshape(-1)[picked].astype(np.float64)
    # Entries far below the tensor's largest are compared on its scale: there, rounding is all that differs.
    scale = float(np.abs(gradient[np.isfinite(gradient)]).max(initial=0.0))
    for i, position in enumerate(picked):
        numeric[i], doubt[i], noise[i] = slope.along(array, np.array([position]), one, 1e-2 * scale)
    trusted = doubt <= tolerance * np.abs(numeric[np.isfinite(numeric)]).max(initial=0.0) + noise + SMALLEST
    sizes = np.where(trusted, np.maximum(np.abs(analytic), np.abs(numeric)), 0.0)
    floor = max(slope.floor, slope.share * float(sizes.max(initial=0.0)))
    # A difference within the rounding noise is no error beyond the tolerance.
    sizes = np.maximum(np.maximum(sizes, floor), noise / tolerance)
    errors = np.where(trusted, np.abs(analytic - numeric) / sizes, 0.0)
    errors = np.where(np.isfinite(analytic), errors, np.inf)
    # The doubt is a single difference's relative error d, of the order h^2; Richardson's combination leaves about d^2.
    uncertainty = np.where(trusted, np.minimum(doubt / sizes, (doubt / sizes) ** 2 + noise / sizes), 0.0)
    worst = int(errors.argmax()) if len(errors) else 0
    skipped = int((~trusted).sum())
    if len(errors) and not errors[worst] <= tolerance:
        verdict = "wrong"
    elif skipped > MOST_SKIPPED * len(picked):
        verdict = "not checked: too many kinks"
    else:
        verdict = "right"
    index = tuple(int(n) for n in np.unravel_index(picked[worst], array.shape)) if len(picked) else ()
    return TensorReport(
        name,
        len(picked) - skipped,
        skipped,
        float(errors[worst]) if len(picked) else 0.0,
        index,
        float(analytic[worst]) if len(picked) else 0.0,
        float(numeric[worst]) if len(picked) else 0.0,
        verdict,
        float(uncertainty.max(initial=0.0)),
        comparison=Comparison(array.shape, picked, analytic, numeric, doubt, trusted),
    )


def _wrong_place(
    array: np.ndarray, gradient: np.ndarray, slope: Slope, part: np.ndarray, direction: np.ndarray, smallest: int
) -> int | None:
    """A position within `part` where the gradient is wrong, or None; found by halving.

    A part with a kink in it is halved too, down to `smallest` positions: there it is left alone.
    """
    if not len(part):
        return None
    along = gradient.reshape(-1)[part] * direction
    claimed, size = float(along.sum()), float(np.sqrt((along**2).sum()))
    if not np.isfinite(claimed):
        return int(part[~np.isfinite(along)][0])
    numeric, doubt, noise = slope.along(array, part, direction, size)
    allowed = slope.tolerance * max(size, abs(numeric), slope.floor)
    if doubt > allowed + noise + SMALLEST:
        if len(part) <= max(1, smallest):
            return None
    elif abs(claimed - numeric) <= allowed + noise + doubt:
        return None
    elif len(part) == 1:
        return int(part[0])
    half = len(part) // 2
    first = _wrong_place(array, gradient, slope, part[:half], direction[:half], smallest)
    return first if first is not None else _wrong_place(array, gradient, slope, part[half:], direction[half:], smallest)
