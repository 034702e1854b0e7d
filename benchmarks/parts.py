"""Inference of large batches: in parts that stay in the caches, over all samples at once.

    python benchmarks/parts.py [--networks "depthwise 28x64" MobileNetV2 ...] [--batch 128] [--rounds 9]

Two models of each network in one process, in turn; the medians of the time per image, and their ratio. Below 1 parts are ahead.
Beside it: how many samples go at once. Networks from photographs (224x224) take a batch of 16.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import graphs
import numpy as np

from minitl import applications

PHOTOGRAPHS = ("MobileNetV2", "MobileNet", "EfficientNetLite0", "SqueezeNet")


def network(name: str) -> Any:
    """A network with random weights."""
    if name in graphs.NETWORKS:
        make, size, _ = graphs.NETWORKS[name]
        return make(size)
    return getattr(applications, name)(weights=None)


def ready(name: str, x: np.ndarray, parts: bool) -> tuple[Any, int | None]:
    """A network that has seen x often enough to play what it recorded, and how many samples it takes at once."""
    model = network(name)
    replays = model.new_run().plan.replays
    at_once = replays.at_once
    if not parts:
        replays.at_once = None
    for _ in range(4):
        model.predict_on_batch(x)
    return model, at_once


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[*graphs.NETWORKS, *PHOTOGRAPHS])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    for name in arguments.networks:
        batch = arguments.batch if name in graphs.NETWORKS else min(16, arguments.batch)
        x = np.random.default_rng(0).standard_normal((batch, *network(name).input_shape[1:]), np.float32)
        models = [ready(name, x, parts) for parts in (True, False)]
        seconds: list[list[float]] = [[], []]
        for number in range(arguments.rounds):
            for side in (0, 1) if number % 2 else (1, 0):
                model = models[side][0]
                started = time.perf_counter()
                model.predict_on_batch(x)
                calls = 1 + int(0.1 / (time.perf_counter() - started))
                started = time.perf_counter()
                for _ in range(calls):
                    model.predict_on_batch(x)
                seconds[side].append((time.perf_counter() - started) / calls / batch)
        ours, whole = (1e6 * float(np.median(times)) for times in seconds)
        print(
            f"{name:18} batch {batch:4}, at once {models[0][1] or 'all':>4}: {ours:9.1f} us per image, "
            f"whole {whole:9.1f} us, ratio {ours / whole:.2f}",
            flush=True,
        )
