"""Eight gradients with a mistake in them. Look at each, guess, then see what the checker says.

    python examples/find_the_bug.py            all of them
    python examples/find_the_bug.py --pause    wait before each answer, with hints, one at a time
    python examples/find_the_bug.py --plot bugs/

They come from the catalogue of planted mistakes that the checker itself is tested with, `tests/planted.py`.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minitl import plot
from minitl.gradcheck import check_gradients


class Bug(NamedTuple):
    """What the learner sees, hints from vague to plain, and the explanation."""

    code: str
    hints: tuple[str, str]
    explanation: str


# By the mistake's name in the catalogue.
BUGS = {
    "softmax: factor": Bug(
        "def backward(dy, p):\n    return 2 * p * (dy - (dy * p).sum(axis=-1, keepdims=True))",
        ("Derive dx for two classes, and put numbers in.", "The direction is right; look at the length."),
        "There is a 2 that does not belong there. With dy = 1 the bracket is zero, whatever stands in front of it: a checker "
        "that sums the outputs sees nothing. A random dy does.",
    ),
    "dense: kernel not transposed": Bug(
        "def backward(dy, cache):\n    x, W, b = cache\n    return dy @ W, x.T @ dy, dy.sum(axis=0)",
        ("Which of the three has the wrong shape if W is not square?", "dy is (N, units), and dx (N, inputs)."),
        "dx = dy W^T. Without the transpose the shapes fit as long as W is square, and only the numbers are wrong.",
    ),
    "batch_norm: mean's way missing": Bug(
        "def backward(dy, cache):\n    x_hat, r, gamma = cache  # r = 1 / sqrt(variance + epsilon)\n    g = dy * gamma\n"
        "    dx = r * (g - x_hat * (g * x_hat).mean(axis=0))\n"
        "    return dx, (dy * x_hat).sum(axis=0), dy.sum(axis=0)",
        ("By how many ways does one x reach the outputs?", "With 1 added to every x, y stays. Does this dx say so?"),
        "The mean depends on x, too: r (g - mean(g) - x_hat mean(g x_hat)). The forgotten term is the same for all of a channel.",
    ),
    "conv2d: bias keeps its pixels": Bug(
        "def backward_bias(dy):  # dy is (N, H, W, F)\n    return dy.sum(axis=0)",
        ("What shape has the bias?", "How many outputs does one bias reach?"),
        "One bias serves every sample and every pixel, so its gradient is the sum over axes 0, 1 and 2.",
    ),
    "conv2d: dx shifted by a row": Bug(
        "def backward_input(dy, kernel, H, W):\n    N, H_out, W_out, _ = dy.shape\n"
        "    dx = np.zeros((N, H + 1, W, kernel.shape[2]))\n"
        "    for a in range(kernel.shape[0]):\n        for b in range(kernel.shape[1]):\n"
        "            dx[:, a + 1 : a + 1 + H_out, b : b + W_out] += dy @ kernel[a, b].T\n    return dx[:, :H]",
        ("Forward, y[i] sees x[i + a]. Who sees x[0]?", "Compare the two slices with one another."),
        "The window begins at a, not at a + 1. Everything lands one row too low.",
    ),
    "max_pool2d: the mean's gradient": Bug(
        "def backward(dy, x):  # 2x2 windows\n    return dy.repeat(2, axis=1).repeat(2, axis=2) / 4",
        ("It does not look at x. Could it?", "Change a pixel that is not the largest of its window by a little: what does y do?"),
        "That is average-pooling's gradient. The maximum is a choice, and its gradient goes to the chosen pixel alone.",
    ),
    "sigmoid: dy left out": Bug(
        "def backward(dy, y):\n    return y * (1 - y)",
        ("Is every argument used?", "What should come out for dy = 0?"),
        "The chain rule multiplies by dy. Whoever tests with dy = 1 never notices.",
    ),
    "cross-entropy: divided by the elements": Bug(
        "def backward(p, t):  # (N, classes)\n    return (p - t) / p.size",
        ("The direction is right. What is the loss a mean over?", "Would it be right for a single class?"),
        "The loss is a mean over samples, not over classes: divide by N. Training still works, as if the learning rate were "
        "smaller, which is why nobody finds this one.",
    ),
}  # fmt: skip


def main(pause: bool = False, folder: str | None = None) -> int:
    """Show every bug, what the checker finds, and the explanation; returns how many were found."""
    catalogue = {planted.name: planted for planted in load_catalogue()}
    found = 0
    for number, (name, bug) in enumerate(BUGS.items(), 1):
        planted = catalogue[name]
        print(f"\n{'=' * 20} {number} of {len(BUGS)}: {name.partition(':')[0]} {'=' * 20}\n\n{bug.code}\n")
        for hint in bug.hints if pause else ():
            if input("What is wrong? (Enter for the answer, h for a hint) ").strip().lower() != "h":
                break
            print(f"Hint: {hint}")
        report = check_gradients(planted.target, *planted.arguments, **planted.keywords)
        print(f"{report}\n\nExplanation: {bug.explanation}")
        found += not report.ok
        if folder is not None:
            Path(folder).mkdir(parents=True, exist_ok=True)
            x = np.asarray(planted.arguments[0])
            plot.gradients(report, planted.target, x, *planted.arguments[1:], path=Path(folder) / f"bug-{number}.png")
    print(f"\n{found} of {len(BUGS)} found")
    return found


def load_catalogue() -> list:
    """The planted mistakes of the test suite."""
    path = Path(__file__).parent.parent / "tests" / "planted.py"
    spec = importlib.util.spec_from_file_location("planted", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["planted"] = module
    spec.loader.exec_module(module)
    return module.PLANTED


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pause", action="store_true", help="wait before each answer, with hints")
    parser.add_argument("--plot", metavar="FOLDER", help="also draw each comparison")
    options = parser.parse_args()
    main(options.pause, options.plot)
