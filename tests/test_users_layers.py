"""Layers of one's own in training: what their backward must leave and return, each mistake by one error; and short forms."""

import numpy as np
import pytest

from minitl import layers
from minitl.backend import use_backend
from minitl.layers import Dense, Input, Lambda, Layer
from minitl.losses import BinaryCrossentropy, CategoricalCrossentropy
from minitl.models import Model, Sequential
from minitl.optimizers import SGD

RNG = np.random.default_rng(0)
X, Y = RNG.normal(size=(6, 4)).astype("float32"), RNG.normal(size=(6, 4)).astype("float32")


class Scaled(Layer):
    """y = w x, and right; those below change one thing each."""

    def build(self, input_shape):
        self.w = self.add_weight("w", input_shape[-1:], "ones")

    def forward(self, x, training):
        self.x = x
        return x * self.w

    def backward(self, dy):
        self.gradients["w"] = (dy * self.x).sum(axis=0)
        return dy * self.w


class Forgets(Scaled):
    def backward(self, dy):
        return dy * self.w


class NotSummed(Scaled):
    def backward(self, dy):
        self.gradients["w"] = dy * self.x
        return dy * self.w


class ReturnsNothing(Scaled):
    def backward(self, dy):
        super().backward(dy)


class OtherShape(Scaled):
    def backward(self, dy):
        return super().backward(dy)[:, :2]


class Holds(Layer):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.inner = Dense(4, name="inner")

    def forward(self, x, training):
        return self.inner.forward(x, training)

    def backward(self, dy):
        return self.inner.backward(dy)


class DoesNotReach(Holds):
    def backward(self, dy):
        return dy


def trained(layer, below=True):
    model = Sequential([Input((4,)), *([Dense(4)] if below else []), layer])
    model.compile(SGD(0.1), "mse")
    model.train_on_batch(X, Y)
    return model


@pytest.mark.parametrize(
    ("layer", "kind", "message"),
    [
        (Forgets, ValueError, r"Forgets.*backward\(\) left no gradient; set self.gradients\['w'\] in it"),
        (NotSummed, ValueError, r"gradient of 'w': expected shape \(4,\), got \(6, 4\); sum over the axes along which"),
        (ReturnsNothing, TypeError, r"backward\(\) returned NoneType; it must return dx"),
        (OtherShape, ValueError, r"dx: expected shape \(None, 4\), got \(6, 2\); return dx in the shape of x"),
        (DoesNotReach, ValueError, r"its backward\(\) did not reach .*inner.* inside it; call backward\(dy\) of every layer"),
    ],
)
def test_mistakes_of_a_backward_pass(layer, kind, message):
    with pytest.raises(kind, match=message):
        trained(layer())


def test_what_is_not_needed_need_not_be_right():
    trained(ReturnsNothing(), below=False)  # nothing below learns
    layer = Forgets()
    layer.trainable = False
    trained(layer)
    inner = DoesNotReach()
    inner.inner.trainable = False
    trained(inner)


@pytest.mark.parametrize("make", [Scaled, Holds])
def test_a_right_layer_learns_by_its_gradient(make):
    layer = make()
    model = Sequential([Input((4,)), layer])
    model.compile(SGD(0.1), "mse")
    before = [w.copy() for w in model.get_weights()]
    error = 2 * (model.predict(X, verbose=0) - Y) / Y.size
    model.train_on_batch(X, Y)
    gradients = [(error * X).sum(axis=0)] if make is Scaled else [X.T @ error, error.sum(axis=0)]
    for w, old, gradient in zip(model.get_weights(), before, gradients, strict=True):
        np.testing.assert_allclose(w, old - 0.1 * gradient, rtol=1e-4, atol=1e-6)


class GivesAList(Layer):
    def forward(self, x, training):
        return "no array"

    def backward(self, dy):
        return dy


class GrowsAxes(GivesAList):
    def forward(self, x, training):
        return x.reshape(len(x), *[1] * (x.shape[1] % 3), x.shape[1])


def test_what_a_forward_pass_must_give():
    with pytest.raises(TypeError, match=r"forward\(\) must return an array, got str"):
        GivesAList()(Input((4,)))
    with pytest.raises(ValueError, match=r"it gave \d axes for one length and \d for another"):
        GrowsAxes()(Input((None,)))


def test_a_gradient_that_a_lambda_is_given():
    inputs = Input((4,))
    model = Model(inputs, Lambda(lambda x: x**2, gradient=lambda x, dy: (2 * x * dy)[:, :2])(Dense(4)(inputs)))
    model.compile(SGD(0.1), "mse")
    with pytest.raises(ValueError, match=r"gradient\(x, dy\) has shape \(6, 2\); it must have x's, \(6, 4\)"):
        model.train_on_batch(X, Y)


SHORT = {
    "add": (lambda a, b: a + b, {}),
    "subtract": (lambda a, b: a - b, {}),
    "multiply": (lambda a, b: a * b, {}),
    "average": (lambda a, b: (a + b) / 2, {}),
    "maximum": (np.maximum, {}),
    "minimum": (np.minimum, {}),
    "concatenate": (lambda a, b: np.concatenate([a, b], axis=-1), {}),
    "dot": (lambda a, b: (a * b).sum(axis=1, keepdims=True), {"axes": 1}),
}


@pytest.mark.parametrize("name", SHORT)
def test_short_forms_of_merging_layers(name):
    function, settings = SHORT[name]
    a, b = Input((4,)), Input((4,))
    value = getattr(layers, name)([a, b], name="merged", **settings)
    assert value.node.layer.name == "merged"
    np.testing.assert_allclose(Model([a, b], value)([X, Y]), function(X, Y), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(getattr(layers, name)([X, Y], **settings), function(X, Y), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize(("name", "first"), [("Maximum", [3, 2, 5]), ("Minimum", [1, 2, -5])])
def test_at_a_tie_the_first_value_has_the_gradient(backend, name, first):
    a, b, c = (np.array([row], np.float32) for row in (first, [2, 2, 0], [2, 2, 0]))
    with use_backend(backend):
        layer = getattr(layers, name)()
        y = layer.forward([b, a, c], True)
        np.testing.assert_array_equal(y, a)
        found = layer.backward(np.ones_like(y))
        np.testing.assert_array_equal(np.concatenate(found), [[0, 1, 0], [1, 0, 1], [0, 0, 0]])
        layer = getattr(layers, name)()
        layer.forward([b, c], True)
        np.testing.assert_array_equal(np.concatenate(layer.backward(np.ones_like(y))), [[1, 1, 1], [0, 0, 0]])


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_slopes_at_the_threshold_are_those_below_zero_and_above_elsewhere(backend):
    """As in Keras: at 0 a leaky ReLU has its slope, at a threshold above 0 it has 1."""
    x = np.array([-1, 0, 1, 2], np.float32)
    with use_backend(backend):
        for settings, expected in (
            ({"negative_slope": 0.5}, [0.5, 0.5, 1, 1]),
            ({"negative_slope": 0.5, "threshold": 1.0}, [0.5, 0.5, 1, 1]),
            ({"negative_slope": 0.5, "max_value": 2.0}, [0.5, 0.5, 1, 0]),
        ):
            layer = layers.ReLU(**settings)
            y = layer.forward(x[None], True)
            np.testing.assert_array_equal(layer.backward(np.ones_like(y))[0], expected)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_large_logits_of_every_step(backend):
    logits = np.zeros((2, 3, 4), np.float32)
    logits[:, :, 1] = [[1000, -1000, 0], [5, 1000, -1000]]
    y = np.eye(4, dtype=np.float32)[[[1, 0, 2], [1, 1, 3]]]
    with use_backend(backend):
        loss = CategoricalCrossentropy(from_logits=True, reduction=None)(y, logits)
    expected = [[0, np.log(3), np.log(4)], [np.log(1 + 3 * np.exp(-5)), 0, np.log(3)]]
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


def test_nearest_pixels_are_pixels_that_were_there():
    images = np.random.default_rng(0).integers(0, 2, (4, 16, 16, 1)).astype(np.float32) * 100
    for interpolation, mixes in (("nearest", False), ("bilinear", True)):
        layer = layers.RandomRotation(0.1, interpolation=interpolation)
        layer(images)
        turned = layer.forward(images, True)
        assert (set(np.unique(turned)) - {0.0, 100.0} != set()) == mixes
        assert not np.array_equal(turned, images)


@pytest.mark.parametrize("name", ["", "a/b", "/a", "a@b", "@a", "a\\b", "a\0", ".", "..", " a", 3, ("a",)])
def test_names_that_could_be_no_key_in_a_file(name):
    with pytest.raises(ValueError, match="a layer's name must not be empty nor contain"):
        Dense(2, name=name)


def test_a_name_may_have_200_characters():
    assert Dense(2, name="n" * 200).name == "n" * 200
    with pytest.raises(ValueError, match="a layer's name may have 200 characters, got 201"):
        Dense(2, name="n" * 201)


@pytest.mark.parametrize(("factor", "low", "high"), [(0.1, -36, 36), ((0.05, 0.25), 18, 90), ((-0.5, -0.25), -180, -90)])
def test_rotations_are_shares_of_a_full_turn(factor, low, high):
    layer = layers.RandomRotation(factor)
    layer(np.zeros((1, 8, 8, 1), np.float32))
    angles = layer.parameters_of(1000, 8, 8)["theta"]
    assert low <= angles.min() < low + 0.05 * (high - low) and high - 0.05 * (high - low) < angles.max() <= high


def test_a_quarter_turn_is_against_the_clock():
    images = np.random.default_rng(0).normal(size=(2, 9, 9, 1)).astype(np.float32)
    turned = layers.RandomRotation((0.25, 0.25), interpolation="nearest").forward(images, True)
    np.testing.assert_array_equal(turned, np.rot90(images, axes=(1, 2)))


def test_weights_of_another_shape_are_refused_all_together():
    model = Sequential([Input((4,)), Dense(3, name="first"), Dense(3, name="second")])
    before = [w.copy() for w in model.get_weights()]
    for position, shape in ((0, (3,)), (2, (1, 3)), (3, (1,)), (3, ())):
        given = [np.full_like(w, 7) for w in before]
        given[position] = np.ones(shape, np.float32)  # it could be stretched to the weight's shape
        with pytest.raises(ValueError, match=f"weight {position}: expected shape .*load weights of the same network"):
            model.set_weights(given)
        for w, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(w, old)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_where_the_logarithm_is_cut_off_the_gradient_is_zero(backend):
    p, y = np.array([[1e-9, 0.5, 1 - 1e-9, 1e-9]]), np.array([[1.0, 1.0, 0.0, 0.0]])
    with use_backend(backend):
        loss = BinaryCrossentropy()
        value = loss.forward(y, p, None, False)
        found = loss.backward()
    expected = [-np.log(1e-7), np.log(2), -np.log(1e-7), 0]
    assert value == pytest.approx(np.mean(expected), rel=1e-6)
    np.testing.assert_allclose(found, [[0, -2 / 4, 0, 1 / 4]], rtol=1e-6)
