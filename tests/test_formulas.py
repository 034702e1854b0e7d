"""Schedules, losses and initializers against formulas that are written out here, number by number."""

import itertools
import math

import numpy as np
import pytest

import minitl
from minitl import initializers, losses, metrics, regularizers, schedules
from minitl.backend import op, use_backend
from minitl.gradcheck import check_gradients
from minitl.layers import Dense, Input
from minitl.models import Sequential

STEPS = range(45)


def cosine(share):
    return (1 + math.cos(math.pi * share)) / 2


def restarts(step, first, t_mul, m_mul, alpha):
    k = 0
    while step >= first * t_mul**k:
        step -= first * t_mul**k
        k += 1
    return 0.5 * ((1 - alpha) * m_mul**k * cosine(step / (first * t_mul**k)) + alpha)


def one_cycle(step):
    if step < 9:
        return 0.1 + (0.2 - 0.1) * (1 - cosine(step / 9))
    return 0.05 + (0.2 - 0.05) * cosine(min((step - 9) / 21, 1))


def slanted(step):
    p = step / 6 if step < 6 else 1 - min((step - 6) / 24, 1)
    return 0.2 * (1 + p * 3) / 4


SCHEDULES = {
    "constant": (schedules.Constant(0.3), lambda t: 0.3),
    "steps": (schedules.StepDecay(0.5, 10, 0.2), lambda t: 0.5 * 0.2 ** (t // 10)),
    "line": (schedules.LinearDecay(0.5, 20, 0.1), lambda t: 0.5 - 0.4 * min(t / 20, 1)),
    "lines": (
        schedules.PiecewiseLinear([5, 10, 30], [0.1, 0.6, 0.2]),
        lambda t: 0.1 if t <= 5 else 0.1 + 0.1 * (t - 5) if t <= 10 else 0.6 - 0.02 * (t - 10) if t <= 30 else 0.2,
    ),
    "cosine": (schedules.CosineDecay(0.5, 20, 0.1), lambda t: 0.5 * (0.9 * cosine(min(t / 20, 1)) + 0.1)),
    "cosine, warm": (
        schedules.CosineDecay(0.1, 20, 0.2, warmup_target=0.5, warmup_steps=8),
        lambda t: 0.1 + 0.4 * t / 8 if t < 8 else 0.5 * (0.8 * cosine(min((t - 8) / 20, 1)) + 0.2),
    ),
    "restarts": (schedules.CosineDecayRestarts(0.5, 5, 2.0, 0.5, 0.1), lambda t: restarts(t, 5, 2.0, 0.5, 0.1)),
    "exponential": (schedules.ExponentialDecay(0.5, 10, 0.3), lambda t: 0.5 * 0.3 ** (t / 10)),
    "stairs": (schedules.ExponentialDecay(0.5, 10, 0.3, staircase=True), lambda t: 0.5 * 0.3 ** (t // 10)),
    "inverse": (schedules.InverseTimeDecay(0.5, 10, 0.3), lambda t: 0.5 / (1 + 0.3 * t / 10)),
    "inverse stairs": (schedules.InverseTimeDecay(0.5, 10, 0.3, staircase=True), lambda t: 0.5 / (1 + 0.3 * (t // 10))),
    "pieces": (
        schedules.PiecewiseConstantDecay([10, 20], [0.5, 0.2, 0.1]),
        lambda t: 0.5 if t <= 10 else 0.2 if t <= 20 else 0.1,
    ),
    "polynomial": (schedules.PolynomialDecay(0.5, 20, 0.1, 2.0), lambda t: 0.4 * (1 - min(t / 20, 1)) ** 2 + 0.1),
    "cycles": (
        schedules.PolynomialDecay(0.5, 20, 0.1, 2.0, cycle=True),
        lambda t: 0.4 * (1 - t / (20 if t <= 20 else 40 if t <= 40 else 60)) ** 2 + 0.1,
    ),
    "one cycle": (schedules.OneCycle(0.2, 30, 0.3, 2.0, 4.0), one_cycle),
    "slanted": (schedules.SlantedTriangular(0.2, 30, 0.2, 4.0), slanted),
    "warm": (
        schedules.WarmUp(schedules.ExponentialDecay(0.5, 10, 0.3), 4),
        lambda t: 0.5 * (t + 1) / 4 if t < 4 else 0.5 * 0.3 ** ((t - 4) / 10),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules(name):
    schedule, formula = SCHEDULES[name]
    assert [schedule(step) for step in STEPS] == pytest.approx([formula(step) for step in STEPS], rel=1e-12)
    again = type(schedule)(**schedule.get_config()) if name != "warm" else schedules.WarmUp(schedule.schedule, 4)
    assert [again(step) for step in STEPS] == [schedule(step) for step in STEPS]


def test_every_schedule_has_a_formula_here():
    assert {type(schedule).__name__ for schedule, _ in SCHEDULES.values()} == set(schedules.CLASSES)


@pytest.mark.parametrize(
    "name", ["CosineDecay", "CosineDecayRestarts", "ExponentialDecay", "InverseTimeDecay", "PolynomialDecay"]
)
def test_schedules_are_keras_s(name):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    for schedule, _ in SCHEDULES.values():
        if type(schedule).__name__ == name:
            theirs = getattr(keras.optimizers.schedules, name)(**schedule.get_config())
            assert [schedule(step) for step in STEPS] == pytest.approx([float(theirs(step)) for step in STEPS], rel=1e-5)


TINY = 1e-7
P = [[0.7, 0.2, 0.1], [0.05, 0.9, 0.05], [0.3, 0.3, 0.4], [1e-9, 0.25, 0.75]]
WHOLE = [*P[:3], [0.2, 0.3, 0.5]]
T = [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]
FAR = [[2.5, -0.4, 0.3], [-1.5, 0.2, 4.0], [-0.1, 0.6, -0.7], [3.0, 1.1, -2.0]]  # of any sign


def pairs(x, y):
    return zip(x, y, strict=True)


def mean(rows):
    return sum(rows) / len(rows)


def each(term):
    return lambda p, t: mean([mean([term(a, b) for a, b in pairs(x, y)]) for x, y in pairs(p, t)])


def rows(term):
    return lambda p, t: mean([term(x, y) for x, y in pairs(p, t)])


def sign(t):
    return 2 * t - 1


def huber(e, delta):
    return e * e / 2 if e <= delta else delta * (e - delta / 2)


def cut(x):
    return min(max(x, TINY), 1)


def cosine_of(x, y):
    return sum(a * b for a, b in pairs(x, y)) / math.hypot(*x) / math.hypot(*y)


LOSSES = {
    "squares": (losses.MeanSquaredError(), FAR, T, each(lambda p, t: (p - t) ** 2)),
    "absolute": (losses.MeanAbsoluteError(), FAR, T, each(lambda p, t: abs(p - t))),
    "percent": (losses.MeanAbsolutePercentageError(), FAR, WHOLE, each(lambda p, t: 100 * abs(p - t) / max(t, TINY))),
    "percent of almost nothing": (
        losses.MeanAbsolutePercentageError(), FAR, P, each(lambda p, t: 100 * abs(p - t) / max(t, TINY)),
    ),
    "logarithms": (
        losses.MeanSquaredLogarithmicError(), FAR, P,
        each(lambda p, t: (math.log1p(max(p, TINY)) - math.log1p(max(t, TINY))) ** 2),
    ),
    "huber": (losses.Huber(0.8), FAR, T, each(lambda p, t: huber(abs(p - t), 0.8))),
    "log cosh": (losses.LogCosh(), FAR, T, each(lambda p, t: math.log(math.cosh(p - t)))),
    "poisson": (losses.Poisson(), WHOLE, T, each(lambda p, t: p - t * math.log(p + TINY))),
    "hinge": (losses.Hinge(), FAR, T, each(lambda p, t: max(1 - sign(t) * p, 0))),
    "hinge of signs": (losses.Hinge(), FAR, [[sign(t) for t in r] for r in T], each(lambda p, t: max(1 - t * p, 0))),
    "squared hinge": (losses.SquaredHinge(), FAR, T, each(lambda p, t: max(1 - sign(t) * p, 0) ** 2)),
    "categorical hinge": (
        losses.CategoricalHinge(), FAR, T,
        rows(lambda x, y: max(1 + max((1 - t) * p for p, t in pairs(x, y)) - sum(t * p for p, t in pairs(x, y)), 0)),
    ),
    "divergence": (
        losses.KLDivergence(), P, T, rows(lambda x, y: sum(cut(t) * math.log(cut(t) / cut(p)) for p, t in pairs(x, y))),
    ),
    "divergence beyond one": (
        losses.KLDivergence(), [[1.5, 0.2, 0.3]], [[0.4, 2.0, 0.6]],
        rows(lambda x, y: sum(cut(t) * math.log(cut(t) / cut(p)) for p, t in pairs(x, y))),
    ),
    "angle": (losses.CosineSimilarity(), FAR, WHOLE, rows(lambda x, y: -cosine_of(x, y))),
}  # fmt: skip


@pytest.mark.parametrize("name", LOSSES)
def test_losses(name):
    loss, p, t, formula = LOSSES[name]
    assert float(loss.forward(np.array(t), np.array(p), None, False)) == pytest.approx(formula(p, t), rel=1e-6)
    if name == "percent of almost nothing":  # too steep for differences
        return
    slopes, step = loss.backward(), 1e-6
    for i in range(len(p)):
        for j in range(3):
            if name == "divergence" and p[i][j] < TINY:  # cut off: nothing moves
                assert slopes[i, j] == 0
                continue
            moved = [[row[:] for row in p] for _ in range(2)]
            moved[0][i][j] += step
            moved[1][i][j] -= step
            numeric = (formula(moved[0], t) - formula(moved[1], t)) / (2 * step)
            assert slopes[i, j] == pytest.approx(numeric, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_of_sequences_are_those_of_their_steps(name):
    loss, p, t, _ = LOSSES[name]
    p, t = np.array(p), np.array(t)
    flat, slopes = loss.forward(t, p, None, False), loss.backward()
    shape = (2, -1, 3) if len(p) > 1 else (1, 1, 3)
    assert loss.forward(t.reshape(shape), p.reshape(shape), None, False) == pytest.approx(flat, rel=1e-12)
    np.testing.assert_allclose(loss.backward().reshape(p.shape), slopes, rtol=1e-12)


SHARES = [[0.2, 0.5, 0.9], [0.7, 0.05, 0.4]]
YES = [[0.0, 1.0, 1.0], [1.0, 0.0, 1.0]]
LOGITS = [[-1.0, 0.5, 2.0], [0.3, -0.2, 1.2]]
ONE = [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0]]


def binary_focal(p, t, gamma, alpha=None, smoothing=0.0):
    terms = []
    for one, given in zip(np.ravel(p), np.ravel(t), strict=True):
        there = given * (1 - smoothing) + smoothing / 2
        right = there * one + (1 - there) * (1 - one)
        term = (1 - right) ** gamma * -(there * math.log(one) + (1 - there) * math.log(1 - one))
        terms.append(term if alpha is None else term * (there * alpha + (1 - there) * (1 - alpha)))
    return sum(terms) / len(terms)


def categorical_focal(p, t, alpha, gamma, smoothing=0.0):
    total = 0.0
    for row, given in zip(p, t, strict=True):
        for one, yes in zip(row, given, strict=True):
            q, there = one / sum(row), yes * (1 - smoothing) + smoothing / len(row)
            total += alpha * there * (1 - q) ** gamma * -math.log(q)
    return total / len(p)


def sigmoids(rows):
    return [[1 / (1 + math.exp(-one)) for one in row] for row in rows]


def exponentials(rows):
    return [[math.exp(one) for one in row] for row in rows]


def overlap(p, t):
    return sum(a * b for a, b in zip(np.ravel(p), np.ravel(t), strict=True))


def tversky(p, t, alpha, beta):
    o = overlap(p, t)
    return 1 - o / (o + alpha * (np.sum(p) - o) + beta * (np.sum(t) - o))


RARE = {
    "focal": (losses.BinaryFocalCrossentropy(gamma=1.5), SHARES, YES, lambda p, t: binary_focal(p, t, 1.5)),
    "focal, as it is": (losses.BinaryFocalCrossentropy(), SHARES, YES, lambda p, t: binary_focal(p, t, 2)),
    "focal, balanced": (
        losses.BinaryFocalCrossentropy(True, 0.3, label_smoothing=0.2), SHARES, YES, lambda p, t: binary_focal(p, t, 2, 0.3, 0.2),
    ),
    "focal, logits": (
        losses.BinaryFocalCrossentropy(True, from_logits=True), LOGITS, YES, lambda p, t: binary_focal(sigmoids(p), t, 2, 0.25),
    ),
    "classes": (losses.CategoricalFocalCrossentropy(), SHARES, ONE, lambda p, t: categorical_focal(p, t, 0.25, 2)),
    "classes, smoothed": (
        losses.CategoricalFocalCrossentropy(0.4, 1.5, label_smoothing=0.3), SHARES, ONE,
        lambda p, t: categorical_focal(p, t, 0.4, 1.5, 0.3),
    ),
    "classes, logits": (
        losses.CategoricalFocalCrossentropy(from_logits=True), LOGITS, ONE,
        lambda p, t: categorical_focal(exponentials(p), t, 0.25, 2),
    ),
    "tversky": (losses.Tversky(), SHARES, YES, lambda p, t: tversky(p, t, 0.5, 0.5)),
    "tversky, weighted": (losses.Tversky(0.3, 0.9), SHARES, YES, lambda p, t: tversky(p, t, 0.3, 0.9)),
    "dice": (losses.Dice(), SHARES, YES, lambda p, t: 1 - 2 * overlap(p, t) / (np.sum(p) + np.sum(t))),
}  # fmt: skip


@pytest.mark.parametrize("name", RARE)
def test_losses_for_what_is_rare(name):
    loss, p, t, formula = RARE[name]
    p, t = np.array(p), np.array(t)
    assert float(loss.forward(t, p, None, False)) == pytest.approx(float(formula(p, t)), rel=1e-6)
    slopes, step = loss.backward(), 1e-6
    for place in np.ndindex(p.shape):
        moved = [p.copy(), p.copy()]
        moved[0][place] += step
        moved[1][place] -= step
        numeric = (formula(moved[0], t) - formula(moved[1], t)) / (2 * step)
        assert slopes[place] == pytest.approx(float(numeric), rel=1e-4, abs=1e-7)


def test_nothing_there_and_nothing_found_is_no_loss():
    none = np.zeros((2, 3))
    for loss in (losses.Tversky(), losses.Dice()):
        assert float(loss.forward(none, none, None, False)) == pytest.approx(0, abs=1e-6)
        assert float(loss.forward(none, none + 1, None, False)) == pytest.approx(1, abs=1e-6)
    sure = np.array([[1.0, 0.0, 0.0]])
    for loss in (losses.BinaryFocalCrossentropy(), losses.CategoricalFocalCrossentropy()):
        assert float(loss.forward(sure, sure, None, False)) == pytest.approx(0, abs=1e-6)
        assert np.isfinite(float(loss.forward(sure, 1 - sure, None, False)))
    for wrong in (
        lambda: losses.BinaryFocalCrossentropy(gamma=-1), lambda: losses.BinaryFocalCrossentropy(alpha=1.1),
        lambda: losses.CategoricalFocalCrossentropy(label_smoothing=2), lambda: losses.Tversky(alpha=-0.1),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="must be a number in"):
            wrong()
    for kind in (losses.BinaryFocalCrossentropy, losses.CategoricalFocalCrossentropy, losses.Tversky, losses.Dice):
        assert float(kind(reduction="sum", name="mine").forward(sure, sure, None, False)) == pytest.approx(0, abs=1e-6)
        assert kind(name="mine").name == "mine"


@pytest.mark.parametrize("axis", [None, (1, 2, 3), (1, 2), -1])
@pytest.mark.parametrize("make", [losses.Dice, losses.Tversky])
def test_regions_of_every_image(make, axis):
    random = np.random.default_rng(0)
    t, p = (random.random((3, 4, 5, 2)) > 0.5).astype(float), random.random((3, 4, 5, 2))
    sums = [np.sum(part, axis=axis) for part in (t * p, t, p)]
    expected = 1 - 2 * sums[0] / (sums[1] + sums[2])  # Tversky's with two halves
    np.testing.assert_allclose(make(axis=axis, reduction="none")(t, p), expected, rtol=1e-6)
    loss = make.from_config(make(axis=axis).get_config())
    assert loss(t, p) == pytest.approx(expected.mean())
    assert float(loss.forward(t, p, None, False)) == pytest.approx(expected.mean())
    slopes, step = loss.backward(), np.zeros_like(p)
    step[1, 2, 3, 1] = 1e-6
    assert slopes[1, 2, 3, 1] == pytest.approx((loss(t, p + step) - loss(t, p - step)) / 2e-6, rel=1e-4)


def test_penalties_and_their_slopes():
    w = np.array([[1.5, -2.0], [0.0, 0.5]])
    sign, size, square = np.sign(w), np.abs(w).sum(), (w**2).sum()
    for made, penalty, slope in (
        (regularizers.l1(), 0.01 * size, 0.01 * sign),
        (regularizers.l1(0.3), 0.3 * size, 0.3 * sign),
        (regularizers.l2(), 0.01 * square, 0.02 * w),
        (regularizers.l2(0.3), 0.3 * square, 0.6 * w),
        (regularizers.l1_l2(), 0.01 * (size + square), 0.01 * sign + 0.02 * w),
        (regularizers.l1_l2(0.2, 0.3), 0.2 * size + 0.3 * square, 0.2 * sign + 0.6 * w),
        (regularizers.L1L2(0.2, 0.3), 0.2 * size + 0.3 * square, 0.2 * sign + 0.6 * w),
        (regularizers.get("l2"), 0.01 * square, 0.02 * w),
    ):
        assert float(made(w)) == pytest.approx(penalty)
        np.testing.assert_allclose(made.gradient(w), slope, atol=1e-12)


@pytest.mark.parametrize("mode", ["rows", "columns"])
def test_rows_or_columns_that_point_alike(mode, tmp_path):
    w = np.array([[1.5, -2.0, 0.3], [0.2, 0.5, 1.0]])
    rows = w if mode == "rows" else w.T
    cosines = [abs(a @ b) / np.linalg.norm(a) / np.linalg.norm(b) for a, b in itertools.combinations(rows, 2)]
    made = regularizers.OrthogonalRegularizer(0.3, mode)
    assert float(made(w)) == pytest.approx(0.3 * np.mean(cosines))
    slope = [(made(w + 1e-6 * d.reshape(w.shape)) - made(w - 1e-6 * d.reshape(w.shape))) / 2e-6 for d in np.eye(6)]
    np.testing.assert_allclose(made.gradient(w).ravel(), slope, atol=1e-8)
    assert float(regularizers.get("orthogonal_regularizer")(np.eye(3))) == 0
    with pytest.raises(ValueError, match="unknown OrthogonalRegularizer: mode 'columms'; did you mean 'columns'"):
        regularizers.OrthogonalRegularizer(0.3, "columms")
    with pytest.raises(ValueError, match=r"takes a matrix, got a weight of shape \(3,\)"):
        made(np.ones(3))
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    model = minitl.Sequential([minitl.Input((4,)), minitl.layers.Dense(3, kernel_regularizer=made)])
    for ending in (".keras", ".h5"):
        model.save(tmp_path / f"model{ending}")
        theirs = keras.saving.load_model(tmp_path / f"model{ending}")
        kernel = theirs.layers[-1].kernel
        penalty = float(theirs.layers[-1].kernel_regularizer(kernel))
        assert penalty == pytest.approx(float(made(model.get_weights()[0])), rel=1e-5)
        theirs.save(tmp_path / f"theirs{ending}")
        again = minitl.models.load_model(tmp_path / f"theirs{ending}").layers[-1].kernel_regularizer
        assert again.mode == mode and again.factor == pytest.approx(0.3)


def limits(name, shape=(300, 200), **arguments):
    """The largest value that an initializer draws, and their standard deviation."""
    values = getattr(initializers, name)(**arguments)(shape, np.random.default_rng(0))
    assert values.shape == shape and abs(values.mean()) < 0.01 * values.std()
    return np.abs(values).max(), values.std()


@pytest.mark.parametrize(
    ("name", "arguments", "deviation", "form"),
    [
        ("RandomNormal", {}, 0.05, "normal"),
        ("RandomUniform", {}, 0.05 / math.sqrt(3), "uniform"),
        ("TruncatedNormal", {}, 0.05 * 0.8796, "truncated"),
        ("VarianceScaling", {}, math.sqrt(1 / 300), "truncated"),
        ("VarianceScaling", {"scale": 3.0, "mode": "fan_out"}, math.sqrt(3 / 200), "truncated"),
        ("VarianceScaling", {"mode": "fan_avg", "distribution": "uniform"}, math.sqrt(1 / 250), "uniform"),
        ("VarianceScaling", {"distribution": "untruncated_normal"}, math.sqrt(1 / 300), "normal"),
        ("VarianceScaling", {"distribution": "normal"}, math.sqrt(1 / 300), "truncated"),
        ("GlorotUniform", {}, math.sqrt(1 / 250), "uniform"),
        ("GlorotNormal", {}, math.sqrt(1 / 250), "truncated"),
        ("HeUniform", {}, math.sqrt(2 / 300), "uniform"),
        ("HeNormal", {}, math.sqrt(2 / 300), "truncated"),
        ("LecunUniform", {}, math.sqrt(1 / 300), "uniform"),
        ("LecunNormal", {}, math.sqrt(1 / 300), "truncated"),
        ("TorchUniform", {}, math.sqrt(1 / 900), "uniform"),
    ],
)
def test_the_form_of_what_initializers_draw(name, arguments, deviation, form):
    most, spread = limits(name, **arguments)
    assert spread == pytest.approx(deviation, rel=0.01)
    if form == "normal":
        assert most > 3.5 * deviation
    else:  # a normal that is cut off at two has 0.8796 of its deviation
        assert most == pytest.approx(deviation * {"uniform": math.sqrt(3), "truncated": 2 / 0.8796}[form], rel=0.002)


def test_initializers_that_draw_nothing():
    drawn = np.random.default_rng(0)
    np.testing.assert_array_equal(initializers.Constant()((2, 3), drawn), np.zeros((2, 3)))
    np.testing.assert_array_equal(initializers.Constant([1.0, 2.0, 3.0])((2, 3), drawn), [[1, 2, 3]] * 2)
    np.testing.assert_array_equal(initializers.Identity()((2, 3), drawn), [[1, 0, 0], [0, 1, 0]])
    np.testing.assert_array_equal(initializers.Identity(2.0)((2, 2), drawn), [[2, 0], [0, 2]])
    assert initializers.fans(()) == (1, 1) and initializers.fans((5,)) == (5, 5) and initializers.fans((2, 3)) == (2, 3)
    assert drawn.random() == np.random.default_rng(0).random()
    for name in ("zeros", "zero", "ones", "one", "constant"):
        assert initializers.get(name)((2,), drawn).tolist() == [float(name.startswith("one"))] * 2
    for kind in (initializers.RandomNormal, initializers.TruncatedNormal):
        np.testing.assert_array_equal(kind(3.0, 0)((4,), drawn), [3.0] * 4)


def test_rare_classes_at_every_step():
    random = np.random.default_rng(0)
    p, t = random.random((2, 3, 4)), np.eye(4)[random.integers(0, 4, (2, 3))]
    for kind in (losses.CategoricalFocalCrossentropy, losses.BinaryFocalCrossentropy):
        steps = kind(reduction="none")(t, p)
        assert steps.shape == (2, 3)
        np.testing.assert_allclose(steps.ravel(), kind(reduction="none")(t.reshape(6, 4), p.reshape(6, 4)))


def test_a_function_of_a_shape_is_an_initializer():
    drawn = np.random.default_rng(0)

    def of_a_shape(shape, dtype, scale=2.0):
        assert dtype == "float32"
        return scale * np.ones(shape)

    np.testing.assert_array_equal(initializers.get(of_a_shape)((2, 2), drawn), [[2, 2]] * 2)
    np.testing.assert_array_equal(initializers.get(lambda shape: np.zeros(shape))((2,), drawn), [0, 0])
    given = initializers.get(lambda shape, generator: generator.random(shape))
    np.testing.assert_array_equal(given((3,), np.random.default_rng(1)), np.random.default_rng(1).random(3))


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("RandomNormal", {"stddev": -0.1}), ("RandomNormal", {"mean": math.nan}), ("RandomUniform", {"minval": math.inf}),
        ("RandomUniform", {"maxval": math.nan}), ("TruncatedNormal", {"stddev": -0.1}), ("TruncatedNormal", {"mean": math.inf}),
        ("Orthogonal", {"gain": math.nan}), ("Identity", {"gain": math.inf}), ("Dirac", {"gain": math.nan}),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(name, arguments):
    with pytest.raises(ValueError, match=f"{name}: {next(iter(arguments))} must be a number in"):
        getattr(initializers, name)(**arguments)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_large_logits_of_every_step(backend):
    logits = np.zeros((2, 3, 4), np.float32)
    logits[:, :, 1] = [[1000, -1000, 0], [5, 1000, -1000]]
    y = np.eye(4, dtype=np.float32)[[[1, 0, 2], [1, 1, 3]]]
    with use_backend(backend):
        loss = losses.CategoricalCrossentropy(from_logits=True, reduction=None)(y, logits)
    expected = [[0, np.log(3), np.log(4)], [np.log(1 + 3 * np.exp(-5)), 0, np.log(3)]]
    np.testing.assert_allclose(loss, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("backend", ["numpy", "numba"])
def test_where_the_logarithm_is_cut_off_the_gradient_is_zero(backend):
    p, y = np.array([[1e-9, 0.5, 1 - 1e-9, 1e-9]]), np.array([[1.0, 1.0, 0.0, 0.0]])
    with use_backend(backend):
        loss = losses.BinaryCrossentropy()
        value = loss.forward(y, p, None, False)
        found = loss.backward()
    expected = [-np.log(1e-7), np.log(2), -np.log(1e-7), 0]
    assert value == pytest.approx(np.mean(expected), rel=1e-6)
    np.testing.assert_allclose(found, [[0, -2 / 4, 0, 1 / 4]], rtol=1e-6)


@pytest.mark.parametrize("label", [3, -1])
def test_a_label_next_to_the_classes_is_none(backend, label):
    shares = np.full((2, 3), 1 / 3)
    with pytest.raises(ValueError, match=f"label {label} is outside the 3 classes 0 .. 2"):
        losses.SparseCategoricalCrossentropy()(np.array([0, label]), shares)


def test_a_share_of_one_is_cut_off_a_little_below():
    loss = losses.CategoricalFocalCrossentropy(alpha=1, gamma=0)(np.array([[0.0, 1.0]]), np.array([[0.0, 1.0]]))
    assert loss == pytest.approx(-np.log(1 - 1e-7))


@pytest.mark.parametrize("factors", [(2.0, 3.0), (1.0, -1.0), (-1.0, 2.0, 1.0)])
def test_a_sum_weighs_its_inputs(backend, factors):
    parts = [np.random.default_rng(k).normal(size=(2, 3)) for k in range(len(factors))]
    y, cache = op("add").forward(*parts, factors=factors)
    np.testing.assert_allclose(y, sum(f * part for f, part in zip(factors, parts, strict=True)), rtol=1e-12)
    for f, dx in zip(factors, op("add").backward(np.ones((2, 3)), cache), strict=True):
        np.testing.assert_array_equal(dx, np.full((2, 3), f))


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_row_of_zeros_costs_what_guessing_costs_and_moves_nothing(backend, dtype):
    p = np.array([[0, 0, 0, 0, 0], [0.1, 0.2, 0.3, 0.2, 0.2]], dtype)
    expected = [math.log(5), -math.log(0.3)]
    with use_backend(backend):
        for loss, labels in (
            (losses.SparseCategoricalCrossentropy(), np.array([1, 2])),
            (losses.CategoricalCrossentropy(), np.eye(5, dtype=dtype)[[1, 2]]),
        ):
            assert float(loss(labels, p)) == pytest.approx(np.mean(expected), rel=1e-5)
    for name, y in (
        ("sparse_categorical_cross_entropy", np.array([1, 2])),
        ("categorical_cross_entropy", np.eye(5, dtype=dtype)[[1, 2]]),
    ):
        with use_backend(backend):
            cache = op(name).forward(p, y)[1]
            g = op(name).backward(1.0, cache)
        assert np.isfinite(g).all() and not g[0].any() and g[1].any()


@pytest.mark.parametrize("aggregation", ["variance_weighted_average", "uniform_average"])
def test_r2_of_constant_targets_is_zero(aggregation):
    metric = metrics.R2Score(class_aggregation=aggregation)
    metric.update_state(np.full((4, 2), 3.0), np.arange(8.0).reshape(4, 2))
    assert float(metric.result()) == 0.0


@pytest.mark.parametrize(
    "name", ["CategoricalCrossentropy", "BinaryCrossentropy", "CategoricalFocalCrossentropy", "CosineSimilarity"]
)
@pytest.mark.parametrize("axis", [1, -2, 0])
def test_rows_may_lie_along_any_axis(name, axis):
    keras = pytest.importorskip("keras")
    t, p = (drawn / drawn.sum(axis=axis, keepdims=True) for drawn in np.random.default_rng(0).random((2, 3, 4, 5)))
    for reduction in ("sum_over_batch_size", "sum", "none"):
        ours, theirs = (getattr(kind, name)(axis=axis, reduction=reduction) for kind in (losses, keras.losses))
        expected = keras.ops.convert_to_numpy(theirs(t, p))
        np.testing.assert_allclose(ours(t, p), expected, rtol=1e-5)
        again = type(ours).from_config(ours.get_config())
        np.testing.assert_array_equal(again(t, p), ours(t, p))


def test_a_network_learns_classes_along_an_axis_in_the_middle():
    x = np.random.default_rng(0).random((6, 4, 5))
    model = Sequential([Input((4, 5)), Dense(5, activation="softmax")])
    y = np.eye(4)[np.arange(30).reshape(6, 5) % 4].transpose(0, 2, 1)  # (N, classes, 5)
    for loss in (losses.CategoricalCrossentropy(axis=1), losses.CategoricalCrossentropy(axis=1, reduction="sum")):
        model.compile("sgd", loss)
        assert check_gradients(model, x, y)
    sparse = losses.SparseCategoricalCrossentropy(axis=1)
    p = model(x) / model(x).sum(axis=1, keepdims=True)
    assert sparse(np.arange(30).reshape(6, 5) % 4, p) == pytest.approx(losses.CategoricalCrossentropy(axis=1)(y, p), rel=1e-5)
    with pytest.raises(ValueError, match="axis must be a whole number, got None"):
        losses.CategoricalCrossentropy(axis=None)
