"""Is this gradient right, and if not, what kind of mistake is it? One call for a layer, an operation, a loss or a model.

    report = check_gradients(MyLayer(), np.random.default_rng(0).standard_normal((4, 8, 8, 3)))
    print(report)

It compares what `backward` says with what `forward` does, number by number (`differences`), looks at how the two behave
besides (`conduct`), and when something is wrong it tries the usual suspects (`diagnosis`). An upstream gradient of ones would
hide mistakes (a softmax scaled by any factor passes it), so dy is random. `check_adjoint` is the cheap version for whole
networks, `complex_step` the exact one for analytic functions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from minitl.gradcheck import conduct
from minitl.gradcheck.diagnosis import diagnose
from minitl.gradcheck.differences import Slope, check_tensor
from minitl.gradcheck.problems import Problem, explain, in_dtype, pose, restored
from minitl.gradcheck.report import Comparison, Diagnosis, Finding, Report, TensorReport
from minitl.layers.base import Layer
from minitl.losses import Loss

__all__ = [
    "Comparison",
    "Diagnosis",
    "Finding",
    "Report",
    "TensorReport",
    "check_adjoint",
    "check_gradients",
    "complex_step",
    "step_errors",
]

TOLERANCE = 1e-6  # relative; differences in float64 are good to about 1e-9
FLOAT32_TOLERANCE = 5e-3  # relative to the tensor's largest entry: one ReLU that rounding moves to its other side is 2e-3
ADJOINT_STEPS = (1e-6, 1e-8, 1e-10)  # long ones cross the kinks of a deep network, short ones are rounded: the best one counts


def check_gradients(
    target: Any,
    x: Any,
    *more: Any,
    y: Any = None,
    training: bool | None = None,
    tolerance: float | None = None,
    samples: int = 200,
    seed: int = 0,
    dtype: Any = np.float64,
) -> Report:
    """Check every gradient of a target against differences of its forward pass.

    Targets: a layer or model, of minitl or your own (x is a batch; the layer is copied and converted, the original stays
    as it is); a compiled model with targets `y`, also as third argument (the gradients of its loss, as training computes them); a
    `minitl.losses.Loss` with predictions x and targets `y`; or a pair of functions (or a module with both),
    `y, cache = forward(x, *more)` and `dx, *d_more = backward(dy, cache)`, with a gradient for every array of real numbers.
    `training=None` checks a layer in training, and in inference too when it does something else there.
    Shapes: any; of several inputs, a list or a dictionary. All coordinates of a tensor of up to `samples` entries, else as many
    drawn by `seed` and the rest along random directions. dtype float32 computes the gradients in float32, and compares with
    differences in float64.
    Errors: ValueError for a target of another kind, or targets for a layer or a model that is not compiled; whatever forward
    raises. What backward raises is in the report.
    """
    if more and isinstance(target, (Layer, Loss)):
        if y is not None or len(more) > 1:
            raise TypeError("check_gradients: a layer or a model is checked for x and perhaps y; several inputs are one list")
        (y,), more = more, ()
    if isinstance(x, dict) and hasattr(target, "by_input"):
        x = target.by_input(x)
    if isinstance(target, Layer):
        target = in_dtype(target, x, dtype)  # its weights, drawn now or before, are the same in all that follows
    if training is None:
        report = _check(target, x, more, y, True, tolerance, samples, seed, dtype)
        if isinstance(target, Layer) and y is None and _differs_in_inference(target, x):
            other = _check(target, x, more, y, False, tolerance, samples, seed, dtype)
            report.tensors += [_renamed(tensor) for tensor in other.tensors]
            known = {finding.text for finding in report.findings}
            report.findings += [Finding(f"in inference, {f.text}", f.failure) for f in other.findings if f.text not in known]
            report.diagnoses += [Diagnosis(f"{d.tensor} (inference)", d.kind, d.text) for d in other.diagnoses]
        return report
    return _check(target, x, more, y, training, tolerance, samples, seed, dtype)


def _check(
    target: Any, x: Any, more: tuple[Any, ...], y: Any, mode: bool, tolerance: float | None, samples: int, seed: int, dtype: Any
) -> Report:
    generator = _generator(seed)
    single = np.dtype(dtype) == np.float32
    if single:  # both sides see the same numbers
        x = [_real(part, np.float32) for part in x] if isinstance(x, list) else _real(x, np.float32)
    problem = pose(target, x, more, y, mode)
    claims = pose(target, x, more, y, mode, np.float32) if single else problem
    report = Report(problem.title, [])
    out = np.asarray(problem.values())
    if not np.isfinite(out).all():
        report.findings.append(Finding("forward gives NaN or infinite numbers for this x; nothing can be compared"))
        return report
    if conduct.is_random(problem):
        report.findings.append(
            Finding(
                "forward gives other numbers each time for the same x: it draws from a generator that it makes anew, or that "
                "is not an attribute of the layer; keep one in self (self.generator = minitl.random.new_generator())"
            )
        )
        return report
    coarse = conduct.is_coarse(problem)
    if coarse:
        report.findings.append(
            Finding(
                "forward computes in less than float64, or in steps (a rounding, a cast to float32 or to whole numbers); "
                "make arrays with x.dtype, so that it can be checked to the last digits"
            )
        )
    dy = np.asarray(1.0) if problem.scalar else np.asarray(generator.standard_normal(out.shape))
    try:
        analytic = claims.gradients(dy.astype(claims.arrays[0].dtype))
    except Exception as error:
        report.findings.append(Finding(explain(error, "backward")))
        return report
    if len(analytic) != len(problem.arrays):
        expected = f"{len(problem.arrays)} gradients ({', '.join(problem.names)})"
        report.findings.append(Finding(f"backward returned {len(analytic)} gradients; expected {expected}"))
    slope = Slope(lambda: np.array(problem.values(), np.float64), dy, tolerance or (TOLERANCE if not coarse else 2e-3), coarse)
    if single:
        slope.tolerance, slope.share = tolerance or FLOAT32_TOLERANCE, 1.0
        # A gradient that should be zero (a bias in front of batch normalisation) is rounding of the others' size.
        slope.floor = 1e-4 * max((float(np.abs(g).max(initial=0.0)) for g in analytic if isinstance(g, np.ndarray)), default=0.0)
    for position, (name, array) in enumerate(zip(problem.names, problem.arrays, strict=True)):
        gradient = analytic[position] if position < len(analytic) else None
        row = _row(name, array, gradient, slope, samples, generator)
        report.tensors.append(row)
        if not row.ok and row.verdict.startswith(("wrong", "shape")):
            told = diagnose(claims, row, position, analytic, slope)
            report.diagnoses += [told] if told else []
    if not single:
        try:
            report.findings += conduct.examine(problem, dy)
        except Exception as error:
            report.findings.append(Finding(explain(error, "the target, run again under other conditions,"), failure=False))
    return report


def _real(x: Any, dtype: Any) -> np.ndarray:
    """x in the dtype; whole numbers, such as those of words, and truth values stay as they are."""
    array = np.asarray(x)
    return array if array.dtype.kind in "iub" else array.astype(dtype, order="C")


def _generator(seed: int) -> np.random.Generator:
    # Never the numbers of default_rng(seed): with x drawn from that, dy would equal x, and hide a transposed x^T dy.
    return np.random.default_rng([seed, 0x6D696E69])


def _row(name: str, array: np.ndarray, gradient: Any, slope: Slope, samples: int, generator: np.random.Generator) -> TensorReport:
    nothing = (name, 0, 0, float("inf"), (), float("nan"), float("nan"))
    if not isinstance(gradient, (np.ndarray, np.generic, float)):
        if name == "x":
            told = f"backward() returned {type(gradient).__name__}; it must return dx, the gradient with respect to forward's x"
        else:
            parameter = name.rpartition("/")[2]
            told = (
                f"backward() left no gradient; set self.gradients[{parameter!r}] in it" if "/" in name else "no gradient returned"
            )
        return TensorReport(*nothing, told)
    gradient = np.asarray(gradient)
    if gradient.shape != array.shape:
        return TensorReport(*nothing, f"shape {gradient.shape}, not {array.shape}")
    if gradient.dtype.kind not in "f":
        return TensorReport(*nothing, f"wrong: a gradient of dtype {gradient.dtype}; it must hold real numbers, as x does")
    return check_tensor(name, array, gradient.astype(np.float64), slope, samples, generator)


def _renamed(tensor: TensorReport) -> TensorReport:
    tensor.name += " (inference)"
    return tensor


def _differs_in_inference(target: Any, x: Any) -> bool:
    training, inference = (pose(target, x, (), None, mode).values() for mode in (True, False))
    return not np.array_equal(np.asarray(training), np.asarray(inference))


def check_adjoint(
    target: Any, x: Any, *more: Any, y: Any = None, training: bool = True, seed: int = 0, dtype: Any = np.float64
) -> float:
    """How far <J v, u> and <v, J^T u> differ, relative to their size: a few evaluations check all gradients of a target.

    Formula: J v by a difference along a random direction v through all inputs and parameters, J^T u by backward, u random.
    A right target gives about 1e-8 in float64, 1e-4 in float32. A kink on the way from x - h v to x + h v adds to it, so that
    three steps h are tried, and the best one counts: a wrong gradient is wrong with every step.
    Shapes: as in `check_gradients`.
    Errors: as in `check_gradients`, and whatever backward raises.
    """
    generator = _generator(seed)
    x = [_real(part, dtype) for part in x] if isinstance(x, list) else _real(x, dtype)
    if isinstance(target, Layer):
        target = in_dtype(target, x, dtype)
    problem = pose(target, x, more, y, training)
    claims = problem if np.dtype(dtype) == np.float64 else pose(target, x, more, y, training, dtype)
    u = np.asarray(1.0) if problem.scalar else np.asarray(generator.standard_normal(np.shape(problem.values())))
    directions = [generator.standard_normal(a.shape) for a in problem.arrays]
    gradients = claims.gradients(u.astype(claims.arrays[0].dtype))
    pulled = sum(float((np.asarray(g, np.float64) * v).sum()) for g, v in zip(gradients, directions, strict=True))
    size = sum(float(np.abs(np.asarray(g, np.float64) * v).sum()) for g, v in zip(gradients, directions, strict=True))
    errors = []
    with restored(problem.arrays) as before:
        for h in ADJOINT_STEPS:
            moved = []
            for sign in (1, -1):
                for a, b, v in zip(problem.arrays, before, directions, strict=True):
                    a[...] = b + sign * h * v
                moved.append(float((u * np.asarray(problem.values())).sum()))
            pushed = (moved[0] - moved[1]) / (2 * h)
            errors.append(abs(pushed - pulled) / max(np.sqrt(size), abs(pushed), abs(pulled), 1e-12))
    return min(errors)


def complex_step(forward: Callable[..., Any], backward: Callable[..., Any], *inputs: Any, seed: int = 0) -> float:
    """The largest relative difference between backward and complex steps, for an analytic pair of functions.

    Formula: dL/dx_i = Im L(x + i h e_i) / h, with L = sum dy y and h = 1e-30: nothing cancels, so that it is exact to rounding.
    Shapes: inputs of real numbers; forward must compute with complex ones.
    Errors: TypeError when forward loses the imaginary part.
    Source: W. Squire and G. Trapp, Using complex variables to estimate derivatives of real functions, 1998.
    """
    arrays = [np.asarray(a, np.float64) for a in inputs]
    y, cache = forward(*arrays)
    dy = _generator(seed).standard_normal(np.shape(y))
    gradients = backward(dy, cache)
    worst = 0.0
    for i, gradient in enumerate(gradients if isinstance(gradients, tuple) else (gradients,)):
        exact = np.empty(arrays[i].size)
        for position in range(arrays[i].size):
            moved = [a.astype(np.complex128) for a in arrays]
            moved[i].reshape(-1)[position] += 1e-30j
            out = np.asarray(forward(*moved)[0])
            if out.dtype.kind != "c":
                raise TypeError(f"complex_step: forward returned {out.dtype} for complex inputs; it takes no complex steps")
            exact[position] = (dy * out.imag).sum() / 1e-30
        scale = max(float(np.abs(exact).max(initial=0.0)), 1e-300)
        worst = max(worst, float(np.abs(np.asarray(gradient).reshape(-1) - exact).max(initial=0.0)) / scale)
    return worst


def step_errors(
    target: Any, x: Any, *more: Any, y: Any = None, training: bool = True, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """How the error of a plain central difference depends on its step: the V of truncation and rounding.

    Shapes: steps (S,) and the median relative error (S,) over coordinates of x.
    Errors: as in `check_gradients`.
    """
    problem: Problem = pose(target, x, more, y, training)
    generator = _generator(seed)
    out = np.asarray(problem.values())
    dy = np.asarray(1.0) if problem.scalar else np.asarray(generator.standard_normal(out.shape))
    analytic = np.asarray(problem.gradients(dy)[0]).reshape(-1)
    flat = problem.arrays[0].reshape(-1)
    some = generator.permutation(flat.size)[:30]
    some = some[np.abs(analytic[some]) > 1e-2 * np.abs(analytic).max()]
    steps = 10.0 ** np.arange(-13, 0.5, 0.5)
    errors = np.empty((len(steps), len(some)))
    for s, h in enumerate(steps):
        for p, position in enumerate(some):
            before = flat[position]
            flat[position] = before + h
            up = np.asarray(problem.values())
            flat[position] = before - h
            slope = float((dy * (up - np.asarray(problem.values()))).sum()) / (2 * h)
            flat[position] = before
            errors[s, p] = abs(slope - analytic[position]) / abs(analytic[position])
    return steps, np.median(errors, axis=1)
