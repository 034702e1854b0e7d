"""Update rules against the formulas, schedules, clipping, decay."""

import copy
import math
import pickle

import numpy as np
import pytest

from minitl import optimizers, schedules
from minitl.backend import use_backend
from minitl.layers import Dense, Input
from minitl.models import Sequential, load_model
from minitl.optimizers import SGD, Adam, AdamW, RMSprop
from minitl.schedules import CosineDecay


def steps(optimizer, gradients, w=1.0):
    """A single number, moved by a list of gradients."""
    array = np.array([w], float)
    path = []
    for g in gradients:
        optimizer.apply([("w", array, np.array([g], float))])
        path.append(float(array[0]))
    return path


def test_a_rate_is_read_and_assigned_as_a_variable():
    optimizer = SGD(0.1)
    assert optimizer.learning_rate.numpy() == 0.1
    optimizer.learning_rate.assign(0.5)
    assert optimizer.learning_rate == 0.5


def test_sgd():
    assert steps(SGD(0.1), [1, 2]) == pytest.approx([0.9, 0.7])
    assert steps(SGD(0.1, momentum=0.5), [1, 2]) == pytest.approx([0.9, 0.9 + (0.5 * -0.1 - 0.2)])
    v1, v2 = -0.1, 0.5 * -0.1 - 0.2
    w1 = 1 + 0.5 * v1 - 0.1
    assert steps(SGD(0.1, momentum=0.5, nesterov=True), [1, 2]) == pytest.approx([w1, w1 + 0.5 * v2 - 0.2])


def test_adam():
    m = v = 0.0
    w, expected = 1.0, []
    for t, g in enumerate([1.0, -3.0, 0.5], 1):
        m, v = 0.9 * m + 0.1 * g, 0.99 * v + 0.01 * g * g
        w -= 0.1 * math.sqrt(1 - 0.99**t) / (1 - 0.9**t) * m / (math.sqrt(v) + 1e-7)
        expected.append(w)
    assert steps(Adam(0.1, beta_2=0.99), [1.0, -3.0, 0.5]) == pytest.approx(expected, rel=1e-12)
    assert steps(Adam(0.1), [123.0])[0] == pytest.approx(0.9)  # the first step has the length of the rate


def test_rmsprop():
    v = 0.1 * 4
    w1 = 1 - 0.01 * 2 / math.sqrt(v + 1e-7)
    v = 0.9 * v + 0.1
    step2 = 0.01 / math.sqrt(v + 1e-7)
    assert steps(RMSprop(0.01), [2, 1]) == pytest.approx([w1, w1 - step2])
    assert steps(RMSprop(0.01, momentum=0.5), [2, 1]) == pytest.approx([w1, w1 - (0.5 * (1 - w1) + step2)])


@pytest.mark.parametrize("backend", ["numba", "numpy"])
def test_the_largest_mean_square_of_amsgrad(backend):
    m = v = largest = 0.0
    w, expected, gradients = 1.0, [], [1.0, -3.0, 0.5, 0.01, 0.02]
    for t, g in enumerate(gradients, 1):
        m, v = 0.9 * m + 0.1 * g, 0.5 * v + 0.5 * g * g
        largest = max(v, largest)
        w -= 0.1 * math.sqrt(1 - 0.5**t) / (1 - 0.9**t) * m / (math.sqrt(largest) + 1e-7)
        expected.append(w)
    assert largest > 4 * v
    with use_backend(backend):
        assert steps(Adam(0.1, beta_2=0.5, amsgrad=True), gradients) == pytest.approx(expected, rel=1e-12)
        decayed = steps(AdamW(0.1, beta_2=0.5, amsgrad=True, weight_decay=0.0), gradients)
    assert decayed == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.5])
def test_the_mean_that_rmsprop_takes_out(momentum):
    v = a = u = 0.0
    w, expected, gradients = 1.0, [], [2.0, 1.0, -0.5]
    for g in gradients:
        v, a = 0.9 * v + 0.1 * g * g, 0.9 * a + 0.1 * g
        u = momentum * u + 0.01 * g / math.sqrt(v - a * a + 1e-7)
        w -= u
        expected.append(w)
    assert steps(RMSprop(0.01, momentum=momentum, centered=True), gradients) == pytest.approx(expected, rel=1e-12)
    array = np.ones(1, np.float32)  # where all gradients are alike, rounding makes v - a^2 negative
    rule = RMSprop(0.01, rho=0.5, centered=True)
    for _ in range(100):
        rule.apply([("w", array, np.array([1234.5], np.float32))])
    assert np.isfinite(array).all()


@pytest.mark.parametrize("make", [SGD, Adam, RMSprop, AdamW])
def test_weight_decay_is_decoupled(make):
    assert steps(make(0.1, weight_decay=0.5), [0.0])[0] == pytest.approx(0.95)


def test_adamw_decays_by_default():
    assert steps(AdamW(0.1), [0.0])[0] == pytest.approx(1 - 0.1 * 0.004)
    assert steps(Adam(0.1), [0.0])[0] == 1.0


def test_clipping():
    w = [np.zeros(2), np.zeros(2)]
    g = [np.array([3.0, 4.0]), np.array([0.0, 12.0])]

    def move(**limits):
        copies = [a.copy() for a in w]
        SGD(1.0, **limits).apply([(str(i), a, b) for i, (a, b) in enumerate(zip(copies, g, strict=True))])
        return [(-a).tolist() for a in copies]

    assert move(clipvalue=3.5) == [[3, 3.5], [0, 3.5]]
    assert move(clipnorm=5.0) == [[3, 4], [0, 5]]
    assert np.allclose(move(global_clipnorm=6.5), [[1.5, 2], [0, 6]])
    assert g[0].tolist() == [3, 4]


@pytest.mark.parametrize("name", ["sgd", "Adam", "adamw", "rmsprop", "RMSprop"])
def test_names(name):
    assert type(optimizers.get(name)).__name__.lower() == name.lower()


def test_old_names():
    assert Adam(lr=0.5).learning_rate == 0.5
    optimizer = SGD(0.1)
    optimizer.lr = 0.2
    assert optimizer.learning_rate == 0.2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: SGD(-1), r"learning_rate must be a number in \[0, inf\), got -1"),
        (lambda: SGD(momentum=2), "momentum"),
        (lambda: Adam(clipnorm=0), r"clipnorm must be a number in \(0, inf\) or None"),
        (lambda: optimizers.get("adm"), "did you mean 'adam'"),
    ],
)
def test_errors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


SCHEDULES = {
    "Constant": (0.1,), "CosineDecay": (1.0, 10, 0.1), "CosineDecayRestarts": (1.0, 10),
    "ExponentialDecay": (1.0, 5, 0.5), "InverseTimeDecay": (1.0, 5, 0.5),
    "LinearDecay": (1.0, 10), "OneCycle": (1.0, 100), "PiecewiseConstantDecay": ([3, 6], [1.0, 0.5, 0.1]),
    "PiecewiseLinear": ([0, 3, 9], [0.1, 1.0, 0.2]), "PolynomialDecay": (1.0, 10), "SlantedTriangular": (1.0, 20),
    "StepDecay": (1.0, 10, 0.5), "WarmUp": (schedules.LinearDecay(1.0, 10), 4),
}  # fmt: skip


@pytest.mark.parametrize(
    "name", sorted(cls.__name__ for cls in schedules.Schedule.__subclasses__() if cls.__module__ == schedules.__name__)
)
def test_every_schedule_is_saved_with_its_model(name, tmp_path):
    schedule = getattr(schedules, name)(*SCHEDULES[name])
    model = Sequential([Input((3,)), Dense(2)])
    model.compile(SGD(schedule), "mse")
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz").optimizer.learning_rate
    assert [again(step) for step in range(0, 30, 3)] == [schedule(step) for step in range(0, 30, 3)]


def test_schedules():
    assert schedules.Constant(0.1)(99) == 0.1
    step = schedules.StepDecay(1.0, 10, 0.5)
    assert [step(0), step(9), step(10), step(25)] == [1, 1, 0.5, 0.25]
    line = schedules.LinearDecay(1.0, 10)
    assert [line(0), line(5), line(10), line(99)] == [1, 0.5, 0, 0]
    cosine = schedules.CosineDecay(1.0, 10, alpha=0.1)
    assert [schedules.CosineDecay(0.0, 10, warmup_target=2.0, warmup_steps=4)(k) for k in (0, 1, 4, 9, 14, 99)] == pytest.approx(
        [0, 0.5, 2, 1, 0, 0]
    )
    again = schedules.CosineDecayRestarts(2.0, 4, t_mul=2.0, m_mul=0.5)
    assert [again(k) for k in (0, 2, 4, 8, 12)] == pytest.approx([2, 1, 1, 0.5, 0.5])
    assert [cosine(0), cosine(5), cosine(10), cosine(11)] == pytest.approx([1, 0.55, 0.1, 0.1])
    cycle = schedules.OneCycle(1.0, 100)
    rates = [cycle(t) for t in range(101)]
    assert rates[0] == pytest.approx(1 / 25)
    assert max(rates) == rates[30] == 1.0
    assert rates[100] == pytest.approx(1e-4)
    assert (np.diff(rates[:31]) > 0).all()
    assert (np.diff(rates[30:]) < 0).all()
    warm = schedules.WarmUp(schedules.LinearDecay(1.0, 10), 4)
    assert [warm(t) for t in (0, 1, 3, 4, 9, 14)] == pytest.approx([0.25, 0.5, 1, 1, 0.5, 0])


def test_a_schedule_is_followed_step_by_step():
    assert steps(SGD(schedules.StepDecay(1.0, 2, 0.1)), [1, 1, 1], w=0) == pytest.approx([-1, -2, -2.1])
    assert steps(SGD(lambda step: 1 / (1 + step)), [1, 1], w=0) == pytest.approx([-1, -1.5])


def test_a_new_parameter_of_an_old_name_starts_with_an_empty_memory():
    optimizer = SGD(0.1, momentum=0.9)
    w = np.ones(3)
    optimizer.apply([("dense/kernel", w, np.ones(3))])
    new = np.ones(3)
    optimizer.apply([("dense/kernel", new, np.zeros(3))])
    np.testing.assert_array_equal(new, 1)


def test_float32_stays_float32():
    for make in (lambda: SGD(0.1, momentum=0.9), Adam, RMSprop, AdamW):
        model = Sequential([Input((3,)), Dense(2, kernel_regularizer="l1")])
        model.compile(make(), "mse")
        model.optimizer.clipnorm = 1.0
        model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
        assert all(w.dtype == np.float32 for w in model.weights)
        assert all(m.dtype in (np.float32, np.int64) for d in model.optimizer.memory.values() for m in d.values())


@pytest.mark.parametrize("make", [lambda: Adam(1e-3), lambda: SGD(1e-2, momentum=0.9), lambda: RMSprop(1e-3, momentum=0.9)])
def test_means_whose_gradients_have_stopped_end_at_zero_in_the_kernel_and_move_no_weight(make):
    results = {}
    for backend in ("numba", "numpy"):
        optimizer, w = make(), np.linspace(-1, 1, 64, dtype=np.float32)
        with use_backend(backend):
            for step in range(1500):
                optimizer.apply([("w", w, np.full(64, step < 3, np.float32))])
        results[backend] = w, optimizer.memory["w"]
    np.testing.assert_array_equal(results["numba"][0], results["numpy"][0])
    for name in ("m", "velocity", "momentum"):
        if name in results["numba"][1] and not (name == "velocity" and "momentum" in results["numba"][1]):
            assert not results["numba"][1][name].any()
    w = np.ones(3, np.float32)
    with use_backend("numba"):
        make().apply([("w", w, np.full(3, np.nan, np.float32))])
    assert np.isnan(w).all()


COPIES = {"deepcopy": copy.deepcopy, "pickle": lambda model: pickle.loads(pickle.dumps(model))}


@pytest.mark.parametrize("how", COPIES)
def test_training_a_copy_leaves_the_original_alone(how):
    x, y = np.ones((4, 3), np.float32), np.arange(4) % 2
    model = Sequential([Input((3,)), Dense(2)])
    model.compile(Adam(0.1), "sparse_categorical_crossentropy")
    model.train_on_batch(x, y)
    twin = COPIES[how](model)
    before = model.get_weights(), {path: {n: a.copy() for n, a in m.items()} for path, m in model.optimizer.memory.items()}
    twin.train_on_batch(x, y)
    for old, now in zip(before[0], model.get_weights(), strict=True):
        np.testing.assert_array_equal(now, old)
    for path, memory in before[1].items():
        for name, old in memory.items():
            np.testing.assert_array_equal(model.optimizer.memory[path][name], old)
    model.train_on_batch(x, y)  # and both go the same way
    for mine, theirs in zip(model.get_weights(), twin.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_settings_and_parameters_may_change_between_steps():
    """What a compiled step keeps from one call to the next must not outlive what it was made for."""

    def path_of(backend):
        with use_backend(backend):
            a, b = np.full(3, 1.0), np.full(2, -1.0)
            g, h = np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.7])
            optimizer, path = SGD(0.1), []
            for step in range(6):
                if step == 2:
                    optimizer.momentum = 0.9
                if step == 3:
                    optimizer.weight_decay = 0.1
                if step == 4:
                    b = np.full(2, 5.0)
                updates = [("a", a, g), ("b", b, h)]
                optimizer.apply(updates if step != 5 else updates[1:])
                path.append(np.concatenate([a, b]))
            return np.array(path)

    np.testing.assert_allclose(path_of("numba"), path_of("numpy"), rtol=1e-14)


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion"])
def test_what_a_rule_remembers_is_what_it_names(name):
    remembers(optimizers.get(name))


@pytest.mark.parametrize(
    "rule",
    [Adam(amsgrad=True), RMSprop(centered=True), RMSprop(centered=True, momentum=0.9)],
    ids=["amsgrad", "centered", "centered, momentum"],
)
def test_what_a_rule_remembers_beside_what_it_always_does(rule):
    remembers(rule)
    assert type(rule).from_config(rule.get_config()).remembered == rule.remembered


def remembers(rule):
    rule.apply([("dense/kernel", np.ones(3), np.ones(3))])
    assert set(rule.memory["dense/kernel"]) - {"t"} == set(rule.remembered)  # by these names files are checked


def test_what_can_be_remembered_of_a_weight():
    w, fits = np.ones((2, 3)), Adam().slot_fits
    assert fits("m", np.zeros((2, 3)), w)
    assert not fits("m", np.zeros(()), w) and not fits("m", np.full((2, 3), np.nan), w)
    assert fits("t", np.zeros((), np.int64), w) and not fits("t", np.zeros((2, 3)), w)
    assert fits("own", np.zeros(()), w) and fits("own", np.zeros((2, 3)), w)  # what a rule of the user's keeps
    assert not fits("own", np.zeros(3), w)


def test_the_rate_without_an_argument_and_what_does_not_decay():
    assert optimizers.Optimizer().learning_rate == SGD().learning_rate == 0.01
    rule, kernel, bias = SGD(0.1, weight_decay=0.5), np.ones(2), np.ones(2)
    rule.exclude_from_weight_decay(var_names=["bias"])
    rule.apply([("dense/kernel", kernel, np.zeros(2)), ("dense/bias", bias, np.zeros(2))])
    np.testing.assert_allclose(kernel, 0.95)
    np.testing.assert_array_equal(bias, 1)


def test_a_step_is_prepared_once_for_the_same_parameters_and_anew_for_others():
    optimizer, w, other = Adam(0.1), np.ones(3, "float32"), np.ones(3, "float32")
    optimizer.apply([("w", w, np.ones_like(w))])
    (prepared,) = optimizer._passes.values()
    optimizer.apply([("w", w, np.ones_like(w))])
    assert list(optimizer._passes.values()) == [prepared] and next(iter(optimizer._passes.values())) is prepared
    for updates in ([("w", other, w)], [("v", other, w)], [("v", other, w), ("w", w, w)]):
        optimizer.apply(updates)
        assert next(iter(optimizer._passes.values())) is not prepared
        (prepared,) = optimizer._passes.values()


@pytest.mark.parametrize("second", [np.ones(3), np.ones((3, 2), "float32")[:, 0], np.ones(3, "float16")])
def test_weights_that_no_kernel_takes_together_move_as_each_alone(second):
    first, gradients = np.ones(2, "float32"), [np.array([1, -2], "float32"), np.arange(3).astype(second.dtype)]
    alone = [first.copy(), second.copy()]
    together, each = Adam(0.1), [Adam(0.1), Adam(0.1)]
    for _ in range(3):
        together.apply([("a", first, gradients[0]), ("b", second, gradients[1])])
        for optimizer, weights, gradient in zip(each, alone, gradients, strict=True):
            optimizer.apply([("w", weights, gradient)])
    np.testing.assert_allclose(first, alone[0], rtol=1e-6)
    np.testing.assert_allclose(second, alone[1], rtol=1e-3 if second.dtype == np.float16 else 1e-6)


def test_a_rate_that_is_read_goes_into_a_pickle_as_a_number():
    rate = SGD(0.25).learning_rate
    for again in (pickle.loads(pickle.dumps(rate)), copy.deepcopy(rate)):
        assert type(again) is float and again == 0.25


@pytest.mark.parametrize("make", [lambda: SGD(0.1, momentum=0.9), lambda: Adam(0.1), lambda: SGD(CosineDecay(0.1, 10))])
def test_an_optimizer_that_has_forgotten_begins_anew(make):
    used, fresh = make(), make()
    gradient = np.array([1.0, -2.0], np.float32)
    other = np.ones(2, np.float32)
    for _ in range(3):
        used.apply([("w", other, gradient)])
    used.forget()
    assert used.iterations == 0 and not used.memory
    a, b = np.ones(2, np.float32), np.ones(2, np.float32)
    for _ in range(2):
        used.apply([("w", a, gradient)])
        fresh.apply([("w", b, gradient)])
    np.testing.assert_array_equal(a, b)


def test_optimizers_have_names_and_variables_and_are_found_by_any_spelling_of_their_class():
    assert optimizers.Adam().name == "adam" and optimizers.Adam(name="mine").name == "mine"
    assert optimizers.SGD.from_config(optimizers.SGD(name="mine").get_config()).name == "mine"
    assert "name" not in optimizers.SGD().get_config()
    made = optimizers.get({"class_name": "adam", "config": {"learning_rate": 0.5}})
    assert type(made) is optimizers.Adam and made.learning_rate.value == 0.5 == made.learning_rate.numpy()
    assert schedules.CosineDecay(0.1, 10, name="mine")(0) == 0.1
    model = Sequential([Input((3,)), Dense(2)])
    model.compile(made, "mse")
    model.train_on_batch(np.ones((4, 3)), np.ones((4, 2)))
    names = [variable.path for variable in made.variables]
    assert names[:2] == ["adam/iteration", "adam/learning_rate"] and {"adam/dense/kernel/m", "adam/dense/bias/v"} < set(names)
    assert int(made.variables[0]) == 1 and made.variables[names.index("adam/dense/kernel/m")].shape == (3, 2)


def test_lion_goes_where_its_mean_and_the_gradient_point_together():
    """m is 0.1 after the first step: 0.9 m + 0.1 g is 0.09 - 0.08, then 0.9 m + 0.1 g with m = 0.099 - 0.8 / 100."""
    assert steps(optimizers.Lion(0.5, beta_1=0.9, beta_2=0.9), [1, -0.8]) == pytest.approx([0.5, 0.0])
    assert steps(optimizers.Lion(0.5, beta_1=0.9, beta_2=0.9), [1, -1.0]) == pytest.approx([0.5, 1.0])
    assert steps(optimizers.Lion(0.5), [0, 0, 1]) == pytest.approx([1.0, 1.0, 0.5])  # what has no gradient yet stays


SETTINGS = [
    {"use_ema": True},
    {"use_ema": True, "ema_momentum": 0.5, "ema_overwrite_frequency": 2},
    {"use_ema": True, "ema_momentum": 0.8, "weight_decay": 0.1, "clipnorm": 0.5},
    {"gradient_accumulation_steps": 3},
    {"gradient_accumulation_steps": 2, "global_clipnorm": 0.3, "use_ema": True, "ema_momentum": 0.7},
]


@pytest.mark.parametrize("backend", ["numpy", "numba"])
@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: " ".join(f"{k}={v}" for k, v in s.items()))
@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad", "Adadelta", "Adamax", "Nadam", "Lion"])
def test_means_of_weights_and_gathered_gradients_are_keras_s(name, settings, backend):
    keras = pytest.importorskip("keras")
    draw = np.random.default_rng(3)
    start, gradients = draw.standard_normal((2, 3)), draw.standard_normal((7, 2, 3))
    theirs, variable = getattr(keras.optimizers, name)(0.1, **settings), keras.Variable(start, dtype="float64")
    ours, w = getattr(optimizers, name)(0.1, **settings), start.copy()
    with use_backend(backend):
        for g in gradients:
            theirs.apply([keras.ops.convert_to_tensor(g, "float64")], [variable])
            ours.apply([("w", w, g.copy())])
            np.testing.assert_allclose(w, variable.numpy(), rtol=1e-5, atol=1e-6)
    theirs.finalize_variable_values([variable])
    ours.finalize_variable_values([w])
    np.testing.assert_allclose(w, variable.numpy(), rtol=1e-5, atol=1e-6)


def averaged(**settings):
    model = Sequential([Input((4,)), Dense(5, activation="tanh", name="hidden"), Dense(2, name="out")])
    draw = np.random.default_rng(4)
    model.set_weights([draw.standard_normal(w.shape) for w in model.get_weights()])
    model.compile(Adam(0.05, use_ema=True, ema_momentum=0.6, **settings), "mse")
    return model, draw.standard_normal((12, 4)), draw.standard_normal((12, 2))


def test_fit_ends_with_the_means_of_the_weights():
    model, x, y = averaged()
    mean = None
    for _ in range(2):
        for rows in (slice(0, 6), slice(6, 12)):
            model.train_on_batch(x[rows], y[rows])
            now = [w.copy() for w in model.get_weights()]
            mean = now if mean is None else [0.6 * m + 0.4 * w for m, w in zip(mean, now, strict=True)]
    fitted, x, y = averaged()
    fitted.fit(x, y, batch_size=6, epochs=2, shuffle=False, verbose=0)
    for w, m, last in zip(fitted.get_weights(), mean, now, strict=True):
        np.testing.assert_allclose(w, m, rtol=1e-5, atol=1e-6)
        assert np.abs(w - last).max() > 1e-3


def test_means_leave_frozen_layers_alone():
    model, x, y = averaged()
    model.fit(x, y, verbose=0)
    model.layers[0].trainable = False
    frozen = [w.tobytes() for w in model.layers[0].get_weights()]
    model.fit(x, y, epochs=2, verbose=0)
    assert [w.tobytes() for w in model.layers[0].get_weights()] == frozen


@pytest.mark.parametrize("settings", [{"ema_overwrite_frequency": 3}, {"gradient_accumulation_steps": 2}], ids=str)
def test_means_and_gathered_gradients_are_saved_with_a_model(settings, tmp_path):
    model, x, y = averaged(**settings)
    for i in range(3):
        model.train_on_batch(x[3 * i : 3 * i + 3], y[3 * i : 3 * i + 3])
    model.save(tmp_path / "m.npz")
    again = load_model(tmp_path / "m.npz")
    assert again.optimizer.get_config() == model.optimizer.get_config()
    for m in (model, again):
        m.fit(x, y, batch_size=4, shuffle=False, verbose=0)
    assert [w.tobytes() for w in again.get_weights()] == [w.tobytes() for w in model.get_weights()]


@pytest.mark.parametrize(
    "settings", [{"ema_momentum": 1.5}, {"ema_overwrite_frequency": 0}, {"gradient_accumulation_steps": 1}], ids=str
)
def test_means_of_weights_are_asked_for_with_numbers_that_make_sense(settings):
    with pytest.raises(ValueError, match=f"Adam: {next(iter(settings))}"):
        Adam(use_ema=True, **settings)
