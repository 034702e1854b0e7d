"""Frozen means bitwise frozen, whatever the optimizer; and it takes effect at once."""

import numpy as np
import pytest
from rows import TARGETS

from minitl import set_random_seed
from minitl.backend import use_backend
from minitl.layers import (
    BatchNormalization,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePooling1D,
    Input,
    MaxPooling2D,
)
from minitl.models import Model, Sequential
from minitl.objective import forward_loss, trained_layers
from minitl.optimizers import SGD, Adam, AdamW, RMSprop
from minitl.transfer import freeze, replace_head, unfreeze

X = np.random.default_rng(0).standard_normal((24, 10, 10, 2)).astype(np.float32)
Y = np.arange(24) % 3
OPTIMIZERS = {
    "SGD": lambda: SGD(0.05, momentum=0.9, nesterov=True, weight_decay=0.1),
    "Adam": lambda: Adam(0.01),
    "AdamW": lambda: AdamW(0.01, weight_decay=0.1),
    "RMSprop": lambda: RMSprop(0.01, momentum=0.5, weight_decay=0.1),
}


def network(**kwargs):
    return Sequential(
        [
            Input((10, 10, 2)),
            Conv2D(4, 3, activation="relu", **kwargs),
            BatchNormalization(),
            MaxPooling2D(),
            Conv2D(5, 2, activation="relu"),
            BatchNormalization(),
            Flatten(),
            Dropout(0.2),
            Dense(6, activation="tanh"),
            Dense(3, activation="softmax"),
        ]
    )


def snapshot(model, frozen=None):
    leaves = [(path, leaf) for path, leaf in model.named_layers() if frozen is None or leaf.trainable != frozen]
    return {f"{path} {i}": w.tobytes() for path, leaf in leaves for i, w in enumerate(leaf.weights)}


def moved(before, after):
    return {name for name in before if before[name] != after[name]}


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_frozen_layers_do_not_move(optimizer, backend):
    model = network(kernel_regularizer="l2")
    model.compile(OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy")
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)  # fills the optimizer's memory, so that momentum could push on
    freeze(model, ["conv2d", "batch_norm*", "dense"])
    before, frozen = snapshot(model), snapshot(model, frozen=True)
    assert len(frozen) == 2 + 4 + 4 + 2
    model.fit(X, Y, batch_size=8, epochs=2, verbose=0)
    after = snapshot(model)
    assert not moved(before, after) & set(frozen)
    assert moved(before, after) == {"conv2d_1 0", "conv2d_1 1", "dense_1 0", "dense_1 1"}  # through a frozen middle


def backward_pass(model):
    """The run of a training step's forward and backward pass."""
    found = forward_loss(model, trained_layers(model), X, Y, None, training=True, keep=True)
    found.run.backward(found.output_gradients())
    return found.run


@pytest.mark.parametrize("optimizer", sorted(OPTIMIZERS))
def test_unfreezing_takes_effect_on_the_next_batch(optimizer):
    model = network()
    model.compile(OPTIMIZERS[optimizer](), "sparse_categorical_crossentropy")
    freeze(model, "conv2d")
    kernel = model.get_layer("conv2d").parameters["kernel"]
    before = kernel.copy()
    model.train_on_batch(X, Y)
    np.testing.assert_array_equal(kernel, before)
    model.get_layer("conv2d").trainable = True
    model.train_on_batch(X, Y)
    assert (kernel != before).any()
    model.get_layer("conv2d").trainable = False
    before = kernel.copy()
    model.train_on_batch(X, Y)
    np.testing.assert_array_equal(kernel, before)


def test_freezing_between_batches_of_one_fit():
    from minitl.callbacks import LambdaCallback

    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    kernels = []

    def watch(batch, logs):
        kernels.append(model.layers[0].parameters["kernel"].copy())
        model.layers[0].trainable = batch != 0

    model.fit(X, Y, batch_size=8, verbose=0, callbacks=[LambdaCallback(on_train_batch_end=watch)])
    assert (kernels[0] == kernels[1]).all()
    assert (kernels[1] != kernels[2]).any()


def test_a_frozen_middle_layer_passes_the_same_gradient():
    """The gradients below a frozen layer are those that it would pass when trainable (without batch statistics)."""
    model = Sequential([Input((10, 10, 2)), Conv2D(3, 3), Conv2D(4, 3, activation="relu"), Flatten(), Dense(3, "softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    gradients = []
    for trainable in (True, False):
        model.layers[1].trainable = trainable
        weights = model.get_weights()
        gradients.append(backward_pass(model).gradients[model.layers[0]]["kernel"].copy())
        model.train_on_batch(X, Y)
        model.set_weights(weights)
    np.testing.assert_array_equal(*gradients)


def test_backward_stops_at_the_lowest_trainable_layer_and_nothing_is_kept_below(monkeypatch):
    called = []

    def watch(step):
        backward = step.backward

        def watched(dy, cache, need):
            called.append((step.layers[0].name, need.dx))
            return backward(dy, cache, need)

        monkeypatch.setattr(step, "backward", watched)

    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.train_on_batch(X, Y)
    freeze(model)
    unfreeze(model, "dense*")
    for step in model.new_run(keep=True, joint=(0,), training=True, added_losses=True).plan.steps:
        watch(step)
    run = backward_pass(model)
    assert called == [("dense_1", True), ("dense", False)]
    kept = [cache is not None for cache in run.caches]
    assert kept == [step.layers[0].name.startswith("dense") for step in run.plan.steps] and any(kept)
    assert {layer.name for layer in run.gradients} == {"dense", "dense_1"}
    assert not any(isinstance(value, np.ndarray) for layer in model.layers for value in vars(layer).values())


@pytest.mark.parametrize("fuse", [True, False])
def test_the_lowest_trainable_layer_computes_no_dx(monkeypatch, fuse):
    from minitl.kernels import conv2d, dense, fused

    asked = []
    for module in (conv2d, dense, fused):

        def backward(dy, cache, need_dx=True, need_dparameters=True, original=module.backward, name=module.__name__):
            asked.append((name.rsplit(".", 1)[1], need_dx, need_dparameters))
            return original(dy, cache, need_dx, need_dparameters)

        monkeypatch.setattr(module, "backward", backward)
    model = network()
    model.fuse = fuse
    model.compile("adam", "sparse_categorical_crossentropy")
    freeze(model, ["conv2d", "batch_normalization", "dense"])
    with use_backend("numba"):
        model.train_on_batch(X, Y)
    assert ("dense", True, True) in asked  # the head
    assert ("dense", True, False) in asked  # frozen in the middle: dx only
    assert asked[-1] == ("fused" if fuse else "conv2d", False, True)  # the lowest: no dx


def test_frozen_batch_norm_uses_the_moving_statistics(backend):
    layer = BatchNormalization()
    x = np.random.default_rng(0).standard_normal((20, 3)).astype(np.float32) * 3 + 1
    layer(x, training=True)
    layer.trainable = False
    np.testing.assert_array_equal(layer(x, training=True), layer(x, training=False))


def test_containers_freeze_as_a_whole_and_in_parts():
    base = network()
    model = Sequential([base, Dense(4, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    base.trainable = False
    before = snapshot(base)
    model.fit(X, Y, epochs=1, verbose=0)
    assert not moved(before, snapshot(base))
    assert [cache is not None for cache in backward_pass(model).caches] == [False, True]  # nothing is kept in front of the head
    base.get_layer("dense_1").trainable = True
    model.fit(X, Y, epochs=1, verbose=0)
    assert moved(before, snapshot(base)) == {"dense_1 0", "dense_1 1"}
    assert "sequential/conv2d" in dict(model.named_layers())
    assert freeze(model, "sequential/dense*") == ["sequential/dense", "sequential/dense_1"]


def test_everything_frozen_is_an_error():
    model = network()
    model.compile("adam", "sparse_categorical_crossentropy")
    model.trainable = False
    with pytest.raises(ValueError, match="nothing to train: all layers"):
        model.fit(X, Y, verbose=0)


def test_a_pattern_that_matches_nothing_lists_the_names():
    with pytest.raises(ValueError, match="'conv2d'"):
        freeze(network(), "konv2d")


def test_a_new_head_keeps_the_base():
    base = network()
    model = replace_head(base, Dense(7, activation="softmax"), copy=False)
    assert model.output_shape == (None, 7)
    assert model.layers[0] is base.layers[0]
    assert [layer.name for layer in model.layers] == [layer.name for layer in base.layers]
    assert base.output_shape == (None, 3)
    with pytest.raises(ValueError, match="at least one must stay"):
        replace_head(base, Dense(7), remove=9)


def test_summary_shows_what_is_frozen():
    model = network()
    freeze(model, "conv*")
    lines = []
    model.summary(print_fn=lines.append)
    text = "\n".join(lines)
    assert text.count("frozen") == 2
    total, trained = model.count_params(), sum(w.size for w in model.trainable_weights)
    assert f"total {total:,}: trainable {trained:,}, not trainable {total - trained:,}" in text


def gan(frozen_before=False):
    """The two halves as programs make them: the discriminator is compiled, then frozen inside the whole."""
    discriminator = Sequential([Input((6,)), Dense(5, activation="tanh"), Dense(1, activation="sigmoid")])
    discriminator.trainable = not frozen_before
    discriminator.compile("sgd", "binary_crossentropy")
    generator = Sequential([Input((3,)), Dense(6)])
    noise = Input((3,))
    discriminator.trainable = False
    whole = Model(noise, discriminator(generator(noise)))
    whole.compile("sgd", "binary_crossentropy")
    return discriminator, generator, whole


def changed(model, step):
    before = [w.copy() for w in model.get_weights()]
    step()
    return [bool((a != b).any()) for a, b in zip(before, model.get_weights(), strict=True)]


def test_a_discriminator_that_was_frozen_inside_another_model_trains_as_it_was_compiled(backend):
    discriminator, generator, whole = gan()
    noise, x, y = np.ones((4, 3)), np.random.default_rng(0).normal(size=(4, 6)), np.array([1, 0, 1, 0])
    for _ in range(2):
        assert all(changed(discriminator, lambda: discriminator.train_on_batch(x, y)))
        assert not any(changed(discriminator, lambda: whole.train_on_batch(noise, y)))
        assert all(changed(generator, lambda: whole.train_on_batch(noise, y)))
    assert not discriminator.trainable and not any(layer.trainable for layer in discriminator.layers)
    assert all(changed(discriminator, lambda: discriminator.fit(x, y, epochs=1, verbose=0)))
    # Its steps are those of one that was never frozen.
    free = Sequential([Input((6,)), Dense(5, activation="tanh"), Dense(1, activation="sigmoid")])
    free.set_weights(discriminator.get_weights())
    free.compile("sgd", "binary_crossentropy")
    assert free.train_on_batch(x, y) == discriminator.train_on_batch(x, y)
    for a, b in zip(free.get_weights(), discriminator.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_model_that_was_frozen_otherwise_is_refused():
    x, y = np.ones((4, 6)), np.ones((4, 1))
    discriminator, _, _ = gan(frozen_before=True)
    with pytest.raises(ValueError, match="nothing to train"):
        discriminator.train_on_batch(x, y)
    alone = Sequential([Input((6,)), Dense(1)])
    alone.compile("sgd", "mse")
    alone.trainable = False
    with pytest.raises(ValueError, match="nothing to train"):
        alone.fit(x, y, verbose=0)
    discriminator, _, _ = gan()
    discriminator.layers[-1].trainable = True  # a part of it is free: then flags say what learns
    assert changed(discriminator, lambda: discriminator.train_on_batch(x, y)) == [False, False, True, True]


def test_a_table_of_words_that_is_fixed_has_no_gradient():
    set_random_seed(0)
    model = Sequential([Input((3,), dtype="int64"), Embedding(5, 4, trainable=False), GlobalAveragePooling1D(), Dense(2)])
    model.compile(SGD(0.5), "mse")
    before = model.layers[0].get_weights()[0].copy()
    model.fit(np.array([[0, 1, 2], [3, 4, 0]]), TARGETS[:2], verbose=0)
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], before)
