"""The engines that are compared, each with the same four methods; each runs in a process of its own.

Engine(layers, shape, weights, x, y)    builds the network with these weights
loss_and_gradients()                    of the batch, in minitl's shapes, to see that all compute the same
step()                                  forward, backward, Adam
infer()                                 forward
"""

from __future__ import annotations

from typing import Any

import numpy as np

RATE = 1e-4


class Minitl:
    """This engine."""

    def __init__(self, layers, shape, weights, x, y):
        from minitl.layers import (
            BatchNormalization,
            Conv2D,
            Dense,
            Flatten,
            GlobalAveragePooling2D,
            Input,
            MaxPooling2D,
            ReLU,
        )
        from minitl.losses import SparseCategoricalCrossentropy
        from minitl.models import Sequential
        from minitl.optimizers import Adam

        make: dict[str, Any] = {
            "conv": lambda f, k, s, p, a: Conv2D(f, k, s, p, activation=a, use_bias=a is not None),
            "pool": MaxPooling2D,
            "bn": BatchNormalization,
            "relu": ReLU,
            "flatten": Flatten,
            "gap": GlobalAveragePooling2D,
            "dense": lambda units, a: Dense(units, activation=a),
        }
        self.model = Sequential([Input(shape), *(make[kind](*arguments) for kind, *arguments in layers)])
        for w, given in zip(self.model.trainable_weights, weights, strict=True):
            w[...] = given
        self.model.compile(Adam(RATE), SparseCategoricalCrossentropy(from_logits=True))
        self.x, self.y = x, y

    def loss_and_gradients(self):
        """By a step of no length."""
        self.model.optimizer.learning_rate = 0.0
        loss = self.model.train_on_batch(self.x, self.y)
        self.model.optimizer.learning_rate = RATE
        from minitl import objective

        found = objective.forward_loss(self.model, [], self.x, self.y, None, training=True, keep=True)
        found.run.backward(found.output_gradients())
        gradients = [found.run.gradients[layer][name] for _, layer in self.model.named_layers() for name in layer.parameters]
        return loss, gradients

    def step(self):
        """Train on the batch."""
        self.model.train_on_batch(self.x, self.y)

    def infer(self):
        """Predict the batch."""
        return self.model.predict_on_batch(self.x)


class Torch:
    """PyTorch, in NCHW, or channels_last, or compiled."""

    channels_last = False
    compiled = False

    def __init__(self, layers, shape, weights, x, y):
        import torch
        from torch import nn

        self.torch = torch
        modules, given = [], iter(weights)
        channels = shape[-1]
        self.permute: list[Any] = []

        def take(parameter, change=None):
            array = torch.tensor(next(given))
            parameter.data.copy_(change(array) if change else array)
            self.permute.append(change)

        spatial = list(shape[:2])
        for kind, *arguments in layers:
            if kind == "conv":
                filters, size, stride, padding, activation = arguments
                pad = size // 2 if padding == "same" else 0
                module = nn.Conv2d(channels, filters, size, stride, pad, bias=activation is not None)
                take(module.weight, lambda a: a.permute(3, 2, 0, 1))
                if activation:
                    take(module.bias)
                modules += [module] + ([nn.ReLU()] if activation else [])
                channels = filters
                spatial = [(n + 2 * pad - size) // stride + 1 for n in spatial]
            elif kind == "pool":
                modules.append(nn.MaxPool2d(2))
                spatial = [n // 2 for n in spatial]
            elif kind == "bn":
                module = nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)
                take(module.weight)
                take(module.bias)
                modules.append(module)
            elif kind == "relu":
                modules.append(nn.ReLU())
            elif kind == "flatten":
                modules.append(nn.Flatten())
                channels, order = channels * spatial[0] * spatial[1], (*spatial, channels)
            elif kind == "gap":
                modules += [nn.AdaptiveAvgPool2d(1), nn.Flatten()]
            else:
                units, activation = arguments
                module = nn.Linear(channels, units)
                if modules and isinstance(modules[-1], nn.Flatten) and "flatten" in [layer[0] for layer in layers]:
                    # Our rows are in (height, width, channel) order, PyTorch's in (channel, height, width).
                    def reorder(a, order=order):
                        return a.reshape(*order, -1).permute(3, 2, 0, 1).reshape(a.shape[1], -1)

                    take(module.weight, reorder)
                else:
                    take(module.weight, lambda a: a.t())
                take(module.bias)
                modules += [module] + ([nn.ReLU()] if activation else [])
                channels = units
        self.model = nn.Sequential(*modules)
        self.x = torch.tensor(x).permute(0, 3, 1, 2).contiguous() if x.ndim == 4 else torch.tensor(x)
        self.y = torch.tensor(y)
        if self.channels_last:
            self.model = self.model.to(memory_format=torch.channels_last)
            self.x = self.x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else self.x
        self.loss = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.parameters(), RATE)
        self.run = torch.compile(self.model) if self.compiled else self.model
        self.weights = weights

    def _backward(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(self.run(self.x), self.y)
        loss.backward()
        return loss

    def loss_and_gradients(self):
        """In minitl's shapes: the change of layout is undone by finding where each number came from."""
        loss = self._backward().item()
        gradients = []
        for parameter, change, w in zip(self.model.parameters(), self.permute, self.weights, strict=True):
            if change is None:
                gradients.append(parameter.grad.numpy().copy())
                continue
            places = change(self.torch.arange(w.size).reshape(w.shape)).reshape(-1).numpy()
            gradient = np.empty(w.size, np.float32)
            gradient[places] = parameter.grad.contiguous().reshape(-1).numpy()
            gradients.append(gradient.reshape(w.shape))
        return loss, gradients

    def step(self):
        """Train on the batch."""
        self._backward()
        self.optimizer.step()

    def infer(self):
        """Predict the batch."""
        if self.run.training:
            self.run.eval()
        with self.torch.inference_mode():
            return self.run(self.x).numpy()


class TorchChannelsLast(Torch):
    """PyTorch with channels_last tensors."""

    channels_last = True


class TorchCompiled(Torch):
    """PyTorch with channels_last tensors and torch.compile."""

    channels_last = compiled = True


class Keras:
    """Keras 3 on TensorFlow."""

    def __init__(self, layers, shape, weights, x, y):
        import os

        os.environ["KERAS_BACKEND"] = "tensorflow"
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
        import keras
        import tensorflow as tf

        self.tf = tf
        make: dict[str, Any] = {
            "conv": lambda f, k, s, p, a: keras.layers.Conv2D(f, k, s, p, activation=a, use_bias=a is not None),
            "pool": keras.layers.MaxPooling2D,
            "bn": keras.layers.BatchNormalization,
            "relu": keras.layers.ReLU,
            "flatten": keras.layers.Flatten,
            "gap": keras.layers.GlobalAveragePooling2D,
            "dense": lambda units, a: keras.layers.Dense(units, activation=a),
        }
        self.model = keras.Sequential([keras.layers.Input(shape), *(make[kind](*rest) for kind, *rest in layers)])
        for variable, w in zip(self.model.trainable_variables, weights, strict=True):
            variable.assign(w)
        self.loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self.model.compile(keras.optimizers.Adam(RATE), self.loss)
        self.x, self.y = x, y

    def loss_and_gradients(self):
        """By a gradient tape."""
        with self.tf.GradientTape() as tape:
            loss = self.loss(self.y, self.model(self.x, training=True))
        gradients = tape.gradient(loss, [v.value for v in self.model.trainable_variables])
        return float(loss), [g.numpy() for g in gradients]

    def step(self):
        """Train on the batch."""
        self.model.train_on_batch(self.x, self.y)

    def infer(self):
        """Predict the batch."""
        return self.model.predict_on_batch(self.x)


ENGINES = {
    "minitl": Minitl,
    "torch NCHW": Torch,
    "torch channels_last": TorchChannelsLast,
    "torch compiled": TorchCompiled,
    "keras tensorflow": Keras,
}
