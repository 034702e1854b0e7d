"""How good is the checker? Planted mistakes caught, false alarms and time, beside two other ways to check.

    python benchmarks/gradcheck_power.py [--correct N]

- minitl: `check_gradients`.
- torch: `torch.autograd.gradcheck` around the same forward and backward (its defaults), where PyTorch is installed.
- ones: what most people write, a central difference of y.sum() at every coordinate of every input, h = 1e-5.

The mistakes are those of `tests/planted.py`, the correct cases N generated configurations of every operation, kinks and
exact ties included. torch's and ones' checkers see pairs of functions only; layers and losses are put to them as pairs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from minitl.gradcheck import check_gradients
from minitl.gradcheck.problems import pose

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from cases import CASES
from planted import PLANTED
from test_gradients import problem


def ours(target, arguments, keywords) -> bool:
    """Whether minitl's checker calls it right; kinks everywhere are no verdict."""
    report = check_gradients(target, *arguments, samples=100, **keywords)
    return all(t.ok or "kinks" in t.verdict for t in report.tensors) and not any(f.failure for f in report.findings)


def with_ones(target, arguments, keywords) -> bool:
    """A central difference of the summed output."""
    p = pose(target, arguments[0], arguments[1:], keywords.get("y"), True)
    y = np.asarray(p.values(), np.float64)
    for array, gradient in zip(p.arrays, p.gradients(np.ones_like(y)), strict=False):
        if np.shape(gradient) != array.shape:
            return False
        flat, claimed = array.reshape(-1), np.asarray(gradient, np.float64).reshape(-1)
        for i in range(flat.size):
            before = flat[i]
            flat[i] = before + 1e-5
            up = np.asarray(p.values()).sum()
            flat[i] = before - 1e-5
            slope = (up - np.asarray(p.values()).sum()) / 2e-5
            flat[i] = before
            if abs(slope - claimed[i]) > 1e-5 * max(1.0, abs(slope)):
                return False
    return True


def with_torch(target, arguments, keywords) -> bool:
    """torch.autograd.gradcheck of a Function that calls forward and backward."""
    import torch

    p = pose(target, arguments[0], arguments[1:], keywords.get("y"), True)

    class Wrapped(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            for array, tensor in zip(p.arrays, tensors, strict=True):
                array[...] = tensor.detach().numpy()
            ctx.held = [array.copy() for array in p.arrays]
            return torch.from_numpy(np.array(p.values(), np.float64))

        @staticmethod
        def backward(ctx, dy):
            for array, held in zip(p.arrays, ctx.held, strict=True):
                array[...] = held
            return tuple(torch.from_numpy(np.array(g, np.float64)) for g in p.gradients(dy.numpy().copy()))

    tensors = [torch.from_numpy(array.copy()).requires_grad_() for array in p.arrays]
    try:
        return torch.autograd.gradcheck(Wrapped.apply, tensors, raise_exception=False)
    except Exception:
        return False  # a wrong shape or a missing gradient is refused by autograd itself


def main(correct: int) -> dict[str, tuple[int, int]]:
    """Print the table; returns (missed, false alarms) by checker."""
    checkers = {"minitl": ours, "ones": with_ones}
    try:
        import torch  # noqa: F401

        checkers["torch"] = with_torch
    except ImportError:
        print("PyTorch is not installed; its column is left out")
    results = {}
    missed_by = {}
    print(f"{len(PLANTED)} planted mistakes, {correct} generated correct configurations of each of {len(CASES)} operations")
    print(f"{'checker':<8}  {'caught':>7}  {'missed':>7}  {'time':>7}  {'false alarms':>13}  {'time':>7}")
    for name, check in checkers.items():
        started = time.perf_counter()
        missed_by[name] = [m.name for m in PLANTED if check(m.target, m.arguments, m.keywords)]
        spent = time.perf_counter() - started
        started = time.perf_counter()
        alarms, total = false_alarms(check, correct)
        print(
            f"{name:<8}  {len(PLANTED) - len(missed_by[name]):7}  {len(missed_by[name]):7}  {spent:6.1f}s  "
            f"{alarms:6} of {total:4}  {time.perf_counter() - started:6.1f}s",
            flush=True,
        )
        results[name] = (len(missed_by[name]), alarms)
    for name, missed in missed_by.items():
        print(f"\n{name} missed: {'; '.join(missed) or 'none'}")
    return results


def false_alarms(check, correct: int) -> tuple[int, int]:
    """How many right configurations are called wrong, of how many."""
    counts = [0, 0]

    def count(data, ties, name):
        pair, inputs = problem(name, "ops", data.draw(CASES[name](np.float64, ties)))
        if sum(a.size for a in inputs) <= 400:  # coordinate by coordinate, the other two would take minutes
            counts[0] += not check(pair, inputs, {})
            counts[1] += 1

    quiet = settings(
        max_examples=correct, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
    )
    for name in sorted(CASES):
        quiet(given(data=st.data(), ties=st.booleans(), name=st.just(name))(count))()
    return counts[0], counts[1]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--correct", type=int, default=100, metavar="N", help="generated correct cases an operation (100)")
    results = main(parser.parse_args().correct)
    sys.exit(1 if any(results["minitl"]) else 0)
