"""Layers of one's own in training: what their backward must leave and return, each mistake by one error."""

import copy

import numpy as np
import pytest
from rows import ROWS

from minitl import backend, set_random_seed
from minitl.gradcheck import check_gradients
from minitl.interop.torch_files import read_torch, write_torch
from minitl.layers import Dense, Input, Lambda, Layer, Multiply
from minitl.models import Model, Sequential, load_model
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


class OtherName(Dense):
    """Computes as a Dense layer."""


class OtherForward(Dense):
    def forward(self, x, training):
        return 0.5 * super().forward(x, training)

    def backward(self, dy):
        return super().backward(0.5 * dy)


class OtherWay(Dense):
    def compute(self, x, training):
        y, cache = super().compute(x, training)
        return 0.5 * y, cache


def test_the_activation_of_an_output_is_known_where_a_layer_computes_as_ours():
    named = [kind(3, activation="softmax").output_activation for kind in (Dense, OtherName, OtherForward, OtherWay)]
    assert named == ["softmax", "softmax", None, None]
    y = 0.25 * np.ones((12, 2), np.float32)
    for kind in (OtherForward, OtherWay):
        set_random_seed(0)
        model = Sequential([Input((4,)), kind(2, activation="sigmoid")])
        model.compile(SGD(0.1), "binary_crossentropy")
        p = np.clip(model.predict(ROWS, verbose=0), 1e-7, 1 - 1e-7)
        assert model.evaluate(ROWS, y, verbose=0) == pytest.approx(-(y * np.log(p) + (1 - y) * np.log(1 - p)).mean(), rel=1e-4)


class Nested(Layer):
    """Holds layers in lists within lists and dictionaries."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.ways = [[Dense(4)], {"a": Dense(4), "b": (Dense(4),)}]

    def call(self, x):
        (first,), others = self.ways
        return first(x) + others["a"](x) * others["b"][0](x)


def test_layers_in_lists_within_lists_are_found_trained_and_saved(tmp_path):
    model = trained(Nested())
    assert [path for path, _ in model.named_layers()] == [
        "dense", "nested", "nested/ways_0_0", "nested/ways_1_a", "nested/ways_1_b_0",
    ]  # fmt: skip
    before = model.get_weights()
    assert len(before) == 8 and model.count_params() == 80
    model.train_on_batch(X, Y)
    assert all(np.any(a != b) for a, b in zip(before, model.get_weights(), strict=True))
    model.save(tmp_path / "nested.npz")
    again = load_model(tmp_path / "nested.npz", custom_objects={"Nested": Nested})
    np.testing.assert_array_equal(again.predict(X, verbose=0), model.predict(X, verbose=0))


def test_what_stands_above_a_gradient_learns_and_what_stands_below_may_not():
    inputs = Input((4,))
    loss = np.sum(np.square(Dense(3, activation="tanh", trainable=False)(inputs)))
    (slope,) = backend.gradients(loss, [inputs])
    model = Model(inputs, Dense(4)(slope))
    model.compile(SGD(0.05), "mse")
    before = model.evaluate(X, Y, verbose=0)
    model.fit(X, Y, epochs=5, verbose=0)
    assert model.evaluate(X, Y, verbose=0) < before
    h = Dense(4)(inputs)
    (slope,) = backend.gradients(np.sum(np.square(np.tanh(h))), [h])
    model = Model(inputs, slope)
    model.compile(SGD(0.05), "mse")
    with pytest.raises(NotImplementedError, match="a gradient is not differentiated again; nothing below it may learn"):
        model.train_on_batch(X, Y)


class OwnWeight(Model):
    def __init__(self):
        super().__init__()
        self.factor = self.add_weight(name="factor", shape=(4,))

    def call(self, x):
        return x * self.factor


def test_a_weight_of_a_model_is_refused_since_nothing_would_train_or_save_it():
    with pytest.raises(TypeError, match="a model has no weights of its own here; make a Layer that has the weight and uses it"):
        OwnWeight()


class TwoModels(Layer):
    """Holds two models whose layers have one name, and a layer that has it, too."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.a, self.b = Sequential([Dense(4)]), Sequential([Dense(4, activation="tanh")])
        self.dense = Dense(4)

    def call(self, x):
        return self.dense(self.b(self.a(x)))


@pytest.mark.parametrize("ending", ["npz", "safetensors", "weights.h5"])
def test_layers_of_models_in_a_layer_have_paths_of_their_own(ending, tmp_path):
    if ending != "npz":
        pytest.importorskip("h5py" if ending == "weights.h5" else "safetensors")
    model, other = trained(TwoModels()), trained(TwoModels())
    paths = [path for path, _ in model.named_layers()]
    assert paths == ["dense", "two_models", "two_models/a/dense", "two_models/b/dense", "two_models/dense"]
    model.save_weights(tmp_path / f"m.{ending}")
    assert np.abs(other.predict(X, verbose=0) - model.predict(X, verbose=0)).max() > 0.01
    other.load_weights(tmp_path / f"m.{ending}")
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))


def test_a_single_model_in_a_layer_keeps_the_paths_that_files_have():
    class OneModel(Layer):
        def __init__(self):
            super().__init__()
            self.a = self.again = Sequential([Dense(4), Dense(4)])

        def call(self, x):
            return self.a(x)

    model = trained(OneModel(), below=False)  # held twice, and trained once
    assert len(model.layers[-1].weights) == len(model.get_weights()) == 4
    assert [path for path, _ in model.named_layers()] == [
        "one_model", "one_model/dense", "one_model/dense_1",
    ]  # fmt: skip


class OneFactor(Layer):
    def build(self, input_shape):
        self.factor = self.add_weight(name="factor", shape=())

    def call(self, x):
        return x * self.factor


def test_a_weight_without_axes_learns_and_goes_through_safetensors_and_pytorch_s_files(tmp_path):
    pytest.importorskip("safetensors")
    model, other = trained(OneFactor()), trained(OneFactor())
    before = model.layers[-1].factor.copy()
    model.train_on_batch(X, Y)
    assert model.layers[-1].factor != before
    model.save_weights(tmp_path / "m.safetensors")
    other.load_weights(tmp_path / "m.safetensors")
    np.testing.assert_array_equal(other.predict(X, verbose=0), model.predict(X, verbose=0))
    write_torch(tmp_path / "m.pt", {"a": np.array(2.5, np.float32), "b": X.T})
    read = read_torch(tmp_path / "m.pt")
    assert read["a"].shape == () and read["a"] == 2.5
    np.testing.assert_array_equal(read["b"], X.T)


def test_what_a_layer_holds_is_frozen_with_it():
    class Block(Layer):
        def build(self, input_shape):
            self.inner = Dense(input_shape[-1])

        def call(self, x):
            return x + self.inner(x)

    block = Block()
    block(ROWS)
    block.trainable = False
    assert not block.inner.trainable and not block.inner.trainable_weights
    block.trainable = True
    assert block.inner.trainable and len(block.inner.trainable_weights) == 2


class TimesKnown(Multiply):
    """The product of what is known, first, and of what comes in."""

    def call(self, x):
        return super().call([np.arange(1, 5, dtype=np.float32)[None], *x])


def test_what_a_layer_of_ours_computes_in_a_call_may_have_inputs_that_are_known():
    rows = [ROWS, ROWS[::-1].copy()]
    np.testing.assert_allclose(TimesKnown()(rows), rows[0] * rows[1] * [1, 2, 3, 4], rtol=1e-6)
    check_gradients(TimesKnown(), rows).raise_if_wrong()


def test_a_copy_of_a_variable_keeps_its_name():
    layer = Dense(2, name="last")
    layer(ROWS)
    copied = copy.deepcopy(layer.kernel)
    assert (copied.name, copied.path) == (layer.kernel.name, layer.kernel.path) == ("kernel", "last/kernel")
    assert not np.may_share_memory(copied, layer.kernel)


def test_a_weight_s_settings_without_their_names():
    layer = Layer()
    all_of_ours = layer.add_weight("w", (2,), "ones", "l2", True, "float32", "non_neg")
    assert all_of_ours.shape == (2,) and layer.constraints.keys() == layer.regularizers.keys() == {"w"}
    layer.add_weight((2,), "ones", "float32", False, True, None, None, "mean", "v")
    assert list(layer.state) == ["v"]
    with pytest.raises(TypeError, match="add_weight takes"):
        layer.add_weight("u", (2,), "ones", "l2", True, "float32", "non_neg", 1)


@pytest.mark.parametrize("adds", [False, True])
def test_a_layer_whose_outputs_all_lead_to_no_loss_stops_nothing(adds):
    """Two outputs that are only looked at: no gradient comes, or only that of what the call adds to the loss."""

    class Two(Layer):
        def build(self, input_shape):
            self.factor = self.add_weight("factor", (), "ones")

        def call(self, x):
            if adds:
                self.add_loss(np.sum(np.square(self.factor)))
            return x * self.factor, x + self.factor

    x = Input((3,))
    layer, dense = Two(), Dense(2)
    first, second = layer(dense(x))
    model = Model(x, [dense.output, first, second])
    model.compile(SGD(0.1), ["mse", None, None])
    before = dense.get_weights()[0].copy()
    model.train_on_batch(np.ones((4, 3)), [np.ones((4, 2)), None, None])
    assert not np.array_equal(dense.get_weights()[0], before)
    assert layer.get_weights()[0] == pytest.approx(0.8 if adds else 1.0)
