"""A layer by itself, forward and backward, with the methods that `engines` has for networks.

`layers` has one entry: of those of `workloads` ("conv", filters, size, stride, padding, None), ("dense", units, None), ("bn",),
("gap",) or ("relu",), and besides ("max", size, stride), ("average", size, stride), ("sigmoid",), ("tanh",) and ("softmax",).
"""

from __future__ import annotations

from typing import Any

import numpy as np


def _upstream(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(2).standard_normal(shape, dtype=np.float32)


class MinitlLayer:
    """This engine's."""

    def __init__(self, layers, shape, weights, x, y):
        from minitl import layers as ours

        kind, *arguments = layers[0]
        make: dict[str, Any] = {
            "conv": lambda f, k, s, p, a: ours.Conv2D(f, k, s, p, activation=a, use_bias=False),
            "dense": ours.Dense,
            "bn": ours.BatchNormalization,
            "max": ours.MaxPooling2D,
            "average": ours.AveragePooling2D,
            "gap": ours.GlobalAveragePooling2D,
        }
        self.layer = make[kind](*arguments) if kind in make else ours.Activation(kind)
        self.x = x
        self.dy = _upstream(self.layer(x).shape)
        for w, given in zip(self.layer.trainable_weights, weights, strict=True):
            w[...] = given

    def loss_and_gradients(self):
        """The mean size of y instead of a loss; dx and the gradients of the parameters."""
        y = self.layer.forward(self.x, training=True)
        dx = self.layer.backward(self.dy)
        return float(np.abs(y).mean()), [dx, *self.layer.gradients.values()]

    def step(self):
        """Forward and backward."""
        self.layer.forward(self.x, training=True)
        self.layer.backward(self.dy)


class TorchLayer:
    """PyTorch's, in NCHW."""

    channels_last = False

    def __init__(self, layers, shape, weights, x, y):
        import torch
        from torch import nn

        self.torch, self.images = torch, x.ndim == 4
        kind, *arguments = layers[0]
        channels = shape[-1]
        make: dict[str, Any] = {
            "conv": lambda f, k, s, p, _: nn.Conv2d(channels, f, k, s, k // 2 if p == "same" else 0, bias=False),
            "dense": lambda units, _: nn.Linear(channels, units),
            "bn": lambda: (nn.BatchNorm2d if self.images else nn.BatchNorm1d)(channels, eps=1e-3, momentum=0.01),
            "max": nn.MaxPool2d,
            "average": nn.AvgPool2d,
            "gap": lambda: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
            "relu": nn.ReLU,
            "sigmoid": nn.Sigmoid,
            "tanh": nn.Tanh,
            "softmax": lambda: nn.Softmax(-1),
        }
        self.module, self.turned = make[kind](*arguments), {"conv": (3, 2, 0, 1), "dense": (1, 0)}.get(kind)
        for parameter, given in zip(self.module.parameters(), weights, strict=True):
            parameter.data.copy_(torch.tensor(given.transpose(self.turned) if given.ndim > 1 else given))
        self.x = self._in_layout(x).requires_grad_(True)
        if self.channels_last and self.images:
            self.module = self.module.to(memory_format=torch.channels_last)
        y = self.module(self.x)
        self.dy = self._in_layout(_upstream(self._back(y).shape))

    def loss_and_gradients(self):
        """The mean size of y instead of a loss; dx and the gradients of the parameters, in minitl's shapes."""
        y = self._run()
        gradients = [parameter.grad.numpy() for parameter in self.module.parameters()]
        if self.turned:
            gradients[0] = gradients[0].transpose(np.argsort(self.turned))
        return float(y.detach().abs().mean()), [self._back(self.x.grad), *gradients]

    def step(self):
        """Forward and backward."""
        self._run()

    def _run(self):
        self.x.grad = None
        self.module.zero_grad(set_to_none=True)
        y = self.module(self.x)
        y.backward(self.dy)
        return y

    def _in_layout(self, array):
        tensor = self.torch.tensor(array)
        if array.ndim < 4:
            return tensor
        layout = self.torch.channels_last if self.channels_last else self.torch.contiguous_format
        return tensor.permute(0, 3, 1, 2).contiguous(memory_format=layout)

    def _back(self, tensor):
        array = tensor.detach().numpy()
        return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


class TorchLayerChannelsLast(TorchLayer):
    """PyTorch's, in channels_last."""

    channels_last = True


SINGLE = {"minitl": MinitlLayer, "torch NCHW": TorchLayer, "torch channels_last": TorchLayerChannelsLast}
