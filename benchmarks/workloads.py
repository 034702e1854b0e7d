"""Networks as plain lists, with weights and data that every engine gets alike.

A layer is a tuple: ("conv", filters, kernel, stride, padding, activation), ("pool",), ("bn",), ("relu",), ("flatten",),
("gap",) or ("dense", units, activation). The last dense layer gives logits; the loss is cross-entropy.
"""

from __future__ import annotations

import numpy as np

CLASSIC = [
    *(("conv", 32, 3, 1, "valid", "relu"), ("pool",), ("conv", 64, 3, 1, "valid", "relu"), ("pool",)),
    *(("conv", 128, 3, 1, "valid", "relu"), ("pool",), ("flatten",), ("dense", 128, "relu"), ("dense", 10, None)),
]
LENET = [
    *(("conv", 6, 5, 1, "same", "relu"), ("pool",), ("conv", 16, 5, 1, "valid", "relu"), ("pool",), ("flatten",)),
    *(("dense", 120, "relu"), ("dense", 84, "relu"), ("dense", 10, None)),
]


def _block(filters):
    return [("conv", filters, 3, 1, "same", None), ("bn",), ("relu",)] * 2 + [("pool",)]


VGG = [*_block(64), *_block(128), *_block(256), ("gap",), ("dense", 10, None)]
MLP = [("dense", 1024, "relu"), ("dense", 1024, "relu"), ("dense", 10, None)]

NETWORKS = {
    "classic": (CLASSIC, (32, 32, 3)),
    "lenet": (LENET, (28, 28, 1)),
    "vgg": (VGG, (32, 32, 3)),
    "mlp": (MLP, (784,)),
}


def data(shape: tuple[int, ...], batch: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch of random images and labels."""
    generator = np.random.default_rng(1)
    return generator.standard_normal((batch, *shape), dtype=np.float32), generator.integers(0, 10, batch)


def weights(layers: list[tuple], shape: tuple[int, ...]) -> list[np.ndarray]:
    """Kernel and bias (or gamma and beta) of every layer that has them, in minitl's shapes."""
    generator = np.random.default_rng(0)
    arrays = []
    for layer in layers:
        if layer[0] == "conv":
            _, filters, size, stride, padding, activation = layer
            height, width, channels = shape
            fan_in = size * size * channels
            arrays.append(generator.standard_normal((size, size, channels, filters)) * np.sqrt(2 / fan_in))
            if activation:  # no bias in front of a batch normalisation
                arrays.append(generator.standard_normal(filters) * 0.1)
            out = [-(-n // stride) if padding == "same" else (n - size) // stride + 1 for n in (height, width)]
            shape = (*out, filters)
        elif layer[0] == "pool":
            shape = (shape[0] // 2, shape[1] // 2, shape[2])
        elif layer[0] == "bn":
            arrays += [1 + 0.1 * generator.standard_normal(shape[-1]), 0.1 * generator.standard_normal(shape[-1])]
        elif layer[0] == "flatten":
            shape = (int(np.prod(shape)),)
        elif layer[0] == "gap":
            shape = (shape[-1],)
        elif layer[0] == "dense":
            arrays.append(generator.standard_normal((shape[0], layer[1])) * np.sqrt(2 / shape[0]))
            arrays.append(generator.standard_normal(layer[1]) * 0.1)
            shape = (layer[1],)
    return [array.astype(np.float32) for array in arrays]
