"""Constraints of every layer that takes them, against Keras's: trained, in files, and in layers that hold others."""

import numpy as np
import pytest

import minitl
from minitl.models import load_model

RANDOM = np.random.default_rng(0)
ROWS, STEPS, IMAGES, WORDS = (4,), (6, 3), (6, 6, 2), (5,)
LAYERS = {
    "Dense": (ROWS, lambda m, c: [m.layers.Dense(3, kernel_constraint=c, bias_constraint=c)]),
    "PReLU": (ROWS, lambda m, c: [m.layers.PReLU(alpha_constraint="non_neg")]),
    "BatchNormalization": (
        ROWS,
        lambda m, c: [
            m.layers.BatchNormalization(
                beta_constraint="non_neg", gamma_constraint=c, moving_mean_initializer="ones",
                moving_variance_initializer=m.initializers.Constant(2.0),
            )
        ],
    ),
    "LayerNormalization": (ROWS, lambda m, c: [m.layers.LayerNormalization(beta_constraint="non_neg", gamma_constraint=c)]),
    "GroupNormalization": (IMAGES, lambda m, c: [m.layers.GroupNormalization(2, beta_constraint="non_neg", gamma_constraint=c)]),
    "Embedding": (WORDS, lambda m, c: [m.layers.Embedding(7, 3, embeddings_constraint=c)]),
    "LSTM": (STEPS, lambda m, c: [m.layers.LSTM(4, kernel_constraint=c, recurrent_constraint=c, bias_constraint="non_neg")]),
    "GRU": (STEPS, lambda m, c: [m.layers.GRU(4, kernel_constraint=c, recurrent_constraint=c, bias_constraint="non_neg")]),
    "Bidirectional": (STEPS, lambda m, c: [m.layers.Bidirectional(m.layers.SimpleRNN(4, recurrent_constraint=c))]),
    "TimeDistributed": (STEPS, lambda m, c: [m.layers.TimeDistributed(m.layers.Dense(4, kernel_constraint=c))]),
    "EinsumDense": (STEPS, lambda m, c: [m.layers.EinsumDense("abc,cd->abd", (6, 4), bias_axes="d", kernel_constraint=c)]),
    "Conv1D": (STEPS, lambda m, c: [m.layers.Conv1D(3, 3, kernel_constraint=c)]),
    "DepthwiseConv1D": (STEPS, lambda m, c: [m.layers.DepthwiseConv1D(3, depth_multiplier=2, depthwise_constraint=c)]),
    "DepthwiseConv2D": (IMAGES, lambda m, c: [m.layers.DepthwiseConv2D(3, depthwise_constraint=c, bias_constraint="non_neg")]),
    "SeparableConv1D": (STEPS, lambda m, c: [m.layers.SeparableConv1D(3, 3, depthwise_constraint=c, pointwise_constraint=c)]),
    "SeparableConv2D": (IMAGES, lambda m, c: [m.layers.SeparableConv2D(3, 3, depthwise_constraint=c, pointwise_constraint=c)]),
    "Conv2DTranspose": (IMAGES, lambda m, c: [m.layers.Conv2DTranspose(3, 3, kernel_constraint=c)]),
}  # fmt: skip


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch")
    return pytest.importorskip("keras")


def network(package, name, constraint):
    shape, made = LAYERS[name]
    first = package.Input(shape, dtype="int32" if name == "Embedding" else "float32")
    return package.Sequential([first, *made(package, constraint(package)), package.layers.Flatten(), package.layers.Dense(1)])


@pytest.mark.parametrize("constraint", [lambda m: m.constraints.MaxNorm(0.05), lambda m: m.constraints.NonNeg()], ids="mn")
@pytest.mark.parametrize("name", LAYERS)
def test_layers_are_constrained_as_in_keras_also_in_files(keras, tmp_path, name, constraint):
    theirs, ours = network(keras, name, constraint), network(minitl, name, constraint)
    theirs.compile(keras.optimizers.SGD(0.05), "mse")
    theirs.save(tmp_path / "theirs.keras")
    models = [load_model(tmp_path / "theirs.keras")]
    ours.set_weights(models[0].get_weights())
    ours.compile(minitl.optimizers.SGD(0.05), "mse")
    for file in ("ours.keras", "ours.npz"):
        ours.save(tmp_path / file)
    models += [ours, load_model(tmp_path / "ours.npz"), keras.saving.load_model(tmp_path / "ours.keras")]
    shape = (8, *LAYERS[name][0])
    x = RANDOM.integers(0, 7, shape) if name == "Embedding" else RANDOM.normal(size=shape).astype(np.float32)
    y = RANDOM.normal(size=(8, 1)).astype(np.float32)
    before = theirs.get_weights()
    for model in (theirs, *models):
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    for model in models:
        np.testing.assert_allclose(model.predict(x, verbose=0), theirs.predict(x, verbose=0), rtol=1e-4, atol=2e-5)
    free = network(minitl, name, lambda package: None)
    free.compile(minitl.optimizers.SGD(0.05), "mse")
    free.set_weights(ours.get_weights() if name == "PReLU" else before)
    free.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    changed = any(not np.allclose(a, b, atol=1e-4) for a, b in zip(free.get_weights(), ours.get_weights(), strict=True))
    assert changed or name in ("PReLU", "BatchNormalization", "LayerNormalization", "GroupNormalization")  # these stay positive


def test_all_projections_of_an_attention_are_constrained(keras, tmp_path):
    def attention(package):
        x = package.Input((5, 4))
        y = package.layers.MultiHeadAttention(2, 3, kernel_constraint=package.constraints.MaxNorm(0.1))(x, x)
        return package.Model(x, package.layers.Dense(1)(package.layers.Flatten()(y)))

    theirs = attention(keras)
    theirs.compile(keras.optimizers.SGD(0.05), "mse")
    theirs.save(tmp_path / "m.keras")
    ours = load_model(tmp_path / "m.keras")
    x, y = RANDOM.normal(size=(8, 5, 4)).astype(np.float32), RANDOM.normal(size=(8, 1)).astype(np.float32)
    for model in (theirs, ours):
        model.fit(x, y, batch_size=4, epochs=2, shuffle=False, verbose=0)
    np.testing.assert_allclose(ours.predict(x), theirs.predict(x, verbose=0), rtol=1e-4, atol=1e-5)
    layer = ours.layers[1]
    assert sorted(layer.constraints) == ["attention_output_kernel", "key_kernel", "query_kernel", "value_kernel"]


def test_a_layer_refuses_a_constraint_of_a_weight_that_it_does_not_have():
    with pytest.raises(ValueError, match="Embedding: kernel_constraint='max_norm' is not known here"):
        minitl.layers.Embedding(3, 2, kernel_constraint="max_norm")
    with pytest.raises(TypeError, match="unexpected keyword argument 'kernal_constraint'"):
        minitl.layers.EinsumDense("ab,bc->ac", 2, kernal_constraint="max_norm")
