"""A training step (forward, backward, Adam) against PyTorch and Keras on TensorFlow.

python benchmarks/train_step.py [--networks classic lenet vgg mlp] [--peers ...] [--rounds 15] [--avx2]
"""

from __future__ import annotations

import argparse
import os

import harness
import workloads
from engines import ENGINES

BATCHES = {"classic": (32, 128), "lenet": (64,), "vgg": (64,), "mlp": (128,)}
LAYOUTS, COMPILED, KERAS = ("torch NCHW", "torch channels_last"), ("torch compiled",), ("keras tensorflow",)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=list(BATCHES), choices=list(BATCHES))
    parser.add_argument("--peers", nargs="*", default=[name for name in ENGINES if name != "minitl"])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument(
        "--avx2", action="store_true", help="256-bit vectors on both sides: ours by Numba's setting, PyTorch's by oneDNN's"
    )
    arguments = parser.parse_args()
    harness.prepare()
    if arguments.avx2:
        os.environ.update(harness.AVX2)
    rows = []
    for network in arguments.networks:
        layers, shape = workloads.NETWORKS[network]
        for batch in BATCHES[network]:
            names = ["minitl", *arguments.peers]
            rows.append(harness.compare(network, layers, shape, batch, "step", names, arguments.rounds))
    harness.print_ratios(rows, {"better PyTorch layout": LAYOUTS, "torch.compile": COMPILED, "Keras": KERAS})
    harness.save("train_step_avx2" if arguments.avx2 else "train_step", rows)
