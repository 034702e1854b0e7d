"""The checker itself: it catches planted mistakes, names them, and is not fooled by kinks."""

import functools
import re

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from planted import PLANTED
from test_gradients import problem

from minitl import get_backend
from minitl.__main__ import main
from minitl.gradcheck import check_adjoint, check_gradients, complex_step, conduct, step_errors
from minitl.gradcheck.differences import ROUNDING, Slope
from minitl.gradcheck.problems import Problem
from minitl.layers import (
    Add,
    BatchNormalization,
    Concatenate,
    Conv2D,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    Input,
    Layer,
    MaxPooling2D,
    ReLU,
)
from minitl.losses import Loss, MeanSquaredError
from minitl.models import Model, Sequential
from minitl.ops import dense, softmax, tanh

ROWS = np.random.default_rng(4).standard_normal((4, 4))
SQUARE = np.random.default_rng(5).standard_normal((4, 4))


@pytest.mark.parametrize("planted", PLANTED, ids=lambda planted: planted.name)
def test_planted_mistakes_are_caught_and_named(planted):
    report = check_gradients(planted.target, *planted.arguments, **planted.keywords)
    assert not report.ok
    assert "raised" not in str(report)  # the mistake is what is caught, not a case that does not run
    with pytest.raises(AssertionError, match="WRONG"):
        report.raise_if_wrong()
    if planted.kind is not None:
        assert planted.kind in [diagnosis.kind for diagnosis in report.diagnoses], report


def test_the_catalogue_is_large_and_covers_every_operation():
    assert len(PLANTED) >= 60
    stories = " ".join(planted.name for planted in PLANTED)
    for name in set(CASES) - {"categorical_cross_entropy", "sparse_categorical_cross_entropy"}:
        assert name.replace("_cross_entropy", " cross-entropy").replace("mean_squared_error", "mean squared error") in stories


@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=200)
@given(data=st.data(), ties=st.booleans())
def test_no_false_alarms(name, data, ties):
    """Generated right configurations, exact zeros and exact ties among them."""
    pair, inputs = problem(name, "ops", data.draw(CASES[name](np.float64, ties)))
    report = check_gradients(pair, *inputs, samples=20)
    assert not any(finding.failure for finding in report.findings), report
    assert report.tensors and all(tensor.ok or "kinks" in tensor.verdict for tensor in report.tensors), report
    assert not report.diagnoses


def test_dy_is_not_the_x_of_the_same_seed():
    """x = dy would make x^T dy symmetric, and hide that it is transposed."""
    x = np.random.default_rng(0).standard_normal((5, 4))
    transposed = (dense.forward, lambda dy, c: (dy @ c[1].T, dy.T @ c[0], dy.sum(axis=0)))
    assert not check_gradients(transposed, x, SQUARE, np.ones(4)).ok


def test_kinks_are_skipped_and_counted():
    x = np.array([[0.0, 1.0, -1.0, 2.0, 3e-5, -2.0, 1e-8]])
    report = check_gradients(ReLU(), x)
    (tensor,) = report.tensors
    assert report.ok
    assert tensor.skipped == 2  # 0 lies on the kink, 1e-8 within the smallest step of it; 3e-5 only within the first
    assert tensor.checked == 5


def test_nothing_but_kinks_is_no_success():
    report = check_gradients(MaxPooling2D(), np.zeros((1, 4, 4, 1)))
    assert not report.ok
    assert "too many kinks" in str(report)


def test_dropout_is_replayed(backend):
    layer = Dropout(0.5)
    assert check_gradients(layer, ROWS).ok
    assert not layer.built  # the checked layer was a copy


def test_a_whole_model_with_its_loss(backend):
    model = Sequential(
        [
            Input((6, 6, 2)),
            Conv2D(3, 3, padding="same", kernel_regularizer="l2"),
            BatchNormalization(),
            ReLU(),
            MaxPooling2D(),
            Flatten(),
            Dropout(0.3),
            Dense(4, activation="softmax", bias_regularizer="l2"),
        ]
    )
    model.compile("sgd", "sparse_categorical_crossentropy")
    before = [w.copy() for w in model.weights]
    x, y = np.random.default_rng(0).standard_normal((5, 6, 6, 2)), np.arange(5) % 4
    report = check_gradients(model, x, y=y, samples=40)
    assert report.ok, report
    assert len(report.tensors) == 7
    assert all((a == b).all() for a, b in zip(before, model.weights, strict=True))
    assert model.weights[0].dtype == np.float32


def test_a_users_layer_that_forgets_a_gradient():
    class Forgets(Layer):
        def build(self, input_shape):
            self.w = self.add_weight("w", (1,), "ones")

        def forward(self, x, training):
            return x * self.w

        def backward(self, dy):
            return dy * self.w

    assert "no gradient; set self.gradients['w']" in str(check_gradients(Forgets(), ROWS))


class Wrong(Layer):
    def forward(self, x, training):
        return x


class ReturnsNone(Wrong):
    def backward(self, dy):
        pass


class Raises(Wrong):
    def backward(self, dy):
        return dy @ np.ones((77, 3))


class WrongShape(Wrong):
    def backward(self, dy):
        return dy.sum(axis=0)


class DrawsAnew(Wrong):
    def forward(self, x, training):
        return x * np.random.default_rng().random(x.shape)

    def backward(self, dy):
        return dy


class Narrow(Wrong):
    def forward(self, x, training):
        return np.sin(x.astype(np.float32))

    def backward(self, dy):
        return dy


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (Wrong(), "must define backward"),
        (ReturnsNone(), "it must return dx"),
        (Raises(), "line .*77"),
        (WrongShape(), r"shape \(4,\), not \(4, 4\)"),
        (DrawsAnew(), "generator"),
        (Narrow(), "x.dtype"),
    ],
)
def test_messages_that_a_beginner_can_act_on(layer, message):
    report = check_gradients(layer, ROWS)
    assert not report.ok
    assert re.search(message, str(report)), report


class Mixed(Layer):
    """Right, and odd: its own generator, a running mean kept in an attribute, NumPy's global generator."""

    def build(self, input_shape):
        self.mean, self.generator = np.zeros(input_shape[-1]), np.random.default_rng(0)

    def forward(self, x, training):
        if training:
            self.mean = 0.9 * self.mean + 0.1
            self.mask = self.generator.random(x.shape) + np.random.random(x.shape)
        else:
            self.mask = np.ones_like(x)
        return (x - self.mean) * self.mask

    def backward(self, dy):
        return dy * self.mask


def test_what_a_layer_draws_and_counts_is_replayed():
    report = check_gradients(Mixed(), ROWS)
    assert report.ok, report
    assert [tensor.name for tensor in report.tensors] == ["x", "x (inference)"]


class OneWrongEntry(Layer):
    def forward(self, x, training):
        self.x = x
        return np.sin(x)

    def backward(self, dy):
        dx = dy * np.cos(self.x)
        dx[-1, -2, 3, 0] *= 1.001
        return dx


def test_a_single_wrong_entry_of_a_large_tensor_is_found():
    report = check_gradients(OneWrongEntry(), np.random.default_rng(0).standard_normal((4, 16, 16, 3)), samples=20)
    assert report.tensors[0].verdict == "wrong"
    assert report.tensors[0].index == (3, 14, 3, 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_adjoint_of_a_whole_network(dtype, backend):
    model = Sequential([Input((8, 8, 3)), Conv2D(4, 3, activation="tanh"), Flatten(), Dense(3, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(0).standard_normal((5, 8, 8, 3)), np.arange(5) % 3
    allowed = 1e-7 if dtype == np.float64 else 1e-4
    assert check_adjoint(model, x, y=y, dtype=dtype) < allowed
    assert check_adjoint((dense.forward, lambda dy, c: (dy @ c[1], *dense.backward(dy, c)[1:])), ROWS, SQUARE, np.ones(4)) > 1e-2


def test_complex_steps():
    assert complex_step(dense.forward, dense.backward, ROWS, SQUARE, np.ones(4)) < 1e-12
    assert complex_step(tanh.forward, lambda dy, y: dy * (1 - y), ROWS) > 1e-2
    with pytest.raises(TypeError, match="complex"):
        complex_step(lambda x: (x.real, x), lambda dy, c: dy, ROWS)


def test_float64_agreement_is_close():
    """1e-7 or better at the median coordinate; it is about 1e-11."""
    errors = []
    for target, inputs in (
        ((dense.forward, dense.backward), (ROWS, SQUARE, np.ones(4))),
        ((softmax.forward, softmax.backward), (ROWS,)),
    ):
        for tensor in check_gradients(target, *inputs).tensors:
            c = tensor.comparison
            errors.append(np.abs(c.analytic - c.numeric) / np.abs(c.numeric))
    assert np.median(np.concatenate(errors)) < 1e-9


def test_the_v_of_step_sizes():
    steps, errors = step_errors((tanh.forward, tanh.backward), ROWS)
    best = errors.argmin()
    assert 1e-7 < steps[best] < 1e-3
    assert errors[0] > 100 * errors[best] and errors[-1] > 100 * errors[best]


def test_the_command(tmp_path, capsys):
    assert main(["gradcheck", "--op", "softmax"]) == 0
    said = capsys.readouterr().out
    assert " right\n" in said and said.splitlines().count("softmax") == 2  # the operation, and the activation
    assert main(["gradcheck", "--op", "max_pool2d"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines.count("max_pool2d") == 1 and sum(line.endswith(" right") for line in lines) > 2
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy as np\nfrom minitl.layers import Layer\n"
        "class Good(Layer):\n    def forward(self, x, training):\n        self.x = x\n        return x * x\n"
        "    def backward(self, dy):\n        return 2 * self.x * dy\n"
        "class Bad(Good):\n    def backward(self, dy):\n        return self.x * dy\n"
    )
    picture = tmp_path / "check.png"
    assert main(["gradcheck", f"{file}:Good", "--input", "2,3,3,1", "--plot", str(picture)]) == 0
    assert picture.stat().st_size > 10000
    assert main(["gradcheck", f"{file}:Bad", "--input", "2,3"]) == 1
    assert "1/2 times" in capsys.readouterr().out
    assert main(["gradcheck", f"{file}:Nothing", "--input", "2,3"]) == 2
    assert main(["gradcheck", f"{file}:Good"]) == 2
    assert main(["gradcheck", "--op", "softmux"]) == 2
    assert "did you mean" in capsys.readouterr().err


def test_the_survey_covers_every_operation_and_layer():
    from minitl import layers
    from minitl.gradcheck import survey

    names = set(survey.names())
    assert set(CASES) <= names
    own = [cls for cls in vars(layers).values() if isinstance(cls, type) and issubclass(cls, layers.Layer)]
    classes = {cls.__name__ for cls in own} - {"Layer", "InputLayer", "TextVectorization", "StringLookup", "StackedRNNCells"}
    classes = {name for name in classes if not name.endswith("Cell")}  # an RNN is checked with each of them
    assert classes <= names


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_everything_of_ours_is_right(dtype, backend, monkeypatch):
    from minitl.gradcheck import survey

    if dtype == np.float32:  # float64 tries every coordinate of the formulas; here some and directions show what rounds
        monkeypatch.setattr(survey, "check_gradients", functools.partial(check_gradients, samples=20))
    rows = list(survey.survey(backends=(get_backend(),), dtype=dtype))
    assert len(rows) > 60
    assert [row for row in rows if row[-1] != "right"] == []


def test_float32_layers_are_checked_in_float64():
    layer = Dense(3)
    layer(ROWS)
    assert check_gradients(layer, ROWS).ok
    assert layer.parameters["kernel"].dtype == np.float32


def test_other_targets_are_refused():
    with pytest.raises(ValueError, match="expected a layer"):
        check_gradients("dense", ROWS)


def test_several_inputs_may_be_a_dictionary():
    random = np.random.default_rng(0)
    one, two = Input((3,), name="one"), Input((2,), name="two")
    model = Model([one, two], Dense(2)(Concatenate()([Dense(4, activation="tanh")(one), two])))
    x = {"two": random.normal(size=(4, 2)), "one": random.normal(size=(4, 3))}
    found = check_gradients(model, x)
    assert found.ok and str(found) == str(check_gradients(model, [x["one"], x["two"]]))


def test_targets_may_be_the_third_argument():
    x, labels = np.random.default_rng(0).standard_normal((4, 3)), np.arange(4) % 2
    model = Sequential([Input((3,)), Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    reports = [check_gradients(model, x, y=labels), check_gradients(model, x, labels), check_gradients(model, x)]
    found = [str(report) for report in reports]
    assert all(report.ok for report in reports) and found[0] == found[1] != found[2]
    with pytest.raises(TypeError, match="for x and perhaps y; several inputs are one list"):
        check_gradients(model, x, labels, labels)
    with pytest.raises(TypeError, match="for x and perhaps y"):
        check_gradients(model, x, labels, y=labels)
    assert check_gradients(dense, x, np.ones((3, 2)), np.ones(2)).ok


class Saddle(Loss):
    """c p^2, whose mean stays what it is along some ways through p."""

    def call(self, y_true, y_pred):
        return y_true * y_pred**2


def test_a_number_that_does_not_grow_along_one_way_is_not_taken_for_coarse():
    """Changes of all inputs by one factor cancel here; that is no sign of a rounding."""
    p, c = np.array([[1.0, -1.0, 1.0, -1.0]]), np.array([[1.0, 1.0, -1.0, -1.0]])
    assert check_gradients(Saddle(), p, y=c).ok
    for dtype, expected in ((np.float32, True), (np.float64, False)):

        def values(dtype=dtype):
            return np.asarray((c * p.astype(dtype) ** 2).sum())

        assert conduct.is_coarse(Problem("c p^2", ["p"], [p], values, lambda dy: [2 * c * p])) == expected


def test_steps_are_as_large_as_a_kink_nearby_allows():
    """With a kink at 3e-5 the first step is too large; the second is not, and rounding counts less in it than in the third."""
    x = np.array([3e-5])
    slope = Slope(lambda: np.maximum(x, 0) + 1, np.ones(1), 1e-6)
    derivative, doubt, noise = slope.along(x, np.array([0]), np.ones(1))
    assert derivative == pytest.approx(1, abs=1e-8) and doubt < 1e-8
    assert ROUNDING / 4e-6 <= noise <= 2.1 * ROUNDING / 4e-6
    assert x[0] == 3e-5


def test_targets_are_for_what_has_a_loss():
    model, x = Sequential([Input((3,)), Dense(2)]), np.ones((2, 3))
    with pytest.raises(ValueError, match="the model has no loss yet; call compile"):
        check_gradients(model, x, y=np.ones((2, 2)))
    with pytest.raises(ValueError, match="is a layer, which has no targets; leave y out"):
        check_gradients(Dense(2), x, y=np.ones((2, 2)))


def test_a_report_is_true_where_all_is_right():
    class Wrong(Layer):
        def forward(self, x, training=False):
            return 2 * x

        def backward(self, dy):
            return dy

    assert check_gradients(Dense(2), np.ones((2, 3))) and not check_gradients(Wrong(), np.ones((2, 3)))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_arrays_of_another_order_are_checked_as_others(dtype):
    """Transposed views, and copies of them, whose flat form is another array: their entries were never moved."""
    rng = np.random.default_rng(0)
    x, other = rng.normal(size=(3, 4)).T, np.asfortranarray(rng.normal(size=(4, 3)))
    model = Sequential([Input((3,)), Dense(2)])
    model.compile("sgd", "mse")
    assert check_gradients(Dense(2), x, dtype=dtype) and check_gradients(Add(), [x, other], dtype=dtype)
    assert check_gradients(model, x, y=np.asfortranarray(np.ones((4, 2))), dtype=dtype)
    assert check_gradients(MeanSquaredError(), x, y=other, dtype=dtype)
    assert check_gradients((lambda x, w: (x @ w, (x, w)), lambda dy, c: (dy @ c[1].T, c[0].T @ dy)), other, x.T, dtype=dtype)
    assert check_adjoint(Dense(2, dtype="float64"), x) < 1e-8


def test_conduct_of_layers_that_take_words():
    """Whole numbers have no gradient; everything else about a backward pass is looked at all the same."""
    words = np.array([[1, 2, 3], [4, 0, 1]])

    class UsesUp(Embedding):
        def backpropagate(self, dy, cache, need):
            dx, gradients = super().backpropagate(dy, cache, need)
            self.runs = getattr(self, "runs", 0) + 1
            return dx, {name: g * (self.runs if self.runs < 3 else 1) for name, g in gradients.items()}

    class ByPlace(Embedding):
        def backpropagate(self, dy, cache, need):
            return super().backpropagate(dy * np.arange(1, 1 + len(dy), dtype=dy.dtype)[:, None, None], cache, need)

    report = check_gradients(Embedding(5, 2), words)
    assert report.ok and not report.findings, str(report)
    real, whole = Input((3, 2)), Input((3,), dtype="int32")
    mixed = Model([real, whole], Concatenate()([Dense(2)(real), Embedding(5, 2)(whole)]))
    report = check_gradients(mixed, [np.random.default_rng(0).normal(size=(2, 3, 2)), words])
    assert report.ok and not report.findings, str(report)
    assert "a second backward() gives another gradient" in str(check_gradients(UsesUp(5, 2), words))
    assert "a parameter's gradient depends on the order" in str(check_gradients(ByPlace(5, 2), words))
