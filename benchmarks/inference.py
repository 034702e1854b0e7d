"""Inference against PyTorch and Keras on TensorFlow, the classic network at batch 1, 32 and 128.

python benchmarks/inference.py [--networks classic] [--batches 1 32 128] [--peers ...] [--rounds 15]
"""

from __future__ import annotations

import argparse

import harness
import workloads
from engines import ENGINES

TORCH = ("torch NCHW", "torch channels_last", "torch compiled")

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
    print(f"\n{'network':<10}{'batch':>6}{'ours / best PyTorch':>22}{'ours / Keras':>15}")
    for row in rows:
        torch, keras = harness.ratio(row, *TORCH), harness.ratio(row, "keras tensorflow")
        print(f"{row['title']:<10}{row['batch']:>6}{torch:>22.2f}{keras:>15.2f}")
    harness.save("inference", rows)
