"""A gradient check of everything that minitl has: each operation and layer, in a sample of configurations.

`python -m minitl gradcheck` prints it.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from minitl import activations, layers, losses
from minitl.backend import FOLDERS, use_backend
from minitl.gradcheck import Report, check_gradients
from minitl.layers.base import Layer
from minitl.models import Sequential, clone_model

Case = tuple[str, str, Callable[[], Report]]  # operation or layer, configuration, the check


def survey(
    name: str | None = None, backends: tuple[str, ...] = tuple(FOLDERS), dtype: Any = np.float64
) -> Iterator[tuple[str, ...]]:
    """Rows (name, configuration, backend, worst error, uncertainty, checked, skipped, verdict) of everything, or of one name.

    Errors: ValueError for a name that does not exist.
    """
    for backend in backends:
        with use_backend(backend):
            for case, configuration, check in cases(backend, dtype):
                if name is None or name.lower() == case.lower():
                    yield (case, configuration, backend, *_summary(check()))


def names() -> list[str]:
    """All that a survey can be limited to."""
    return sorted({case for case, _, _ in cases("numpy", np.float64)})


def cases(backend: str, dtype: Any) -> Iterator[Case]:
    """Every operation with its configurations, then layers, losses, and networks through every fused path."""
    yield from _operations(backend, dtype)
    for configuration, layer, shape in _layers():
        x: Any = (
            [(1 + i) * np.roll(_numbers(part), i) for i, part in enumerate(shape)] if isinstance(shape, list) else _numbers(shape)
        )
        in_front = isinstance(layer, Sequential)  # of a layer, since it has no gradient itself
        first: Any = layer.layers[0] if isinstance(layer, Sequential) else layer
        if np.dtype(first.input_dtype).kind == "i":
            x = np.abs(10 * x).astype(int) % getattr(first, "input_dim", 3)
        settings = {"training": False} if in_front else {}
        yield type(first).__name__, configuration, partial(check_gradients, layer, x, dtype=dtype, **settings)
    for loss, y in ((losses.CategoricalCrossentropy(label_smoothing=0.1), np.eye(4)[[0, 1, 3]]),
                    (losses.SparseCategoricalCrossentropy(), np.array([0, 1, 3])),
                    (losses.BinaryCrossentropy(), np.eye(4)[[0, 1, 3]]),
                    (losses.MeanSquaredError(), np.eye(4)[[0, 1, 3]])):  # fmt: skip
        p = 0.1 + 0.8 * np.random.default_rng(5).random((3, 4))
        yield type(loss).__name__, "probabilities", partial(check_gradients, loss, p, y=y, dtype=dtype)
    for configuration, model in _networks():
        x, y = _numbers((6, 12, 12, 3)), np.arange(6) % 4
        yield "Sequential", configuration, partial(check_gradients, model, x, y=y, samples=40, dtype=dtype)


def _operations(backend: str, dtype: Any) -> Iterator[Case]:
    def op(name: str) -> Any:
        return importlib.import_module(f"minitl.{FOLDERS[backend]}.{name}")

    def case(name: str, configuration: str, arrays: list[np.ndarray], *rest: Any) -> Case:
        def forward(*inputs: np.ndarray) -> Any:
            return op(name).forward(*inputs, *rest)

        def check() -> Report:
            return check_gradients((forward, op(name).backward), *arrays, dtype=dtype)

        return name, configuration, check

    for size, strides, padding in (
        ((3, 3), (1, 1), "valid"),
        ((3, 3), (2, 2), "same"),
        ((5, 4), (1, 2), "same"),
        ((1, 1), (1, 1), "valid"),
        ((7, 6), (1, 1), "valid"),
    ):
        arrays = [_numbers((2, 7, 6, 3)), _numbers((*size, 3, 5)), _numbers((5,))]
        yield case("conv2d", f"{size[0]}x{size[1]} stride {strides[0]},{strides[1]} {padding}", arrays, strides, padding)
    for rows, inside, units in ((5, 7, 3), (1, 1, 1), (33, 20, 17)):
        yield case(
            "dense", f"{rows} x {inside} -> {units}", [_numbers((rows, inside)), _numbers((inside, units)), _numbers((units,))]
        )
    for name in ("max_pool2d", "average_pool2d"):
        for size, strides, padding in (((2, 2), (2, 2), "valid"), ((3, 3), (2, 2), "same"), ((3, 2), (1, 1), "valid")):
            yield case(
                name, f"{size[0]}x{size[1]} stride {strides[0]} {padding}", [_numbers((2, 7, 6, 3))], size, strides, padding
            )
    for name in ("relu", "sigmoid", "tanh", "softmax", "flatten"):
        yield case(name, "4 x 3 x 5", [_numbers((4, 3, 5))])
    yield case("softmax", "scores of 30", [30 * _numbers((4, 5))])
    yield case("global_average_pool2d", "7 x 6", [_numbers((2, 7, 6, 3))])
    yield case("mean_squared_error", "plain", [_numbers((4, 5))], np.eye(4, 5))
    for name, target in (
        ("categorical_cross_entropy", np.eye(4, 5)),
        ("sparse_categorical_cross_entropy", np.array([0, 4, 2, 2])),
        ("binary_cross_entropy", np.eye(4, 5)),
    ):
        yield case(name, "logits", [_numbers((4, 5))], target, None, True)
    yield (
        "dropout",
        "rate 0.4",
        lambda: check_gradients(
            (lambda x: op("dropout").forward(x, 0.4, np.random.default_rng(0)), op("dropout").backward),
            _numbers((4, 5)),
            dtype=dtype,
        ),
    )
    yield from (case(*row) for row in _further_operations())
    for own in (True, False):
        yield (
            "batch_norm",
            "batch's statistics" if own else "given statistics",
            partial(_check_norm, op("batch_norm"), own, dtype),
        )


def _further_operations() -> Iterator[tuple[Any, ...]]:
    """Rows (name, configuration, arrays, settings...) of what larger networks are made of."""
    image, row, sequences = _numbers((2, 6, 5, 4)), _numbers((4, 5)), [_numbers((2, 3, 4)), _numbers((2, 5, 4))]
    for name in ("add", "multiply", "maximum"):
        yield name, "three, one repeated", [_numbers((3, 4, 5)), _numbers((3, 1, 5)), _numbers((1, 4, 5))]
    yield "concatenate", "last axis", [_numbers((3, 4)), _numbers((3, 2))]
    yield "dot", "2 x 3 x 4, 2 x 5 x 4", sequences
    yield "conv2d", "dilation 2", [image, _numbers((2, 3, 4, 3)), _numbers((3,))], (1, 1), "same", (2, 2), 1
    yield "conv2d", "2 groups", [image, _numbers((3, 3, 2, 6)), _numbers((6,))], (1, 1), "valid", (1, 1), 2
    yield "depthwise_conv2d", "3x3 same", [image, _numbers((3, 3, 4, 1)), _numbers((4,))], (1, 1), "same"
    yield "depthwise_conv2d", "3x2 stride 2, multiplier 2", [image, _numbers((3, 2, 4, 2)), _numbers((8,))], (2, 2), "valid"
    yield "conv2d_transpose", "3x3 stride 2 same", [image, _numbers((3, 3, 3, 4)), _numbers((3,))], (2, 2), "same"
    yield "conv2d_transpose", "2x2 stride 3 valid", [image, _numbers((2, 2, 3, 4)), _numbers((3,))], (3, 3), "valid"
    more = (1, 2)
    yield "conv2d_transpose", "3x2 stride 3 and more", [image, _numbers((3, 2, 3, 4)), _numbers((3,))], (3, 3), "same", more
    yield "embedding", "5 words", [_numbers((5, 3))], np.array([[0, 4, 4], [1, 0, 2]])
    yield "group_norm", "2 groups", [image, _numbers((4,)), _numbers((4,))], 2, 1e-3
    yield "group_norm", "layer", [image, _numbers((4,)), _numbers((4,))], 1, 1e-3, "last"
    yield "upsample2d", "2x3", [image], (2, 3)
    yield "leaky_relu", "slope 0.2, ceiling 1", [row], 0.2, 0.0, 1.0
    yield "prelu", "one slope per unit", [row, _numbers((5,))]
    yield "elu", "alpha 1.5", [row], 1.5
    for gate in ("sigmoid", "hard_sigmoid", "normal", "normal_tanh"):
        yield "gated", gate, [row], gate
    for name in ("hard_sigmoid", "softplus", "exponential"):
        yield name, "4 x 5", [row]
    mask = np.array([[True, True, False, True]] * 2 + [[True, False, False, False]])
    yield "lstm", "3 units, 4 steps", [_numbers((3, 4, 12)), _numbers((3, 12))]
    yield "lstm", "steps left out", [_numbers((3, 4, 12)), _numbers((3, 12))], None, mask
    yield "lstm", "a state given, steps left out", [_numbers((3, 4, 12)), _numbers((3, 12)), _numbers((3, 6))], mask
    yield "simple_rnn", "3 units, 4 steps", [_numbers((3, 4, 3)), _numbers((3, 3))]
    yield "simple_rnn", "rectified, steps left out", [_numbers((3, 4, 3)), _numbers((3, 3)), _numbers((3, 3))], True, mask
    yield "gru", "3 units, 4 steps", [_numbers((3, 4, 9)), _numbers((3, 9)), _numbers((9,))]
    yield "gru", "steps left out", [_numbers((3, 4, 9)), _numbers((3, 9)), _numbers((9,))], None, mask
    yield "gru", "a state given", [_numbers((3, 4, 9)), _numbers((3, 9)), _numbers((9,)), _numbers((3, 3))]
    yield "crf", "4 classes, 4 and 2 steps", [_numbers((2, 4, 4, 4))], np.array([[0, 3, 1, 1], [2, 0, -1, -1]])


def _check_norm(module: Any, own: bool, dtype: Any) -> Report:
    def forward(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray) -> Any:
        mean, variance = module.statistics(x) if own else (np.zeros(3, x.dtype), np.full(3, 2, x.dtype))
        return module.forward(x, gamma, beta, mean, variance, 1e-3, own)

    return check_gradients((forward, module.backward), _numbers((4, 5, 5, 3)), _numbers((3,)), _numbers((3,)), dtype=dtype)


def _layers() -> Iterator[tuple[str, Layer, Any]]:
    image, row, sequence = (3, 7, 6, 2), (5, 6), (3, 8, 4)
    for activation in ("linear", "relu", "sigmoid", "tanh", "softmax"):
        yield activation, layers.Dense(4, activation=activation), row
        yield activation, layers.Conv2D(3, 3, activation=activation), image
        yield activation, layers.Activation(activation), row
    yield "same, stride 2, no bias", layers.Conv2D(4, (5, 3), strides=2, padding="same", use_bias=False), image
    yield "images, no bias", layers.Dense(4, use_bias=False), image
    yield "2x2", layers.MaxPooling2D(), image
    yield "3x3 stride 1 same", layers.MaxPooling2D(3, 1, "same"), image
    yield "2x2", layers.AveragePooling2D(), image
    yield "3x3 stride 2 same", layers.AveragePooling2D(3, 2, "same"), image
    yield "", layers.GlobalAveragePooling2D(), image
    yield "", layers.Flatten(), image
    yield "rate 0.5", layers.Dropout(0.5), row
    yield "images", layers.BatchNormalization(), image
    yield "rows, no scale", layers.BatchNormalization(scale=False), row
    yield "frozen", layers.BatchNormalization(trainable=False), image
    yield "", layers.ReLU(), row
    yield "ceiling, slope, threshold", layers.ReLU(1.0, 0.1, 0.5), row
    yield "", layers.Softmax(), row
    yield "along the rows of images", layers.Softmax(axis=1), image
    yield "over rows and channels", layers.LayerNormalization(axis=[1, 3]), image
    yield "over channels", layers.RMSNormalization(), image
    yield "of channels", layers.LayerScale(0.5, image[-1]), image
    yield "two axes of one", layers.EinsumDense("abcd,def->abcef", (None, None, 2, 3), "tanh", "ef"), image
    for name in activations.NAMED:
        yield name, layers.Activation(name), row
    yield "", layers.LeakyReLU(), row
    yield "", layers.ELU(), row
    yield "one slope per channel", layers.PReLU("ones", shared_axes=[1, 2]), image
    yield "dilation 2, GELU", layers.Conv2D(3, 2, dilation_rate=2, padding="same", activation="gelu"), image
    yield "2 groups", layers.Conv2D(4, 3, groups=2), image
    yield "ReLU6", layers.DepthwiseConv2D(3, padding="same", activation="relu6"), image
    yield "stride 2, SiLU", layers.SeparableConv2D(4, 3, strides=2, activation="silu"), image
    yield "stride 2", layers.Conv2DTranspose(3, 3, strides=2, padding="same"), image
    yield "stride 2 and more", layers.Conv2DTranspose(3, 3, strides=2, output_padding=(1, 0)), image
    yield "ReLU", layers.Conv1D(5, 3, activation="relu"), sequence
    yield "causal, dilation 2", layers.Conv1D(5, 3, padding="causal", dilation_rate=2), sequence
    of_sequences: list[Layer] = [
        layers.Conv1DTranspose(3, 3, strides=2), layers.DepthwiseConv1D(3, padding="same"), layers.SeparableConv1D(4, 3),
        layers.MaxPooling1D(), layers.AveragePooling1D(3, 2, "same"), layers.GlobalMaxPooling1D(), layers.UpSampling1D(2),
        layers.GlobalAveragePooling1D(), layers.ZeroPadding1D((1, 2)), layers.Cropping1D(1), layers.SpatialDropout1D(0.4),
    ]  # fmt: skip
    yield from (("sequences", one, sequence) for one in of_sequences)
    of_images: list[Layer] = [
        layers.GlobalMaxPooling2D(), layers.UpSampling2D(), layers.UpSampling2D(2, "bilinear"),
        layers.ZeroPadding2D(((1, 2), (0, 3))), layers.Cropping2D(1),
        layers.ChannelPadding((1, 2)), layers.ValuePadding2D(1, -2.0), layers.ConstantOperation("multiply", 3.0),
        layers.ArrayFunction("tanh"),
        layers.Reshape((-1, 6)), layers.Permute((3, 1, 2)), layers.LayerNormalization(), layers.GroupNormalization(2),
        layers.SpatialDropout2D(0.4), layers.Rescaling(0.5, 1.0), layers.Normalization(mean=[1, 2], variance=[3, 4]),
        layers.UnitNormalization(), layers.Resizing(5, 9), layers.CenterCrop(3, 4), layers.ActivityRegularization(0.1, 0.2),
    ]  # fmt: skip
    yield from (("images", one, image) for one in of_images)
    at_random: list[Layer] = [
        layers.RandomFlip(), layers.RandomRotation(0.1), layers.RandomZoom(0.2), layers.RandomTranslation(0.1, 0.2),
        layers.RandomContrast(0.3), layers.RandomBrightness(0.3), layers.RandomCrop(5, 4),
    ]  # fmt: skip
    yield from (("in front of a layer", Sequential([one, layers.Conv2D(2, 3)]), image) for one in at_random)
    for encoding in (
        layers.CategoryEncoding(3, "one_hot"), layers.IntegerLookup(vocabulary=[0, 2], output_mode="one_hot"),
        layers.Discretization([0.0, 1.0], output_mode="one_hot"),
    ):  # fmt: skip
        yield "in front of a layer", Sequential([encoding, layers.Dense(2)]), (4, 2)
    yield "3 times", layers.RepeatVector(3), row
    yield "", layers.Identity(), row
    yield "itself, later steps masked", layers.MultiHeadAttention(2, 3, use_causal_mask=True), [sequence, sequence]
    for attention in (layers.Attention(use_scale=True), layers.AdditiveAttention()):
        yield "two inputs", attention, [sequence, sequence]
    yield "", layers.GaussianNoise(0.3), row
    yield "", layers.GaussianDropout(0.3), row
    yield "", layers.AlphaDropout(0.3), row
    yield "square", layers.Lambda(np.square, gradient=lambda x, dy: 2 * x * dy), row
    yield "7 words", layers.Embedding(7, 3), (4, 5)
    for merge in (layers.Add(), layers.Average(), layers.Multiply(), layers.Maximum(), layers.Minimum(), layers.Concatenate()):
        yield "three inputs", merge, [image, image, image]
    yield "two inputs", layers.Subtract(), [row, row]
    yield "cosine", layers.Dot(-1, normalize=True), [row, row]
    recurrent: list[Layer] = [
        layers.LSTM(3), layers.SimpleRNN(3),
        layers.GRU(3, return_sequences=True, dropout=0.3, recurrent_dropout=0.3), layers.Masking(),
        layers.Bidirectional(layers.LSTM(2, return_sequences=True)), layers.Bidirectional(layers.GRU(2), merge_mode="mul"),
        layers.TimeDistributed(layers.Dense(3, activation="tanh")), layers.Transitions(),
    ]  # fmt: skip
    yield from (("sequences", one, sequence) for one in recurrent)
    for cell in (layers.LSTMCell(3), layers.GRUCell(2), layers.SimpleRNNCell(3)):
        yield type(cell).__name__, layers.RNN(cell), sequence
    yield "two cells", layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True), sequence


def _networks() -> Iterator[tuple[str, Sequential]]:
    classic: list[Any] = [layers.Input((12, 12, 3))]
    for filters in (8, 16):
        classic += [layers.Conv2D(filters, 3, activation="relu"), layers.MaxPooling2D()]
    classic += [layers.Flatten(), layers.Dense(16, activation="relu"), layers.Dropout(0.3), layers.Dense(4, activation="softmax")]
    normalised = [
        layers.Input((12, 12, 3)), layers.Conv2D(8, 3, padding="same", kernel_regularizer="l2"), layers.BatchNormalization(),
        layers.ReLU(), layers.MaxPooling2D(), layers.Conv2D(8, 3, strides=2, activation="tanh", activity_regularizer="l2"),
        layers.ActivityRegularization(0.01), layers.GlobalAveragePooling2D(),
        layers.Dense(4, activation="softmax"),
    ]  # fmt: skip
    for name, stack in (("classic", classic), ("batch normalisation", normalised)):
        fused = Sequential(stack)
        for model, how in ((fused, "fused"), (clone_model(fused), "layer by layer")):
            model.fuse = how == "fused"
            model.compile("sgd", "sparse_categorical_crossentropy")
            yield f"{name}, {how}", model


def _numbers(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape)


def _summary(report: Report) -> tuple[str, ...]:
    worst = max((t.worst for t in report.tensors), default=float("inf"))
    doubt = max((t.uncertainty for t in report.tensors), default=0.0)
    counts = (sum(t.checked for t in report.tensors), sum(t.skipped for t in report.tensors))
    verdict = "right" if report.ok else "WRONG"
    return f"{worst:.1e}", f"{doubt:.1e}", str(counts[0]), str(counts[1]), verdict
