"""Operations that go through their numbers once or twice, forward and backward, against PyTorch and against the book.

    python benchmarks/passes.py [--rounds 5] [--only elu group_norm]

16 images of 56x56x64; for layer normalisation and softmax sequences of 32 x 128 x 256. PyTorch has two threads and keeps channels
last. A ratio below 1 is ours. In one process, in turn.
"""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable
from typing import Any, NamedTuple

import harness
import numpy as np
from turns import medians

IMAGES, SEQUENCES = (16, 56, 56, 64), (32, 128, 256)


class Case(NamedTuple):
    """An operation of ours with its settings, and PyTorch's, on an input and perhaps weights, of which each has a channel's."""

    operation: str
    settings: tuple[Any, ...]
    theirs: Callable[..., Any]
    shape: tuple[int, ...] = IMAGES
    weights: int = 0


def cases(functional: Any, torch: Any) -> dict[str, Case]:
    """By name."""
    f = functional
    return {
        "relu": Case("relu", (), f.relu),
        "leaky relu": Case("leaky_relu", (0.2,), lambda x: f.leaky_relu(x, 0.2)),
        "elu": Case("elu", (), f.elu),
        "sigmoid": Case("sigmoid", (), torch.sigmoid),
        "hard sigmoid": Case("hard_sigmoid", (), f.hardsigmoid),
        "tanh": Case("tanh", (), torch.tanh),
        "softplus": Case("softplus", (), f.softplus),
        "silu": Case("gated", ("sigmoid",), f.silu),
        "hard swish": Case("gated", ("hard_sigmoid",), f.hardswish),
        "gelu": Case("gated", ("normal",), f.gelu),
        "gelu, tanh": Case("gated", ("normal_tanh",), lambda x: f.gelu(x, approximate="tanh")),
        "prelu": Case("prelu", (), f.prelu, weights=1),
        "max pool 2x2": Case("max_pool2d", ((2, 2), (2, 2)), lambda x: f.max_pool2d(x, 2)),
        "max pool 3x3, stride 2": Case("max_pool2d", ((3, 3), (2, 2)), lambda x: f.max_pool2d(x, 3, 2)),
        "average pool 2x2": Case("average_pool2d", ((2, 2), (2, 2)), lambda x: f.avg_pool2d(x, 2)),
        "upsample 2x2": Case("upsample2d", ((2, 2),), lambda x: f.interpolate(x, scale_factor=2)),
        "group norm, 8": Case("group_norm", (8, 1e-3), lambda x, w, b: f.group_norm(x, 8, w, b, 1e-3), weights=2),
        "layer norm": Case(
            "group_norm", (1, 1e-3, "last"), lambda x, w, b: f.layer_norm(x, (256,), w, b, 1e-3), SEQUENCES, weights=2
        ),
        "softmax": Case("softmax", (), lambda x: f.softmax(x, -1), SEQUENCES),
    }


def calls(case: Case, torch: Any) -> dict[str, dict[str, Callable[[], Any]]]:
    """Forward and backward of the engine, the book and PyTorch, which must agree."""
    generator = np.random.default_rng(0)
    x = generator.standard_normal(case.shape).astype(np.float32)
    weights = [generator.uniform(0.1, 1, case.shape[-1:]).astype(np.float32) for _ in range(case.weights)]
    shaped = [w.reshape(*[1] * (len(case.shape) - 2), -1) if case.operation == "prelu" else w for w in weights]
    images = len(case.shape) == 4
    given = torch.tensor(np.moveaxis(x, -1, 1) if images else x)
    given = given.contiguous(memory_format=torch.channels_last) if images else given
    tensors = [tensor.requires_grad_() for tensor in (given, *map(torch.tensor, weights))]
    made = case.theirs(*tensors)
    found: dict[str, dict[str, Callable[[], Any]]] = {"forward": {}, "backward": {}}
    for name, folder in (("ours", "kernels"), ("book", "ops")):
        module = importlib.import_module(f"minitl.{folder}.{case.operation}")
        y, cache = module.forward(x, *shaped, *case.settings)
        np.testing.assert_allclose(np.moveaxis(y, -1, 1) if images else y, made.detach().numpy(), rtol=1e-3, atol=1e-4)
        dy = np.ones_like(y)
        found["forward"][name] = lambda module=module: module.forward(x, *shaped, *case.settings)
        found["backward"][name] = lambda module=module, dy=dy, cache=cache: module.backward(dy, cache)
    ones = torch.ones_like(made)
    found["forward"]["torch"] = lambda: case.theirs(*tensors)
    found["backward"]["torch"] = lambda: torch.autograd.grad(made, tensors, ones, retain_graph=True)
    return found


def main(arguments: argparse.Namespace) -> None:
    """Print the ratios."""
    harness.prepare()
    import torch

    torch.set_num_threads(harness.THREADS)
    print(f"{'':24}{'forward / PyTorch':>20}{'/ book':>8}{'backward / PyTorch':>22}{'/ book':>8}")
    for name, case in cases(torch.nn.functional, torch).items():
        if arguments.only and not any(word in name for word in arguments.only):
            continue
        cells = []
        for called in calls(case, torch).values():
            seconds = medians(called, arguments.rounds, 0.1)
            cells += [seconds["ours"] / seconds[other] for other in ("torch", "book")]
        print(f"{name:24}{cells[0]:20.2f}{cells[1]:8.2f}{cells[2]:22.2f}{cells[3]:8.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", help="parts of names")
    main(parser.parse_args())
