"""Inference against PyTorch and Keras on TensorFlow, the classic network at batch 1, 32 and 128.

python benchmarks/inference.py [--networks classic] [--batches 1 32 128] [--peers ...] [--rounds 15]
"""

from __future__ import annotations

import argparse

import harness
import workloads
from engines import ENGINES

LAYOUTS, COMPILED, KERAS = ("torch NCHW", "torch channels_last"), ("torch compiled",), ("keras tensorflow",)

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", nargs="+", default=["classic"], choices=list(workloads.NETWORKS))
    parser.add_argument("--batches", nargs="+", type=int, default=[1, 32, 128])
    parser.add_argument("--peers", nargs="*", default=[name for name in ENGINES if name != "minitl"])
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    harness.prepare()
    rows = []
    for network in arguments.networks:
        layers, shape = workloads.NETWORKS[network]
        for batch in arguments.batches:
            names = ["minitl", *arguments.peers]
            rows.append(harness.compare(network, layers, shape, batch, "infer", names, arguments.rounds))
    harness.print_ratios(rows, {"better PyTorch layout": LAYOUTS, "torch.compile": COMPILED, "Keras": KERAS})
    harness.save("inference", rows)
