"""What losses make of the losses of rows: by Keras's definitions, with gradients, in training and in files."""

import numpy as np
import pytest

import minitl
from minitl import losses
from minitl.backend import sum as sum_of
from minitl.layers import Dense, Embedding, Input
from minitl.losses import MeanSquaredError
from minitl.losses.reduction import reduced

RANDOM = np.random.default_rng(5)
ROWS = (5, 3)
SETTINGS = [
    (losses.MeanSquaredError, {}), (losses.MeanAbsoluteError, {}), (losses.Huber, {}), (losses.LogCosh, {}), (losses.Poisson, {}),
    (losses.Hinge, {}), (losses.CategoricalHinge, {}), (losses.KLDivergence, {}), (losses.CosineSimilarity, {}),
    (losses.BinaryCrossentropy, {}), (losses.BinaryCrossentropy, {"from_logits": True, "label_smoothing": 0.1}),
    (losses.CategoricalCrossentropy, {"label_smoothing": 0.1}), (losses.CategoricalCrossentropy, {"from_logits": True}),
    (losses.SparseCategoricalCrossentropy, {}), (losses.SparseCategoricalCrossentropy, {"from_logits": True}),
    (losses.BinaryFocalCrossentropy, {"from_logits": True}), (losses.CategoricalFocalCrossentropy, {}),
]  # fmt: skip

OF_ALL = pytest.mark.parametrize(
    ("cls", "settings"), SETTINGS, ids=lambda item: item.__name__ if isinstance(item, type) else str(item or "")
)


def example(cls, settings):
    """Predictions (5, 3, 4) and targets, the same in any order of the tests."""
    generator = np.random.default_rng(5)
    p = generator.uniform(0.1, 0.9, (*ROWS, 4))
    labels = generator.integers(0, 4, ROWS)
    if cls is losses.SparseCategoricalCrossentropy:
        t = labels
    elif "Categorical" in cls.__name__:
        t = np.eye(4)[labels]
    else:
        t = generator.uniform(0.1, 0.9, p.shape)
    if settings.get("from_logits"):
        p = generator.normal(size=p.shape) * 3
    elif "Categorical" in cls.__name__:
        p /= p.sum(axis=-1, keepdims=True)
    return t, p


@OF_ALL
def test_rows_are_what_the_mean_is_made_of(cls, settings):
    t, p = example(cls, settings)
    weights = RANDOM.uniform(0, 2, ROWS)
    rows = cls(reduction="none", **settings)(t, p)
    assert rows.shape == ROWS
    one = np.array([[cls(**settings)(t[i : i + 1, j], p[i : i + 1, j]) for j in range(3)] for i in range(5)])
    np.testing.assert_allclose(rows, one, rtol=1e-6, atol=1e-9)
    for reduction, expected in {
        "sum_over_batch_size": (weights * rows).mean(),
        "mean": (weights * rows).mean(),
        "sum": (weights * rows).sum(),
        "mean_with_sample_weight": (weights * rows).sum() / weights.sum(),
    }.items():
        assert cls(reduction=reduction, **settings)(t, p, weights) == pytest.approx(expected, rel=1e-6)
    function = next(name for name, known in losses.NAMED.items() if known is cls)
    np.testing.assert_allclose(getattr(losses, function)(t, p, **settings), rows, rtol=1e-5, atol=1e-6)


@OF_ALL
@pytest.mark.parametrize("reduction", ["sum", "mean_with_sample_weight"])
def test_gradients(cls, settings, reduction):
    t, p = example(cls, settings)
    weights, loss = RANDOM.uniform(0.1, 2, ROWS), cls(reduction=reduction, **settings)
    value, cache = losses.compute(loss, t, p, weights, loss.from_logits)
    assert value == pytest.approx(loss(t, p, weights))
    gradient, step = losses.backpropagate(loss, cache), 1e-6
    for place in [(0, 0, 0), (4, 2, 3), (2, 1, 2)]:
        e = np.zeros_like(p)
        e[place] = step
        numerical = (loss(t, p + e, weights) - loss(t, p - e, weights)) / (2 * step)
        assert gradient[place] == pytest.approx(numerical, rel=1e-4, abs=1e-7)


def test_a_masked_loss_of_ones_own():
    """Steps of padding are left out by hand, as programs for translation do."""
    each = losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")

    def masked(y_true, y_pred):
        counts = (y_true != 0).astype("float32")
        return sum_of(each(y_true, y_pred) * counts) / counts.sum()

    x = np.array([[1, 2, 3, 0], [4, 5, 0, 0]])
    weights = []
    for loss, mask_zero in ((masked, False), (losses.SparseCategoricalCrossentropy(from_logits=True), True)):
        minitl.utils.set_random_seed(1)
        model = minitl.Sequential([Input((4,)), Embedding(6, 5, mask_zero=mask_zero), Dense(6)])
        model.compile(minitl.optimizers.SGD(0.5), loss)
        model.fit(x, x, batch_size=2, epochs=3, verbose=0)
        weights.append(model.layers[-1].get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-5, atol=1e-6)


def test_the_function_form_has_the_shape_of_the_rows():
    """As a variational autoencoder's error of an image is summed over its rows and columns."""
    images = RANDOM.uniform(0.1, 0.9, (2, 4, 5, 1)).astype("float32")
    p = minitl.autodiff.Traced(images[::-1].copy())
    rows = losses.binary_crossentropy(images, p)
    assert rows.shape == (2, 4, 5)
    gradient = minitl.autodiff.gradients(np.sum(rows), [p])[0]
    np.testing.assert_allclose(gradient, (p.value - images) / (p.value * (1 - p.value)), rtol=1e-4)


def test_trains_by_the_sum():
    x, y = RANDOM.normal(size=(12, 5)).astype("float32"), RANDOM.normal(size=(12, 2)).astype("float32")
    weights = []
    for reduction, rate in (("sum", 0.01), ("sum_over_batch_size", 0.12)):
        minitl.utils.set_random_seed(2)
        model = minitl.Sequential([Input((5,)), Dense(2)])
        model.compile(minitl.optimizers.SGD(rate), losses.MeanSquaredError(reduction=reduction))
        model.fit(x, y, batch_size=12, epochs=3, verbose=0)
        weights.append(model.get_weights()[0])
    np.testing.assert_allclose(*weights, rtol=1e-5)


def test_saved_with_the_model(tmp_path):
    model = minitl.Sequential([Input((5,)), Dense(2)])
    model.compile("sgd", losses.Huber(delta=2.0, reduction="sum"))
    for file in ("model.npz", "model.keras"):
        model.save(tmp_path / file)
        loaded = minitl.models.load_model(tmp_path / file)
        assert (loaded.loss.reduction, loaded.loss.delta) == ("sum", 2.0)
    assert losses.MeanSquaredError().get_config() == {}


def test_errors():
    with pytest.raises(ValueError, match="reduction of a loss"):
        losses.MeanSquaredError(reduction="median")
    with pytest.raises(ValueError, match="give the reduction by name"):
        losses.MeanSquaredError("sum")
    model = minitl.Sequential([Input((5,)), Dense(2)])
    with pytest.raises(ValueError, match='MeanSquaredError: a network learns from one number, reduction="none" gives many'):
        model.compile("sgd", losses.MeanSquaredError(reduction="none"))


def test_a_batch_without_weight_costs_nothing():
    assert reduced(np.ones(3), np.zeros(3), "mean_with_sample_weight") == 0


def test_plain_numbers_and_fitting_targets():
    p = np.array([[0.2], [0.7], [0.9]])
    t = np.array([0.0, 1.0, 1.0])
    for loss in (losses.BinaryFocalCrossentropy(reduction="sum"), losses.MeanSquaredError(reduction="sum")):
        assert isinstance(loss(t, p), float) and loss(t, p) == loss(t[:, None], p)
    traced = losses.MeanSquaredError(reduction="none")(t, minitl.autodiff.Traced(p))
    assert isinstance(traced, minitl.autodiff.Traced) and traced.shape == (3,)


def test_a_loss_that_does_not_depend_on_the_predictions_is_refused():
    with pytest.raises(TypeError, match="its value does not depend on y_pred, or left the record on its way"):
        losses.compute(losses.get(lambda y_true, y_pred: y_true * 2), np.ones((2, 1)), np.ones((2, 1)), None, False)


def test_weights_of_columns_and_traced_ones():
    values, weights = np.array([1.0, 2.0, 4.0]), np.array([0.5, 0.0, 2.0])
    for given in (weights, weights[:, None], weights.tolist()):
        assert reduced(values, given, "sum") == 8.5 and reduced(values, given, "none").tolist() == [0.5, 0, 8]
    rows = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert reduced(rows, np.array([1.0, 10.0]), "none").tolist() == [[1, 2], [30, 40]]
    assert reduced(rows, np.array([[1.0], [10.0]]), "none").tolist() == [[1, 2], [30, 40]]
    steps = np.array([[[1.0], [2.0]], [[0.0], [3.0]]])
    assert reduced(rows, steps, "none").tolist() == [[1, 4], [0, 12]]
    traced = minitl.autodiff.Traced(weights)
    total = reduced(minitl.autodiff.Traced(values), traced, "sum")
    assert minitl.autodiff.gradients(total, [traced])[0].tolist() == values.tolist()


def test_whole_numbers_as_predictions():
    assert MeanSquaredError()(np.zeros((2, 3)), np.array([[1, 2, 3], [0, 0, 1]])) == pytest.approx(15 / 6)


def test_weights_for_losses_of_rows():
    loss = MeanSquaredError()
    np.testing.assert_array_equal(loss.spread(np.arange(6).reshape(2, 3), (2, 3, 4)), np.arange(6).reshape(2, 3, 1).repeat(4, 2))
    np.testing.assert_array_equal(loss.spread(np.array([[2.0], [3.0]]), (2, 4)), [[2] * 4, [3] * 4])


@pytest.mark.parametrize("reduction", ["sum_over_batch_size", "sum", "mean_with_sample_weight", "none"])
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("void", [-1, 2, 255])
def test_ignored_classes_are_keras_s(void, from_logits, reduction):
    torch = pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    if keras.backend.backend() != "torch":
        pytest.skip("gradients are asked of PyTorch")
    t, p = example(losses.SparseCategoricalCrossentropy, {"from_logits": from_logits})
    t[0, 0] = t[3] = void
    settings = {"from_logits": from_logits, "ignore_class": void, "reduction": reduction}
    loss, theirs = losses.SparseCategoricalCrossentropy(**settings), keras.losses.SparseCategoricalCrossentropy(**settings)
    for weights in (None, RANDOM.uniform(0.1, 2, ROWS).astype("float32")):
        parameters = torch.tensor(p.astype("float32"), requires_grad=True)
        expected = theirs(t, parameters, None if weights is None else weights.copy())  # what Keras gets, it changes
        expected.sum().backward()
        np.testing.assert_allclose(loss(t, p, weights), expected.detach(), rtol=1e-5)
        given = minitl.autodiff.Traced(p)
        gradient = minitl.autodiff.gradients(np.sum(loss(t, given, weights)), [given])[0]
        np.testing.assert_allclose(gradient, parameters.grad, atol=1e-6)
        if reduction != "none":
            value, cache = losses.compute(loss, t[..., None], p, weights, from_logits)
            np.testing.assert_allclose(value, expected.detach(), rtol=1e-5)
            np.testing.assert_allclose(losses.backpropagate(loss, cache), parameters.grad, atol=1e-6)
            assert loss.forward(t, p, weights, from_logits) == value
            np.testing.assert_array_equal(loss.backward(), losses.backpropagate(loss, cache))
    with pytest.raises(ValueError, match="label 7 is outside"):
        loss(np.full_like(t, 7), p)


def test_nothing_is_learned_where_all_is_ignored():
    loss = losses.SparseCategoricalCrossentropy(ignore_class=0)
    _, p = example(losses.SparseCategoricalCrossentropy, {})
    value, cache = losses.compute(loss, np.zeros(ROWS, int), p, None, False)
    assert value == 0 and not losses.backpropagate(loss, cache).any()


def test_an_ignored_class_beside_a_mask(tmp_path, backend):
    # The mean is that of the steps that neither leaves out, so that it is the loss of these steps alone.
    x, y = np.array([[1, 2, 3, 0], [4, 5, 0, 0]]), np.array([[1, 9, 3, 9], [9, 2, 1, 1]])
    model = minitl.Sequential([Input((4,)), Embedding(6, 5, mask_zero=True), Dense(6, activation="softmax")])
    model.compile(minitl.optimizers.SGD(0.5), losses.SparseCategoricalCrossentropy(ignore_class=9), metrics=["accuracy"])
    p = model.predict(x, verbose=0)
    expected = -np.log([p[0, 0, 1], p[0, 2, 3], p[1, 1, 2]]).mean()
    assert model.evaluate(x, y, verbose=0)[0] == pytest.approx(expected, rel=1e-5)
    model.fit(x, y, epochs=20, verbose=0)
    assert model.predict(x, verbose=0)[[0, 0, 1], [0, 2, 1], [1, 3, 2]].min() > 0.5
    for file in ("model.npz", "model.keras"):
        model.save(tmp_path / file)
        assert minitl.models.load_model(tmp_path / file).loss.ignore_class == 9
