"""Is this gradient right? Compares what `backward` says with what `forward` does, number by number.

For a random dy, the number L = sum dy y has the gradient that backward(dy) claims. Each coordinate is moved by +-h and
+-h/2, in float64:

    c(h) = sum dy (y(x + h) - y(x - h)) / 2h          central difference, error h^2
    n    = (4 c(h/2) - c(h)) / 3                      Richardson's combination, error h^4

The same four values show how far n can be trusted. Where the function is smooth, c(h) and c(h/2) agree, and so do
D(h) and 4 D(h/2), D(h) = sum dy (y(x + h) - 2 y(x) + y(x - h)). At a kink (a ReLU that changes sides, a max-pool that
changes its winner) one of the two fails, the one where the kink lies exactly in the middle, too. Such a coordinate
is skipped and counted: it is neither right nor wrong. An upstream gradient of ones would hide mistakes (a softmax
scaled by any factor passes it), so dy is random.

Source: W. Press et al., Numerical recipes, section 5.7, for the differences.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from minitl import training
from minitl.layers.base import Layer

STEP = 1e-4
TOLERANCE = 1e-6  # relative; central differences in float64 are good to about 1e-9
SMALLEST = 1e-9  # a derivative that is smaller than this cannot be told from zero
ROUNDING = 32 * np.finfo(np.float64).eps  # of an output, relative: sums of many terms round more than once
MOST_SKIPPED = 0.5  # a tensor of which more is skipped has not been checked


@dataclass
class TensorReport:
    """What was found for one input or parameter; `index` is where `worst`, the largest relative error, stands."""

    name: str
    checked: int
    skipped: int
    worst: float
    index: tuple[int, ...]
    analytic: float
    numeric: float
    verdict: str

    @property
    def ok(self) -> bool:
        """Whether the gradient is right."""
        return self.verdict == "right"


@dataclass
class Report:
    """A report a tensor; prints as a table."""

    target: str
    tensors: list[TensorReport]

    @property
    def ok(self) -> bool:
        """Whether all gradients are right."""
        return all(tensor.ok for tensor in self.tensors)

    def raise_if_wrong(self) -> None:
        """Raise AssertionError with the table, unless all gradients are right."""
        if not self.ok:
            raise AssertionError(str(self))

    def __str__(self) -> str:
        lines = [f"{self.target}: {'right' if self.ok else 'WRONG'}"]
        width = max(len(tensor.name) for tensor in self.tensors)
        lines.append(f"  {'tensor':<{width}}  checked  skipped  worst error  analytic      numeric       where")
        for t in self.tensors:
            numbers = f"{t.checked:7}  {t.skipped:7}  {t.worst:11.1e}  {t.analytic:+.5e}  {t.numeric:+.5e}"
            lines.append(f"  {t.name:<{width}}  {numbers}  {list(t.index)}  {t.verdict}")
        return "\n".join(lines)


def check_gradients(
    target: Any,
    x: Any,
    *more: Any,
    y: Any = None,
    training: bool = True,
    tolerance: float = TOLERANCE,
    samples: int = 200,
    seed: int = 0,
) -> Report:
    """Check every gradient of a target against differences of its forward pass.

    Targets: a layer or model of minitl or your own (x is a batch; it is copied and converted to float64, the original
    stays as it is); a compiled model with targets `y` (the gradients of its loss, as training computes them); or a pair
    of functions, `y, cache = forward(x, *more)` and `dx, *d_more = backward(dy, cache)`.
    Shapes: any. Of each tensor at most `samples` coordinates are checked, drawn by `seed`.
    Errors: whatever the target raises; ValueError for a target of another kind.
    """
    generator = np.random.default_rng(seed)
    if isinstance(target, Layer):
        layer = _in_float64(target, x)
        names, arrays, values, gradients = (_loss_problem if y is not None else _layer_problem)(layer, x, y, training)
        title = layer.label
    elif isinstance(target, Sequence) and len(target) == 2 and all(map(callable, target)):
        names, arrays, values, gradients = _pair_problem(target[0], target[1], (x, *more))
        title = f"{getattr(target[0], '__module__', '')}.{getattr(target[0], '__qualname__', 'pair')}".lstrip(".")
    else:
        raise ValueError(f"check_gradients: expected a layer, a model or a pair (forward, backward), got {target!r}")
    out = values()
    dy = generator.standard_normal(out.shape) if y is None else np.ones(out.shape)
    analytic = gradients(dy)
    reports = []
    for name, array, gradient in zip(names, arrays, analytic, strict=True):
        picked = np.arange(array.size)
        if array.size > samples:
            picked = np.sort(generator.choice(array.size, samples, replace=False))
        reports.append(_check_tensor(name, array, np.asarray(gradient), picked, values, dy, tolerance))
    return Report(title, reports)


Problem = tuple[list[str], list[np.ndarray], Callable[[], np.ndarray], Callable[[np.ndarray], list[Any]]]


def _layer_problem(layer: Layer, x: Any, y: Any, training: bool) -> Problem:
    x = np.array(x, np.float64)
    parameters = _parameters(layer)

    def values() -> np.ndarray:
        with _replayed(layer):
            return np.array(layer(x, training), np.float64)

    def gradients(dy: np.ndarray) -> list[Any]:
        with _replayed(layer):
            layer(x, training)
            dx = layer.pull(dy)
        return [dx, *_gradients(layer)]

    return ["x", *(name for name, _ in parameters)], [x, *(w for _, w in parameters)], values, gradients


def _loss_problem(model: Any, x: Any, y: Any, in_training: bool) -> Problem:
    x = np.array(x, np.float64)
    parameters = _parameters(model)

    def values() -> np.ndarray:
        with _replayed(model):
            return np.array(training.compute_loss(model, x, y, None, in_training)[0], np.float64)

    def gradients(dy: np.ndarray) -> list[Any]:
        with _replayed(model):
            *_, joint = training.compute_loss(model, x, y, None, in_training)
            dx = model.pull(model.loss.backward(), True, joint)
        return [dx, *(gradient for _, _, gradient in training.updates(model))]

    return ["x", *(name for name, _ in parameters)], [x, *(w for _, w in parameters)], values, gradients


def _pair_problem(forward: Callable[..., Any], backward: Callable[..., Any], inputs: tuple[Any, ...]) -> Problem:
    arrays = [np.array(array, np.float64) for array in inputs]

    def values() -> np.ndarray:
        return np.array(forward(*arrays)[0], np.float64)

    def gradients(dy: np.ndarray) -> list[Any]:
        result = backward(dy if dy.ndim else float(dy), forward(*arrays)[1])
        return list(result) if isinstance(result, tuple) else [result]

    return ["x", *(f"input {i}" for i in range(1, len(arrays)))], arrays, values, gradients


def _check_tensor(
    name: str, array: np.ndarray, gradient: np.ndarray, picked: np.ndarray, values: Any, dy: np.ndarray, tolerance: float
) -> TensorReport:
    if gradient.shape != array.shape:
        return TensorReport(name, 0, 0, np.inf, gradient.shape, np.nan, np.nan, f"shape {gradient.shape}, not {array.shape}")
    here = values()
    numeric, doubt, noise = np.empty((3, len(picked)))
    for i, flat_index in enumerate(picked):
        index = np.unravel_index(flat_index, array.shape)
        numeric[i], doubt[i], noise[i] = _difference(array, index, values, dy, here)
    analytic = gradient.reshape(-1)[picked].astype(np.float64)
    # Entries far below the tensor's largest are compared on its scale: there, rounding is all that differs.
    trusted = doubt <= tolerance * np.abs(numeric).max(initial=0.0) + noise + SMALLEST
    scale = np.maximum(np.abs(analytic), np.abs(numeric))
    floor = max(1e-7, 1e-3 * float(scale[trusted].max(initial=0.0)))
    # A difference within the rounding noise is no error beyond the tolerance.
    scale = np.maximum(np.maximum(scale, floor), noise / tolerance)
    errors = np.where(trusted, np.abs(analytic - numeric) / scale, 0.0)
    errors = np.where(np.isfinite(analytic), errors, np.inf)
    worst = int(errors.argmax()) if len(errors) else 0
    skipped = int((~trusted).sum())
    if len(errors) and not errors[worst] <= tolerance:
        verdict = "wrong"
    elif skipped > MOST_SKIPPED * len(picked):
        verdict = "not checked: too many kinks"
    else:
        verdict = "right"
    index = tuple(int(n) for n in np.unravel_index(picked[worst], array.shape))
    return TensorReport(
        name, len(picked) - skipped, skipped, float(errors[worst]), index, float(analytic[worst]), float(numeric[worst]), verdict
    )


def _difference(
    array: np.ndarray, index: tuple[Any, ...], values: Callable[[], np.ndarray], dy: np.ndarray, here: np.ndarray
) -> tuple[float, float, float]:
    """The derivative along one coordinate, how far a kink or a bend may have moved it, and how far rounding may have."""
    before = array[index]
    h = STEP * max(1.0, abs(float(before)))
    slopes, bends, noises = [], [], []
    for step in (h, h / 2):
        array[index] = before + step
        up = values()
        array[index] = before - step
        down = values()
        slopes.append(float((dy * (up - down)).sum()) / (2 * step))
        bends.append(float((dy * (up - 2 * here + down)).sum()))
        # Each output is rounded; those that the coordinate does not reach cancel exactly.
        noises.append(ROUNDING * float((np.abs(dy * here) * (up != down)).sum()) / step)
    array[index] = before
    # Smooth: both doubts are of the order h^2. A kink makes one of them about as large as its jump.
    doubt = max(abs(slopes[0] - slopes[1]), abs(bends[0] - 4 * bends[1]) / h)
    return (4 * slopes[1] - slopes[0]) / 3, doubt, max(noises)


def _in_float64(target: Layer, x: Any) -> Layer:
    layer = copy.deepcopy(target)
    if not layer.built:
        layer.ensure_built((None, *np.shape(x)[1:]))
    layer.keep_cache = layer.need_dx = True
    return layer.astype(np.float64)


def _parameters(layer: Layer) -> list[tuple[str, np.ndarray]]:
    return [(f"{path}/{name}", w) for path, leaf in layer.walk() if leaf.trainable for name, w in leaf.parameters.items()]


def _gradients(layer: Layer) -> list[np.ndarray]:
    return [leaf.gradients[name] for _, leaf in layer.walk() if leaf.trainable for name in leaf.parameters]


@contextlib.contextmanager
def _replayed(layer: Layer) -> Iterator[None]:
    """Whatever the layer draws or moves inside the block, it draws and moves again the next time."""
    leaves = [leaf for _, leaf in layer.walk()]
    state = [{name: value.copy() for name, value in leaf.state.items()} for leaf in leaves]
    drawn = [copy.deepcopy(getattr(leaf, "generator", None)) for leaf in leaves]
    try:
        yield
    finally:
        for leaf, weights, generator in zip(leaves, state, drawn, strict=True):
            for name, value in weights.items():
                leaf.state[name][...] = value
            if generator is not None:
                vars(leaf)["generator"] = generator
