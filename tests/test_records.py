"""The parts of the fast recipe, each by its definition, and the whole network small."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import minitl
from minitl import initializers
from minitl.applications import pretrain
from minitl.applications.fast_cifar import RECIPES, Recipe, compile_fast, fast_batches, fast_cifar
from minitl.callbacks import Callback, FreezeOut, Lookahead, WeightAveraging
from minitl.datasets import glyphs
from minitl.layers import Activation, BatchNormalization, Conv2D, Dense, Flatten, Input, Rescaling
from minitl.models import Sequential, load_model
from minitl.optimizers import SGD, Adam
from minitl.preprocessing.image import predict_views, whitening_kernel
from minitl.schedules import PiecewiseLinear
from minitl.utils import set_random_seed


def small(seed=0):
    set_random_seed(seed)
    return Sequential([Input((3,)), Dense(4, activation="relu"), Dense(4, activation="relu"), Dense(2, activation="softmax")])


def data(samples=40):
    random = np.random.default_rng(1)
    return random.normal(size=(samples, 3)).astype(np.float32), random.integers(0, 2, samples)


class Remember(Callback):
    """Copies of the weights, after every step and after every epoch."""

    def __init__(self):
        self.steps, self.epochs, self.learning = [], [], []

    def on_train_batch_end(self, batch, logs=None):
        self.steps.append([w.copy() for w in self.model.get_weights()])
        self.learning.append([layer.trainable for layer in self.model.layers if layer.parameters])

    def on_epoch_end(self, epoch, logs=None):
        self.epochs.append([w.copy() for w in self.model.get_weights()])


def run(callbacks, epochs=3, model=None, optimizer=None):
    model = model or small()
    model.compile(optimizer or SGD(0.1), "sparse_categorical_crossentropy")
    model.fit(*data(), batch_size=8, epochs=epochs, shuffle=False, callbacks=callbacks, verbose=0)
    return model


def test_lookahead_is_its_formula():
    period, decay, power, epochs = 4, 0.7, 3.0, 3
    model = run([Lookahead(period, decay, power)], epochs)
    reference = small()
    slow = [w.copy() for w in reference.get_weights()]
    reference.compile(SGD(0.1), "sparse_categorical_crossentropy")
    x, y = data()
    for step in range(1, 5 * epochs + 1):
        first = (step - 1) % 5 * 8
        reference.train_on_batch(x[first : first + 8], y[first : first + 8])
        if step % period == 0:
            now = decay * (step / (5 * epochs)) ** power
            slow = [s + np.float32(1 - now) * (w - s) for s, w in zip(slow, reference.get_weights(), strict=True)]
            reference.set_weights(slow)
    for ours, expected in zip(model.get_weights(), slow, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-7)


def test_averaging_is_its_formula():
    for decay, start in ((0.8, 0), (None, 1)):
        seen = Remember()
        begin = [w.copy() for w in small().get_weights()]
        model = run([seen, WeightAveraging(decay, start)])
        if decay:
            mean = begin
            for weights in seen.steps:
                mean = [decay * m + (1 - decay) * w for m, w in zip(mean, weights, strict=True)]
        else:
            mean = [np.mean(w, axis=0) for w in zip(*seen.epochs[start:], strict=True)]
        for ours, expected in zip(model.get_weights(), mean, strict=True):
            np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def test_freeze_out_freezes_from_below():
    seen = Remember()
    run([FreezeOut(first=0.5, power=1.0), seen], epochs=4)
    # Layers of 3 are frozen after the shares 1/2, 3/4 and 1 of 4 epochs of 5 steps.
    frozen_from = [next((k for k, flags in enumerate(seen.learning) if not flags[layer]), None) for layer in range(3)]
    assert frozen_from == [10, 15, None]
    for layer, step in ((0, 10), (1, 15)):
        last = seen.steps[-1][2 * layer]
        np.testing.assert_array_equal(seen.steps[step - 1][2 * layer], last)
        assert (seen.steps[step - 2][2 * layer] != last).any()
    later = FreezeOut(first=0.4, power=3.0)
    later.model, later.params = small(), {"epochs": 10}
    np.testing.assert_allclose([at for _, at in later.times()], [4, 4 + 6 / 8, 10])
    seen = Remember()
    model = small()
    name = model.layers[1].name
    run([FreezeOut(layers={name: 0.4}), seen], epochs=1, model=model)
    assert [flags[1] for flags in seen.learning] == [True, True, False, False, False]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Lookahead(0), "period"),
        (lambda: Lookahead(decay=1.0), "decay"),
        (lambda: WeightAveraging(1.0), "decay"),
        (lambda: FreezeOut(0.0), "first"),
        (lambda: PiecewiseLinear([0, 0], [1, 2]), "rising steps"),
        (lambda: PiecewiseLinear([0, 5], [1]), "a rate for each"),
        (lambda: whitening_kernel(np.zeros((3, 1, 1, 3)), 2), "at least 2x2"),
        (lambda: predict_views(None, np.zeros((1, 4, 4, 1)), shift=-1), "negative"),
        (lambda: SGD(0.1, multipliers={"a": -1.0}), r"multipliers\[.a.\] must be a number in \[0, inf\)"),
    ],
)
def test_wrong_settings(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_triangle_of_rates():
    rate = PiecewiseLinear([10, 20, 40], [0.2, 1.0, 0.0])
    assert [rate(k) for k in (0, 10, 15, 20, 30, 40, 90)] == pytest.approx([0.2, 0.2, 0.6, 1.0, 0.5, 0.0, 0.0])


@given(st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.floats(0.5, 2))
@settings(max_examples=25, deadline=None)
def test_dirac_begins_as_the_identity(side, channels, filters, gain):
    kernel = initializers.Dirac(gain)((side, side, channels, filters), np.random.default_rng(0))
    x = np.random.default_rng(1).normal(size=(2, 7, 7, channels))
    from minitl.ops import conv2d

    y, _ = conv2d.forward(x, kernel.astype(float), None, (1, 1), "same")
    same = min(channels, filters)
    np.testing.assert_allclose(y[..., :same], gain * x[..., :same], rtol=1e-6, atol=1e-7)
    bound = 1 / np.sqrt(side * side * channels)
    assert np.abs(kernel[..., same:]).max(initial=0) <= bound


def test_torch_s_bounds():
    values = initializers.get("torch_uniform")((3, 3, 8, 500), np.random.default_rng(0))
    bound = 1 / np.sqrt(72)
    assert 0.99 * bound < np.abs(values).max() <= bound
    assert values.var() == pytest.approx(bound**2 / 3, rel=0.03)


def test_white_patches():
    images = np.random.default_rng(0).normal(size=(200, 9, 9, 3)).astype(np.float32)
    images = images + images[:, ::-1] + 0.5 * images[..., :1]
    kernel = whitening_kernel(images, 2, epsilon=0.0)
    assert kernel.shape == (2, 2, 3, 24) and kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel[..., :12], -kernel[..., 12:])
    layer = Conv2D(24, 2, use_bias=False)
    layer(images[:1])
    layer.set_weights([kernel])
    outputs = layer(images).reshape(-1, 24)[:, :12]
    np.testing.assert_allclose(np.cov(outputs, rowvar=False), np.eye(12), atol=2e-3)
    largest = np.linalg.norm(kernel[..., :12].reshape(12, 12), axis=0)
    assert (np.diff(largest) > 0).all()  # the largest variance stands first, and is divided by most


def test_views_are_means():
    class Model:
        def predict(self, x, batch_size, verbose):
            return x.reshape(len(x), -1).copy()

    x = np.arange(2 * 4 * 5, dtype=np.float32).reshape(2, 4, 5, 1)
    flat = lambda z: np.ascontiguousarray(z).reshape(2, -1)  # noqa: E731
    both = lambda z: (flat(z) + flat(z[:, :, ::-1])) / 2  # noqa: E731
    np.testing.assert_array_equal(predict_views(Model(), x, mirror=False), flat(x))
    np.testing.assert_array_equal(predict_views(Model(), x), both(x))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    expected = both(x) / 2 + both(padded[:, :4, :5]) / 4 + both(padded[:, 2:, 2:]) / 4
    np.testing.assert_allclose(predict_views(Model(), x, shift=1), expected, rtol=1e-6)


@pytest.mark.parametrize("make", [lambda **k: SGD(0.1, momentum=0.5, **k), lambda **k: Adam(0.1, **k)])
def test_rates_and_decay_by_parameter(make):
    def step(optimizer):
        model = small()
        model.compile(optimizer, "sparse_categorical_crossentropy")
        before = {path: w.copy() for path, w in named(model).items()}
        model.train_on_batch(*data())
        return {path: w - before[path] for path, w in named(model).items()}, before

    def named(model):
        return {f"{layer.name}/{key}": w for layer in model.layers for key, w in layer.parameters.items()}

    plain, before = step(make())
    changed, _ = step(make(multipliers={"*/bias": 3.0, "dense_1/kernel": 0.0}))
    for path, moved in plain.items():
        factor = 3.0 if path.endswith("bias") else 0.0 if path == "dense_1/kernel" else 1.0
        np.testing.assert_allclose(changed[path], factor * moved, rtol=1e-4, atol=1e-7)
    optimizer = make(weight_decay=0.2)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    decayed, _ = step(optimizer)
    for path, moved in plain.items():
        pulled = 0 if path.endswith("bias") else 0.1 * 0.2 * before[path]
        np.testing.assert_allclose(decayed[path], moved - pulled, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="give var_names"):
        make().exclude_from_weight_decay([before["dense/bias"]])


def test_gelu_behind_a_normalisation_is_fused_and_the_same(monkeypatch):
    def trained(backend):
        minitl.set_backend(backend)
        set_random_seed(0)
        model = Sequential(
            [Input((6, 6, 2)), Conv2D(4, 3), BatchNormalization(scale=False), Activation("gelu"), Flatten(), Dense(3)]
        )
        model.compile(SGD(0.1), "mse")
        x = np.random.default_rng(0).normal(size=(8, 6, 6, 2)).astype(np.float32)
        for _ in range(3):
            model.train_on_batch(x, np.ones((8, 3), np.float32))
        return model, model.predict(x, verbose=0)

    before = minitl.get_backend()
    try:
        model, engine = trained("numba")
        assert any(type(step).__name__ == "GeluNormalization" for step in model.new_run(keep=True).plan.steps)
        _, book = trained("numpy")
    finally:
        minitl.set_backend(before)
    np.testing.assert_allclose(engine, book, rtol=1e-4, atol=1e-5)


def test_the_whole_network_learns(tmp_path):
    (x, y), _ = glyphs.load_data("letters", 260, 26)
    x = (x.astype(np.float32) - 128) / 64
    targets = np.eye(26, dtype=np.float32)[y[:, 0]]
    set_random_seed(0)
    recipe = RECIPES["cifar10"]._replace(epochs=12, widths=(8, 16, 16), rate=6.0)
    model = fast_cifar(26, x, recipe)
    whitening = model.layers[0].get_weights()[0].copy()
    callbacks = compile_fast(model, 260, 26, recipe)
    history = model.fit(fast_batches(x, targets, 26, 0), epochs=12, callbacks=callbacks, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0] - 0.1
    np.testing.assert_array_equal(model.layers[0].get_weights()[0], whitening)  # its rate is 0
    assert model.layers[0].get_weights()[1].any()  # its bias learnt, and was frozen
    assert not model.layers[0].trainable
    model.save(tmp_path / "model.npz")
    again = load_model(tmp_path / "model.npz")
    np.testing.assert_array_equal(again.predict(x, verbose=0), model.predict(x, verbose=0))
    assert again.loss.label_smoothing == 0.2 and again.optimizer.multipliers == model.optimizer.multipliers


def test_a_recipe_is_what_network_and_loss_are_made_by():
    other = Recipe(2, (4, 8, 12), logits=0.5, smoothing=0.3, rate=0.7)
    for recipe in (*RECIPES.values(), other):
        model = fast_cifar(7, recipe=recipe)
        callbacks = compile_fast(model, 100, 20, recipe)
        widths = [layer.filters for layer in model.layers if isinstance(layer, Conv2D)]
        assert widths == [24, *(filters for filters in recipe.widths for _ in range(2))]
        assert next(layer for layer in model.layers if isinstance(layer, Rescaling)).scale == recipe.logits
        assert model.loss.label_smoothing == recipe.smoothing
        assert callbacks[1].layers == {"whitening": 0.3 * recipe.epochs}
        rate, last = model.optimizer.learning_rate, recipe.epochs * 5
        assert np.isclose(rate(last), 0.07 * recipe.rate * 20 / 1024) and rate(last - 1) > rate(last) == rate(last + 1)


def test_images_of_the_fast_recipe_are_whitened_channel_by_channel(monkeypatch):
    x = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3)).astype(np.uint8)
    y = np.arange(50)[:, None] % 10
    monkeypatch.setattr(pretrain.cifar10, "load_data", lambda: ((x, y), (x, y)))
    (taken, _), _, preprocessing = pretrain._data("cifar10", 0, 40)
    assert len(taken) == 40
    made = preprocessing(taken)
    np.testing.assert_allclose(made.mean(axis=(0, 1, 2)), 0, atol=1e-4)
    np.testing.assert_allclose(made.std(axis=(0, 1, 2)), 1, atol=1e-4)
