"""Single layers, forward and backward with the gradient of the input, against PyTorch.

    python benchmarks/layers.py [--rounds 5] [--only sigmoid tanh]

Sizes are chosen so that a call takes about a millisecond: what is compared are the kernels, and not the calls.
"""

from __future__ import annotations

import argparse

import harness

PEERS = ("torch NCHW", "torch channels_last")
CASES: list[tuple[str, tuple, tuple[int, ...], int]] = [
    *((f"3x3, {c} channels, 32x32", ("conv", c, 3, 1, "same", None), (32, 32, c), 32) for c in (8, 16, 24, 32, 48, 64)),
    *((f"1x1, {c} channels, 16x16", ("conv", c, 1, 1, "same", None), (16, 16, c), 32) for c in (32, 64, 128)),
    *((f"5x5, {c} channels, 16x16", ("conv", c, 5, 1, "same", None), (16, 16, c), 32) for c in (32, 48, 64, 96, 128)),
    *((f"3x3, stride 2, {c} channels, 33x33", ("conv", c, 3, 2, "valid", None), (33, 33, c), 32) for c in (32, 64, 128)),
    *((f"{k}x{k}, 64 channels, 20x20", ("conv", 64, k, 1, "same", None), (20, 20, 64), 8) for k in (5, 7, 9)),
    ("7x7, stride 2, 3 to 64, 64x64", ("conv", 64, 7, 2, "valid", None), (64, 64, 3), 16),
    ("3x3, stride 2, 64 channels, 57x57", ("conv", 64, 3, 2, "valid", None), (57, 57, 64), 8),
    ("3x3, 256 channels, 8x8", ("conv", 256, 3, 1, "same", None), (8, 8, 256), 16),
    ("3x3, 512 channels, 4x4", ("conv", 512, 3, 1, "same", None), (4, 4, 512), 8),
    ("1x1, 24 to 144, 28x28", ("conv", 144, 1, 1, "same", None), (28, 28, 24), 16),
    ("1x1, 144 to 24, 28x28", ("conv", 24, 1, 1, "same", None), (28, 28, 144), 16),
    ("dense 512 to 1000", ("dense", 1000, None), (512,), 64),
    ("dense 2048 to 2048", ("dense", 2048, None), (2048,), 128),
    ("dense 4096 to 1", ("dense", 1, None), (4096,), 64),
    ("max-pooling 2x2", ("max", 2, 2), (32, 32, 64), 32),
    ("max-pooling 3x3, stride 2", ("max", 3, 2), (32, 32, 64), 32),
    ("average-pooling 2x2", ("average", 2, 2), (32, 32, 64), 32),
    ("global average-pooling", ("gap",), (16, 16, 128), 32),
    ("batch normalisation", ("bn",), (32, 32, 64), 32),
    *((kind, (kind,), (4096,), 256) for kind in ("relu", "sigmoid", "tanh", "softmax")),
]

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of titles")
    arguments = parser.parse_args()
    harness.prepare()
    rows = []
    for title, layer, shape, batch in CASES:
        if any(part in title for part in arguments.only):
            names = ["minitl", *PEERS[: 2 if len(shape) == 3 else 1]]  # rows have one layout
            rows.append(harness.compare(title, [layer], shape, batch, "step", names, arguments.rounds, single=True))
    harness.print_ratios(rows, {"better PyTorch layout": PEERS})
    harness.save("layers", rows)
