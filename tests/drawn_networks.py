"""Networks drawn at random and written once: the same lines build them of minitl's layers and of Keras's.

`build(library, seed)` gives a network, `data(network, seed)` what it learns from, `compiled(library, network, seed)` how it does.
All that is drawn comes from the seed, so that two libraries get the same. Left out by construction: what rounding alone decides
(a bias in front of a normalisation, and that of an attention's keys, whose gradients are zero), and what Keras's torch backend
does otherwise than its others, or not at all (averages over a border of uneven width, the gradient of a transposed convolution of
one channel, the length of a vector of zeros); and several heads of attention behind a mask, whose answers to padding differ.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

WORDS = 9


class Library(NamedTuple):
    """What the lines below need of a library."""

    layers: Any
    models: Any
    losses: Any
    optimizers: Any
    schedules: Any


class Drawn(NamedTuple):
    """A network and what its inputs and outputs are."""

    model: Any
    inputs: list[str]
    tasks: list[str]


class Builder:
    """Draws the parts of one network."""

    def __init__(self, library: Library, seed: int):
        self.layers, self.drawn = library.layers, np.random.default_rng(seed)
        self.made: list[Any] = []

    def one_of(self, *choices: Any) -> Any:
        """One of some things, as they are."""
        return choices[int(self.drawn.integers(len(choices)))]

    def maybe(self, chance: float = 0.5) -> bool:
        """Yes or no."""
        return bool(self.drawn.random() < chance)

    def layer(self, kind: str, /, *arguments: Any, **settings: Any) -> Any:
        """A layer, to be frozen now and then."""
        settings.setdefault("name", f"layer{len(self.made)}")
        made = getattr(self.layers, kind)(*arguments, **settings)
        self.made.append(made)
        return made

    def activation(self) -> str:
        """A name."""
        return self.one_of("relu", "tanh", "sigmoid", "elu", "gelu", "silu", "softplus", "linear", "leaky_relu", "selu")

    def normalised(self, x: Any, holes: bool = False) -> Any:
        """One of the normalisations, and an activation; with `holes` there may be places where all numbers are 0."""
        kinds = ["BatchNormalization", "LayerNormalization", "GroupNormalization", "RMSNormalization"]
        kind = self.one_of(*kinds, *([] if holes else ["UnitNormalization"]))
        if kind == "BatchNormalization":
            settings = {"momentum": 0.9, "scale": self.maybe(), "center": self.maybe(), "epsilon": 0.01}
            x = self.layer(kind, **settings)(x)
        elif kind == "GroupNormalization":
            channels = x.shape[-1]
            x = self.layer(kind, groups=self.one_of(*[n for n in (1, 2, 3) if channels % n == 0]), epsilon=0.01)(x)
        elif kind == "LayerNormalization":
            x = self.layer(kind, epsilon=0.01)(x)
        else:
            x = self.layer(kind)(x)
        return self.layer("Activation", self.activation())(x)

    # Images.

    def convolution(self, channels: int, filters: int, bias: bool, padding: str | None = None) -> Any:
        """A layer that takes images to images."""
        size, padding = self.one_of(1, 2, 3, (3, 1), (1, 2)), padding or self.one_of("same", "valid")
        strides = self.one_of(1, 1, 2)
        dilation = self.one_of(1, 2) if strides == 1 and padding == "same" else 1
        activation = self.activation() if bias else None
        kind = self.one_of("Conv2D", "Conv2D", "SeparableConv2D", "DepthwiseConv2D", *["Conv2DTranspose"] * (channels > 1))
        settings: dict[str, Any] = {"strides": strides, "padding": padding, "activation": activation, "use_bias": bias}
        if kind == "DepthwiseConv2D":
            return self.layer(kind, size, depth_multiplier=self.one_of(1, 2), dilation_rate=dilation, **settings)
        if kind == "Conv2DTranspose":
            return self.layer(kind, filters, size, **settings)
        return self.layer(kind, filters, size, dilation_rate=dilation, **settings)

    def image_block(self, x: Any) -> Any:
        """Images to images."""
        filters = self.one_of(2, 3, 4, 6)
        kind = self.one_of("plain", "normalised", "pool", "residual", "branches", "shared", "around")
        if min(x.shape[1:3]) < 4 and kind in ("pool", "around"):
            kind = "plain"
        padding = "same" if min(x.shape[1:3]) < 4 else None
        if kind == "plain":
            return self.convolution(x.shape[-1], filters, True, padding)(x)
        if kind == "normalised":
            return self.normalised(self.convolution(x.shape[-1], filters, False, padding)(x), holes=True)
        if kind == "pool":
            pooling, strides = self.one_of("MaxPooling2D", "AveragePooling2D"), self.one_of(1, 2)
            padding = "valid" if pooling == "AveragePooling2D" and strides == 2 else self.one_of("same", "valid")
            return self.layer(pooling, self.one_of(2, 3), strides=strides, padding=padding)(x)
        if kind == "around":
            name = self.one_of("ZeroPadding2D", "UpSampling2D", "Cropping2D")
            return self.layer(name, *([1] if name != "UpSampling2D" else [2]))(x)
        if kind == "residual":
            y = self.layer("Conv2D", x.shape[-1], 3, padding="same", activation=self.activation())(x)
            return self.layer(self.one_of("Add", "Subtract", "Average", "Multiply", "Maximum", "Minimum"))([x, y])
        if kind == "shared":
            layer = self.layer("Conv2D", x.shape[-1], 3, padding="same", activation=self.activation())
            return self.layer("Add")([layer(x), layer(layer(x))])
        parts = [self.layer("Conv2D", filters, n, padding="same", activation=self.activation())(x) for n in (1, 3)]
        return self.layer("Concatenate")(parts)

    def of_image(self, x: Any) -> Any:
        """Images to vectors."""
        for _ in range(self.one_of(1, 2, 3)):
            x = self.image_block(x)
        return self.layer(self.one_of("Flatten", "GlobalAveragePooling2D", "GlobalMaxPooling2D"))(x)

    # Sequences.

    def recurrent(self, sequences: bool) -> Any:
        """A recurrent layer, or one in both directions."""
        kind = self.one_of("LSTM", "GRU", "SimpleRNN")
        units = self.one_of(2, 3, 4)
        if self.maybe(0.3):
            inner = getattr(self.layers, kind)(units, return_sequences=sequences)
            return self.layer("Bidirectional", inner, merge_mode=self.one_of("concat", "sum", "mul", "ave"))
        return self.layer(kind, units, return_sequences=sequences)

    def sequence_block(self, x: Any, masked: bool) -> Any:
        """Sequences to sequences."""
        kind = self.one_of(
            "recurrent", "recurrent", "each step", "attention", "layer normalisation", "Conv1D", "Conv1D", "SeparableConv1D",
            "pool", "normalised", "residual",
        )  # fmt: skip
        if x.shape[1] is not None and x.shape[1] < 4 and kind == "pool":
            kind = "Conv1D"
        if kind == "recurrent":
            return self.recurrent(True)(x)
        if kind == "each step":
            dense = self.layers.Dense(3, activation=self.activation())
            return self.layer("TimeDistributed", dense)(x) if self.maybe() else self.layer("Dense", 3, activation="tanh")(x)
        if kind == "attention":
            if self.maybe() and not masked:
                return self.layer("MultiHeadAttention", 2, 2, use_bias=False)(x, x)
            return self.layer("Attention", use_scale=self.maybe())([x, x])
        if kind == "layer normalisation":
            return self.layer("LayerNormalization", epsilon=0.01)(x)
        if kind in ("Conv1D", "SeparableConv1D"):
            padding = self.one_of("same", "causal") if kind == "Conv1D" else "same"
            return self.layer(kind, 3, 3, padding=padding, activation=self.activation())(x)
        if kind == "pool":
            return self.layer(self.one_of("MaxPooling1D", "AveragePooling1D"), 2)(x)
        if kind == "normalised":
            return self.normalised(self.layer("Conv1D", 4, 3, padding="same", use_bias=False)(x), holes=True)
        return self.layer("Add")([x, self.layer("Dense", x.shape[-1], activation="tanh")(x)])

    def of_sequence(self, x: Any, masked: bool) -> Any:
        """Sequences to vectors."""
        for _ in range(self.one_of(0, 1, 2)):
            x = self.sequence_block(x, masked)
        end = self.one_of("recurrent", "GlobalAveragePooling1D", "Flatten", "GlobalMaxPooling1D")
        return self.recurrent(False)(x) if end == "recurrent" else self.layer(end)(x)

    # Whole networks.

    def branch(self, kind: str, x: Any) -> Any:
        """An input to a vector."""
        if kind == "image":
            return self.of_image(x)
        if kind == "vector":
            for _ in range(self.one_of(0, 1, 2)):
                if self.maybe():
                    x = self.layer("Dense", self.one_of(3, 4, 6), activation=self.activation())(x)
                else:
                    x = self.normalised(self.layer("Dense", 6, use_bias=False)(self.layer("Activation", "tanh")(x)))
            return x
        if kind == "words":
            x = self.layer("Embedding", WORDS, self.one_of(2, 3, 4), mask_zero=(masked := self.maybe()))(x)
        else:
            masked = self.maybe(0.3)
            x = self.layer("Masking")(x) if masked else x
        return self.of_sequence(x, masked)

    def merged(self, parts: list[Any]) -> Any:
        """Vectors to one."""
        if len(parts) == 1:
            return parts[0]
        way = self.one_of("Concatenate", "Add", "Multiply", "Average", "Maximum", "shared")
        if way == "Concatenate":
            return self.layer(way)(parts)
        same = [self.layer("Dense", 4, activation=self.activation())(part) for part in parts]
        if way == "shared":
            layer = self.layer("Dense", 5, activation="tanh")
            return self.layer("Concatenate")([layer(part) for part in same])
        return self.layer(way)(same)


SHAPES: dict[str, Any] = {"words": (6,), "vector": (5,)}
HEADS = {
    "numbers": (2, None),
    "questions": (3, "sigmoid"),
    "one-hot": (4, "softmax"),
    "classes": (4, "softmax"),
    "logits": (4, None),
}


def build(library: Library, seed: int) -> Drawn:
    """A network of one or two inputs and outputs."""
    made = Builder(library, seed)
    kinds = [made.one_of("image", "sequence", "words", "vector") for _ in range(made.one_of(1, 1, 2))]
    sizes = {"image": (made.one_of(6, 7), made.one_of(6, 8), made.one_of(1, 3)), "sequence": (made.one_of(5, 6), 3), **SHAPES}
    inputs = [made.layers.Input(sizes[kind], dtype="int32" if kind == "words" else "float64") for kind in kinds]
    x = made.merged([made.branch(kind, value) for kind, value in zip(kinds, inputs, strict=True)])
    if made.maybe(0.3):
        x = made.normalised(made.layer("Dense", 6, use_bias=False)(made.layer("Activation", "tanh")(x)), holes=True)
    tasks = [made.one_of(*HEADS) for _ in range(made.one_of(1, 1, 2))]
    outputs = [made.layer("Dense", HEADS[task][0], activation=HEADS[task][1], name=f"out{k}")(x) for k, task in enumerate(tasks)]
    for layer in made.made[: -len(tasks)]:
        layer.trainable = not made.maybe(0.2)
    model = library.models.Model(inputs if len(inputs) > 1 else inputs[0], outputs if len(outputs) > 1 else outputs[0])
    return Drawn(model, kinds, tasks)


def data(network: Drawn, seed: int, samples: int = 6) -> tuple[Any, Any, Any]:
    """x, y and sample weights, or None for these."""
    drawn = np.random.default_rng([seed, 1])
    x = []
    for kind, value in zip(network.inputs, network.model.inputs, strict=True):
        shape = (samples, *value.shape[1:])
        part = drawn.integers(1, WORDS, shape) if kind == "words" else drawn.normal(size=shape)
        if kind in ("words", "sequence"):
            for row, length in zip(part, drawn.integers(2, shape[1] + 1, samples), strict=True):
                row[length:] = 0
        x.append(part)
    y: list[Any] = []
    for task in network.tasks:
        size = HEADS[task][0]
        numbers = drawn.integers(0, size, samples)
        made = {"numbers": drawn.normal(size=(samples, size)), "questions": drawn.integers(0, 2, (samples, size)).astype(float)}
        y.append(made.get(task, np.eye(size)[numbers] if task == "one-hot" else numbers))
    weights = [drawn.uniform(0.2, 2, samples) for _ in y] if drawn.random() < 0.5 else None
    return (x if len(x) > 1 else x[0]), (y if len(y) > 1 else y[0]), (weights if weights is None or len(y) > 1 else weights[0])


def compiled(library: Library, network: Drawn, seed: int) -> None:
    """Compile it with drawn losses, their weights, and a drawn optimizer."""
    drawn = np.random.default_rng([seed, 2])

    def one_of(*choices: Any) -> Any:
        return choices[int(drawn.integers(len(choices)))]

    losses = library.losses
    ways = {
        "numbers": one_of("MeanSquaredError", "MeanAbsoluteError", "Huber", "LogCosh", "CosineSimilarity"),
        "questions": one_of("BinaryCrossentropy", "BinaryFocalCrossentropy", "MeanSquaredError", "Hinge"),
        "one-hot": one_of("CategoricalCrossentropy", "KLDivergence", "CategoricalFocalCrossentropy", "Poisson"),
        "classes": "SparseCategoricalCrossentropy", "logits": "SparseCategoricalCrossentropy",
    }  # fmt: skip
    smooth = {"label_smoothing": 0.1} if drawn.random() < 0.5 else {}
    made = []
    for task in network.tasks:
        settings = smooth if ways[task] in ("CategoricalCrossentropy", "BinaryCrossentropy") else {}
        made.append(getattr(losses, ways[task])(**settings, **({"from_logits": True} if task == "logits" else {})))
    rate: Any = one_of(0.01, 0.03)
    schedules = library.schedules
    rate = one_of(
        rate, rate, schedules.ExponentialDecay(rate, 2, 0.5), schedules.CosineDecay(rate, 5),
        schedules.PiecewiseConstantDecay([1, 2], [rate, rate / 2, rate / 4]), schedules.PolynomialDecay(rate, 4),
    )  # fmt: skip
    name, settings = one_of(
        ("SGD", {}), ("SGD", {"momentum": 0.9, "nesterov": True}), ("Adam", {}), ("Adam", {"amsgrad": True}), ("AdamW", {}),
        ("RMSprop", {"centered": True, "momentum": 0.5}), ("Adagrad", {}), ("Adadelta", {}), ("Adamax", {}), ("Nadam", {}),
        ("Lion", {}),
    )  # fmt: skip
    settings = {**settings, **one_of({}, {}, {"clipnorm": 0.1}, {"clipvalue": 0.01}, {"global_clipnorm": 0.2})}
    settings |= one_of({}, {}, {"weight_decay": 0.1})
    settings |= one_of({}, {}, {"use_ema": True, "ema_momentum": 0.8, "ema_overwrite_frequency": 2})
    weights = [float(drawn.uniform(0.3, 2)) for _ in made] if len(made) > 1 and drawn.random() < 0.5 else None
    optimizer = getattr(library.optimizers, name)(rate, **settings)
    network.model.compile(optimizer, made if len(made) > 1 else made[0], loss_weights=weights)
