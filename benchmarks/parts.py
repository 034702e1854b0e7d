"""Inference of large batches: in parts that stay in the caches, over all samples at once.

    python benchmarks/parts.py [--networks "depthwise 28x64" MobileNetV2 ...] [--batch 128] [--rounds 9]

Two models of each network in one process, in turn; the medians of the time per image, and their ratio. Below 1 parts are ahead.
Beside it: how many samples go at once. Networks from photographs (224x224) take a batch of 16.
"""

from __future__ import annotations

import argparse
import functools
from typing import Any

import graphs
import numpy as np
from turns import medians

from minitl import applications

PHOTOGRAPHS = ("MobileNetV2", "MobileNet", "EfficientNetLite0", "SqueezeNet")


def network(name: str) -> Any:
    """A network with random weights."""
    if name in graphs.NETWORKS:
        make, size, _ = graphs.NETWORKS[name]
        return make(size)
    return getattr(applications, name)(weights=None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=[*graphs.NETWORKS, *PHOTOGRAPHS])
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=9)
    arguments = parser.parse_args()
    for name in arguments.networks:
        batch = arguments.batch if name in graphs.NETWORKS else min(16, arguments.batch)
        models = {"parts": network(name), "whole": network(name)}
        x = np.random.default_rng(0).standard_normal((batch, *models["parts"].input_shape[1:]), np.float32)
        at_once = models["parts"].new_run().plan.replays.at_once
        models["whole"].new_run().plan.replays.at_once = None
        for model in models.values():  # until what is recorded is played
            for _ in range(4):
                model.predict_on_batch(x)
        calls = {way: functools.partial(model.predict_on_batch, x) for way, model in models.items()}
        parts, whole = (1e6 * seconds / batch for seconds in medians(calls, arguments.rounds, 0.1).values())
        print(
            f"{name:18} batch {batch:4}, at once {at_once or 'all':>4}: {parts:9.1f} us per image, "
            f"whole {whole:9.1f} us, ratio {parts / whole:.2f}",
            flush=True,
        )
