"""Convolutions of several shapes, two in a row with a small head, forward and backward, against PyTorch.

    python benchmarks/operations.py [--rounds 9]

1x1 and 5x5 kernels and stride 2, with 32, 64 and 128 channels, batch 32. The second convolution's input gradient is part of
the work, the first one's is not.
"""

from __future__ import annotations

import argparse

import harness

KINDS = {"1x1": (1, 1, (16, 16)), "3x3": (3, 1, (16, 16)), "5x5": (5, 1, (16, 16)), "3x3, stride 2": (3, 2, (25, 25))}
TORCH = ("torch NCHW", "torch channels_last")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--channels", nargs="+", type=int, default=[32, 64, 128])
    arguments = parser.parse_args()
    harness.prepare()
    rows = []
    for name, (size, stride, (height, width)) in KINDS.items():
        for channels in arguments.channels:
            convolution = ("conv", channels, size, stride, "valid", "relu")
            layers = [convolution, convolution, ("gap",), ("dense", 10, None)]
            shape = (height, width, channels)
            title = f"{name}, {channels} channels"
            rows.append(harness.compare(title, layers, shape, 32, "step", ["minitl", *TORCH], arguments.rounds))
    harness.print_ratios(rows, {"better PyTorch layout": TORCH})
    harness.save("operations", rows)
