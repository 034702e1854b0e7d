"""Wrong settings and wrong use of layers, models and what goes with them: each is refused with one error that says what it is."""

import numpy as np
import pytest

import minitl
from minitl import constraints, losses, metrics, optimizers, plot, regularizers, schedules, utils
from minitl.initializers import Initializer
from minitl.layers import (
    LSTM,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Cropping2D,
    Dense,
    Dot,
    Embedding,
    Flatten,
    GroupNormalization,
    Input,
    Lambda,
    LayerNormalization,
    Normalization,
    Permute,
    PReLU,
    RandomFlip,
    RandomRotation,
    RandomZoom,
    RepeatVector,
    Resizing,
    RMSNormalization,
    SpatialDropout2D,
    Subtract,
    UpSampling2D,
    ZeroPadding2D,
)
from minitl.layers.arithmetic import ConstantOperation
from minitl.models import Model, Sequential
from minitl.ops import conv2d, conv2d_transpose, crf, dense, dropout, lstm

IMAGES, ROWS, STEPS = Input((8, 8, 4)), Input((4,)), Input((5, 4))
OPEN = Input((None, None))
WORDS = Sequential([Input((3,), dtype="int32", name="words"), Embedding(5, 2)])

LAYERS = {
    "filters that do not fall into groups": (lambda: Conv2D(6, 3, groups=4), "Conv2D: filters=6 do not fall into 4 groups"),
    "channels that do not fall into groups": (lambda: Conv2D(6, 3, groups=3)(IMAGES), "4 channels do not fall into 3 groups"),
    "channels that do not fall into groups of a norm": (
        lambda: GroupNormalization(groups=3)(IMAGES),
        "4 channels do not fall into 3 groups",
    ),
    "rows that are to be turned over": (
        lambda: RandomFlip()(ROWS),
        r"RandomFlip.*needs images \(N, H, W, C\), got shape \(None, 4\)",
    ),
    "strides and dilation": (
        lambda: Conv2D(4, 3, strides=2, dilation_rate=2),
        r"Conv2D: strides \(2, 2\) and dilation_rate \(2, 2\) exclude each other",
    ),
    "a last axis that is not known, dense": (lambda: Dense(2)(OPEN), r"Dense.*needs inputs of a known last axis, got \(None"),
    "batch norm": (lambda: BatchNormalization()(OPEN), r"BatchNormalization.*needs inputs of a known last axis, got \(None"),
    "normalization": (lambda: Normalization()(OPEN), r"Normalization.*needs inputs of a known last axis, got \(None"),
    "layer norm": (lambda: LayerNormalization()(OPEN), r"LayerNormalization.*known"),
    "root mean square": (lambda: RMSNormalization()(OPEN), r"RMSNormalization.*needs inputs whose last axis is known"),
    "slopes": (lambda: PReLU()(OPEN), r"PReLU.*needs the lengths of the axes that are not shared, got \(None, None, None\)"),
    "weights of an embedding": (
        lambda: Embedding(5, 3, weights=[np.zeros((4, 3))]),
        r"Embedding: weights must have shape \(5, 3\), got \(4, 3\)",
    ),
    "a function that loses the batch": (
        lambda: Lambda(lambda x: x.sum())(np.ones((3, 4))),
        r"the function made shape \(\) of \(1, 4\); the batch must stay its first axis",
    ),
    "a function that cuts the batch": (
        lambda: Lambda(lambda x: x[:2])(np.ones((3, 4))),
        r"the function made shape \(2, 4\) of \(3, 4\); the batch must stay its first axis",
    ),
    "two of three": (lambda: Subtract()([ROWS, ROWS, ROWS]), "takes two values, got 3"),
    "along the batch": (lambda: Concatenate(axis=0)([ROWS, ROWS]), "axis 0 is not one of the axes 1 .. 1"),
    "along no axis": (lambda: Concatenate(axis=2)([ROWS, ROWS]), r"axis 2 is not one of the axes 1 .. 1"),
    "along the batch from behind": (lambda: Concatenate(axis=-2)([ROWS, ROWS]), r"axis -2 is not one of the axes 1 .. 1"),
    "dot of images": (lambda: Dot(1)([IMAGES, ROWS]), "takes two values of two or three axes, got"),
    "dot of three": (lambda: Dot(1)([ROWS, ROWS, ROWS]), "takes two values of two or three axes, got"),
    "dot of other lengths": (lambda: Dot((1, 1))([STEPS, ROWS]), r"expected shape axes of one length, 5, got 4; choose others"),
    "dot along the batch": (lambda: Dot((0, 1))([STEPS, ROWS]), "choose others with axes="),
    "a long name": (lambda: Dense(2, name="n" * 70_000), "a layer's name may have"),
    "interpolation of resizing": (lambda: Resizing(4, 4, "bicubix"), "unknown interpolation 'bicubix'"),
    "fill mode of resizing": (lambda: Resizing(4, 4, fill_mode="wrap"), "unknown fill_mode 'wrap'"),
    "interpolation of a rotation": (lambda: RandomRotation(0.1, interpolation="cubic"), "unknown interpolation 'cubic'"),
    "fill mode of a rotation": (lambda: RandomRotation(0.1, fill_mode="mirror"), "unknown fill_mode 'mirror'"),
    "mode of a flip": (lambda: RandomFlip("diagonal"), "unknown mode 'diagonal'"),
    "a range of a zoom": (lambda: RandomZoom((0.5, 0.1)), "must be a number of 0 .. 1, or two, the smaller first"),
    "a zoom below -1": (lambda: RandomZoom((-1.5, 0.1)), r"of at least -1; got \(-1.5, 0.1\)"),
    "a negative zoom": (lambda: RandomZoom(-0.1), "must be a number of 0 .. 1"),
    "activation of a recurrent layer": (lambda: LSTM(3, activation="thanh"), "unknown activation 'thanh'; did you mean 'tanh'"),
    "fractions for whole numbers": (
        lambda: WORDS.predict(np.full((2, 3), 1.5), verbose=0),
        "'words' takes whole numbers, got fractions",
    ),
    "NaN for whole numbers": (
        lambda: WORDS.predict(np.full((2, 3), np.nan), verbose=0),
        "'words' takes whole numbers, got .* NaN",
    ),
    "gates of a simple layer": (
        lambda: minitl.layers.SimpleRNN(3, recurrent_activation="elu"),
        "SimpleRNN: has no gates for a recurrent_activation, got 'elu'",
    ),
    "spatial dropout of rows": (lambda: SpatialDropout2D(0.5)(ROWS), r"needs inputs of 4 axes \(N, ..., C\), got \(None, 4\)"),
    "axes of a permutation": (lambda: Permute((1, 3)), r"Permute: dims must be the axes 1 .. 2 in some order, got \(1, 3\)"),
    "permutation of more axes": (lambda: Permute((2, 1))(IMAGES), r"dims \(2, 1\) are for 3 axes, got \(None, 8, 8, 4\)"),
    "repetition of steps": (lambda: RepeatVector(3)(STEPS), r"needs rows \(N, C\), got \(None, 5, 4\)"),
    "cropping of rows": (lambda: Cropping2D(1)(ROWS), r"needs inputs of 4 axes \(N, ..., C\), got \(None, 4\)"),
    "cropping of everything": (lambda: Cropping2D(4)(IMAGES), r"a border of .* leaves nothing of \(None, 8, 8, 4\)"),
    "upsampling": (lambda: UpSampling2D(2, interpolation="cubic"), "unknown interpolation 'cubic'"),
    "padding by text": (lambda: ZeroPadding2D("ab"), "must be a whole number, one per axis, or"),
    "padding by fractions": (lambda: ZeroPadding2D((1.5, 2)), r"one per axis, or \(before, after\) per axis, got \(1.5, 2\)"),
    "padding by three": (lambda: ZeroPadding2D((1, 2, 3)), r"one per axis, or \(before, after\) per axis, got \(1, 2, 3\)"),
    "negative padding": (lambda: ZeroPadding2D(-1), "must not be negative, got -1"),
    "half a normalization": (lambda: Normalization(mean=1.0), "Normalization: give mean and variance, or neither"),
    "axis of a normalization": (lambda: Normalization(axis="rows"), "axis must be a whole number, several of them, or None"),
    "first axis of a normalization": (
        lambda: Normalization(axis=0)(STEPS),
        r"axis must be among 1 \.\. 2, .* got 0",
    ),
    "an unknown constant operation": (lambda: ConstantOperation("modulo", 2.0), "unknown ConstantOperation: operation 'modulo'"),
    "a constant of another length": (
        lambda: ConstantOperation("add", np.ones(3))(ROWS),
        r"a constant of shape \(3,\) does not fit to \(None, 4\)",
    ),
    "a constant of more axes": (
        lambda: ConstantOperation("add", np.ones((1, 1, 4)))(ROWS),
        r"a constant of shape \(1, 1, 4\) does not fit to \(None, 4\)",
    ),
    "a constant per sample": (
        lambda: ConstantOperation("add", np.ones((2, 4)))(ROWS),
        r"a constant of shape \(2, 4\) does not fit to \(None, 4\)",
    ),
    "no forward pass": (lambda: Dense(2).backward(np.ones((1, 2))), "needs a forward pass before it"),
}


@pytest.mark.parametrize("name", LAYERS)
def test_layers(name):
    make, message = LAYERS[name]
    with pytest.raises(ValueError, match=message):
        make()


def chain(*rest, shape=(4,)):
    return Sequential([Input(shape), *rest])


def two_in_two_out():
    a, b = Input((3,), name="a"), Input((3,), name="b")
    return Model([a, b], [Dense(2, name="left")(a), Dense(2, name="right")(b)])


X, Y = np.ones((6, 4), "float32"), np.ones((6, 2), "float32")


def compiled(*rest, **settings):
    model = chain(*(rest or (Dense(2),)))
    model.compile("sgd", "mse", **settings)
    return model


def frozen():
    model = compiled()
    model.trainable = False
    return model


def pair(x, y, axis):
    return crf.forward(np.zeros(x), np.asarray(y), axis)


def uses_values(outputs):
    inside = Dense(4)(ROWS)
    model = Model(ROWS, [Dense(4)(inside) for _ in range(outputs)])
    model.compile("sgd", lambda t, p: 3.0 if inside is not None else t)
    return model


MODELS = {
    "a model with unknown arguments": (
        TypeError,
        lambda: Model(ROWS, Dense(2)(ROWS), layers=3),
        "Model: unknown arguments layers",
    ),
    "a subclass that is not built": (
        ValueError,
        lambda: Own().build(),
        "the input shape is not known; call it on data, or build",
    ),
    "a model on too few values": (ValueError, lambda: two_in_two_out()([Input((3,))]), r"has 2 inputs \(a, b\), got 1"),
    "a model on values of another shape": (ValueError, lambda: chain(Dense(2))(Input((5,))), "it was built for other inputs"),
    "one array for two inputs": (
        ValueError,
        lambda: two_in_two_out().predict(np.ones((2, 3)), verbose=0),
        r"expected 2 inputs \(a, b\), got one array; give a list or a dict",
    ),
    "three arrays for two inputs": (ValueError, lambda: two_in_two_out()([np.ones((2, 3))] * 3), "2 inputs.*got 3"),
    "a layer by nothing": (ValueError, lambda: chain(Dense(2)).get_layer(), "get_layer: give a name or an index"),
    "a layer by both": (ValueError, lambda: chain(Dense(2)).get_layer("dense", 0), "get_layer: give a name or an index"),
    "a layer too far": (ValueError, lambda: chain(Dense(2)).get_layer(index=1), "index 1 is outside the 1 layers"),
    "a layer too far from behind": (ValueError, lambda: chain(Dense(2)).get_layer(index=-2), "index -2 is outside the 1 layers"),
    "nothing to take off": (ValueError, lambda: Sequential().pop(), "pop: the model has no layers"),
    "nothing to build": (ValueError, lambda: Sequential().build((None, 4)), r"the model has no layers; add\(\) some"),
    "nothing to compute": (ValueError, lambda: Sequential().predict(X, verbose=0), r"the model has no layers; add\(\) some"),
    "nothing to show": (ValueError, lambda: Sequential().summary(), r"the model has no layers; add\(\) some"),
    "nothing to save": (ValueError, lambda: Sequential().save("m.npz"), r"the model has no layers; add\(\) some"),
    "no shape to build for": (
        ValueError,
        lambda: Sequential([Dense(2)]).build(),
        "the input shape is not known; begin with Input",
    ),
    "a shape for which it was not built": (ValueError, lambda: chain(Dense(2)).build((None, 5)), "built for other inputs"),
    "compile with unknown arguments": (TypeError, lambda: compiled(optimiser="sgd"), "compile: unknown arguments optimiser"),
    "a loss per output that is one": (
        ValueError,
        lambda: two_in_two_out().compile("sgd", "mse", loss_weights=0.5),
        "loss_weights must have one entry for each of the outputs left, right, got 0.5",
    ),
    "lists of metrics for other outputs": (
        ValueError,
        lambda: two_in_two_out().compile("sgd", "mse", metrics=[["mae"], None, None]),
        r"3 lists of metrics for 2 outputs \(left, right\)",
    ),
    "nothing to train": (
        ValueError,
        lambda: frozen().fit(X, Y, verbose=0),
        "nothing to train: all layers with parameters are fr",
    ),
    "both kinds of validation": (
        ValueError,
        lambda: compiled().fit(X, Y, validation_split=0.5, validation_data=(X, Y), verbose=0),
        "give validation_split or validation_data, not both",
    ),
    "complex numbers": (TypeError, lambda: chain(Dense(2)).predict(X * 1j, verbose=0), "real numbers, got dtype complex"),
    "complex numbers for a layer": (TypeError, lambda: Dense(2)(X * 1j), "got complex numbers; give real ones"),
    "texts": (
        TypeError,
        lambda: chain(Dense(2)).predict(X.astype(str), verbose=0),
        "expected an array of real numbers, got dtype",
    ),
    "nothing along an axis": (
        ValueError,
        lambda: chain(Flatten(), Dense(2), shape=(None, 4)).predict(np.ones((2, 0, 4)), verbose=0),
        r"\(2, 0, 4\), which holds no numbers|known",
    ),
    "a masked array": (TypeError, lambda: compiled().fit(np.ma.masked_array(X, X > 2), Y, verbose=0), "masked array; fill it"),
    "a data set that gives nothing": (ValueError, lambda: compiled().fit(iter([]), verbose=0), "no batch|gave|ended"),
    "a data set whose batches are empty": (
        ValueError,
        lambda: compiled().fit(iter([(X[:0], Y[:0])]), verbose=0),
        "a batch is empty",
    ),
    "a batch size for a data set": (
        ValueError,
        lambda: compiled().fit(iter([(X, Y)]), batch_size=0, verbose=0),
        "batch_size must be a whole number of at least 1, got 0",
    ),
    "sample weights for other samples": (
        ValueError,
        lambda: compiled().evaluate(X, Y, sample_weight=np.ones(5), verbose=0),
        "sample",
    ),
    "targets of another shape": (ValueError, lambda: losses.get("mse")(np.ones((6, 3)), Y), r"targets.*\(6, 2\).*\(6, 3\)"),
    "weights of another shape": (
        ValueError,
        lambda: losses.get("mse").spread(np.ones(5), (6, 2)),
        r"sample_weight: expected shape \(6,\), got \(5,\); give one weight for each sample",
    ),
    "an axis of classes": (
        ValueError,
        lambda: losses.CategoricalCrossentropy(axis=(0, 1)),
        r"loss CategoricalCrossentropy: axis must be a whole number, got \(0, 1\)",
    ),
    "a metric that is none": (
        TypeError,
        lambda: metrics.get(3),
        "a metric must be a name, a function or a minitl.metrics.Metric",
    ),
    "F1 with other settings": (ValueError, lambda: metrics.F1Score(num_classes=3), "F1Score: num_classes is not known here"),
    "values as truth": (TypeError, lambda: bool(Input((3,))), "holds no numbers yet: it describes what a layer will give"),
    "values as arrays": (TypeError, lambda: np.asarray(Input((3,))), "holds no numbers yet"),
    "a kernel to draw": (
        ValueError,
        lambda: plot.filters(np.ones((3, 3, 4))),
        r"expected a kernel \(K_h, K_w, C, F\), got shape",
    ),
    "classes that are fractions": (ValueError, lambda: utils.to_categorical([0.5]), "class numbers must be whole"),
    "a file without an address": (ValueError, lambda: utils.get_file("a.txt"), "get_file: give origin=, the file's address"),
    "a batch of four": (ValueError, lambda: utils.unpack_x_y_sample_weight((1, 2, 3, 4)), "a batch is x, .* got 4 parts"),
    "a width of a kernel": (
        ValueError,
        lambda: conv2d.forward(np.ones((1, 4, 4, 3)), np.ones((2, 2, 4, 5)), None),
        "conv2d: kernel",
    ),
    "filters of a kernel": (
        ValueError,
        lambda: conv2d.forward(np.ones((1, 4, 4, 4)), np.ones((2, 2, 2, 5)), None, groups=2),
        r"conv2d: kernel must be \(K_h, K_w, 4 / 2, F\) for x \(1, 4, 4, 4\) in 2 groups, got \(2, 2, 2, 5\)",
    ),
    "axes of a kernel": (
        ValueError,
        lambda: conv2d.forward(np.ones((1, 4, 4, 3)), np.ones((2, 3, 5)), None),
        "conv2d: kernel must",
    ),
    "a transposed kernel": (
        ValueError,
        lambda: conv2d_transpose.forward(np.ones((1, 4, 4, 3)), np.ones((2, 2, 3, 5)), None),
        r"conv2d_transpose: kernel must be \(K_h, K_w, F, 3\)",
    ),
    "a transposed kernel and nothing left": (
        ValueError,
        lambda: conv2d_transpose.forward(np.ones((1, 1, 4, 3)), np.ones((2, 2, 2, 3)), None, (1, 1), "same", (0, 0)),
        r"nothing is left of x \(1, 1, 4, 3\) with padding 'same' and output_padding \(0, 0\)",
    ),
    "rows and a matrix": (ValueError, lambda: dense.forward(np.ones((2, 3)), np.ones((4, 5)), None), r"\(2, 3\) and \(4, 5\)"),
    "a vector and a matrix": (ValueError, lambda: dense.forward(np.ones(4), np.ones((4, 5)), None), r"\(4,\) and \(4, 5\)"),
    "a rate": (ValueError, lambda: dropout.forward(np.ones((2, 3)), 1.0, np.random.default_rng(0)), r"rate must be in \[0, 1\)"),
    "potentials": (ValueError, lambda: pair((1, 2, 3, 4), [[0, 1]], None), r"potentials must be \(N, T, K, K\)"),
    "labels below": (
        ValueError,
        lambda: pair((1, 2, 3, 3), [[0, -2]], None),
        "labels must be 0 .. 2, or -1 behind the end, got -2",
    ),
    "labels above": (ValueError, lambda: pair((1, 2, 3, 3), [[0, 3]], None), "labels must be 0 .. 2, .* got 0 .. 3"),
    "no labels": (ValueError, lambda: pair((1, 2, 3, 3), [[-1, -1]], None), "has no label, or one behind its end"),
    "labels behind a gap": (ValueError, lambda: pair((1, 3, 3, 3), [[0, -1, 1]], None), "has no label, or one behind its end"),
    "labels behind the end": (ValueError, lambda: pair((1, 2, 3, 3), [[-1, 1]], None), "has no label, or one behind its end"),
    "sums of gates": (
        ValueError,
        lambda: lstm.forward(np.ones((2, 3, 7)), np.ones((2, 8)), None),
        r"x must be \(N, T, 8\) for 2 units, got \(2, 3, 7\)",
    ),
    "an lstm without steps": (
        ValueError,
        lambda: lstm.forward(np.ones((2, 8)), np.ones((2, 8)), None),
        r"x must be \(N, T, 8\) for 2 units, got \(2, 8\)",
    ),
    "rows of different lengths": (
        ValueError,
        lambda: Sequential([Dense(2)]).predict([[1, 2, 3, 4], [3]], verbose=0),
        "expected rows of one length, got several lengths; make them equally long with pad_sequences",
    ),
    "rows of different lengths as a batch": (
        ValueError,
        lambda: Sequential([Input((4,)), Dense(2)]).predict_on_batch([[1, 2, 3, 4], [3]]),
        "expected rows of one length",
    ),
    "a loss that uses values of two outputs": (
        ValueError,
        lambda: uses_values(2),
        r"use model.add_loss\(\) instead",
    ),
    "a loss that uses values and gives a number": (
        ValueError,
        lambda: uses_values(1),
        "uses values of the network, but gives float",
    ),
    "an optimizer without a rule": (NotImplementedError, lambda: Rule().apply([("w", X, X)]), r"Rule must define update\(w, g"),
    "an initializer without one": (NotImplementedError, lambda: Start()((2, 3), None), "Start must define __call__"),
    "a constraint without one": (NotImplementedError, lambda: Limit()(X), r"Limit must define __call__\(w\)"),
    "a regularizer without one": (NotImplementedError, lambda: Penalty()(X), r"Penalty must define __call__\(w\)"),
    "a schedule without one": (NotImplementedError, lambda: Rates()(3), r"Rates must define __call__\(step\)"),
    "a data set without batches": (NotImplementedError, lambda: Batches()[0], "Batches must define __getitem__"),
    "a data set without a length": (NotImplementedError, lambda: len(Batches()), "Batches must define __len__"),
}


class Own(Model):
    def __init__(self):
        super().__init__()
        self.dense = Dense(2)

    def call(self, x):
        return self.dense(x)


class Rule(optimizers.Optimizer):
    pass


class Start(Initializer):
    pass


class Limit(constraints.Constraint):
    pass


class Penalty(regularizers.Regularizer):
    pass


class Rates(schedules.Schedule):
    pass


class Batches(utils.Sequence):
    pass


@pytest.mark.parametrize("name", MODELS)
def test_models_and_what_goes_with_them(name):
    kind, make, message = MODELS[name]
    with pytest.raises(kind, match=message):
        make()


@pytest.mark.parametrize("name", ["", "a/b", "/a", "a@b", "@a", "a\\b", "a\0", ".", "..", " a", 3, ("a",)])
def test_names_that_could_be_no_key_in_a_file(name):
    with pytest.raises(ValueError, match="a layer's name must not be empty nor contain"):
        Dense(2, name=name)


def test_whole_numbers_may_come_as_floats():
    np.testing.assert_array_equal(WORDS.predict(np.full((2, 3), 2.0), verbose=0), WORDS.predict(np.full((2, 3), 2), verbose=0))


def test_a_name_may_have_200_characters():
    assert Dense(2, name="n" * 200).name == "n" * 200
    with pytest.raises(ValueError, match="a layer's name may have 200 characters, got 201"):
        Dense(2, name="n" * 201)
