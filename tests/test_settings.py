"""Settings that are not what they should be are refused when they are given, by every class that a program can make."""

import inspect
import math

import numpy as np
import pytest

from minitl import callbacks, constraints, initializers, layers, losses, optimizers, regularizers, schedules
from minitl.errors import check_numbers, numeric, positive, unknown
from minitl.models import Sequential

NEEDED = {
    "boundaries": [1], "decay_rate": 0.9, "dims": (1,), "equation": "ab,bc->ac",
    "factor": 0.1, "function": "exp", "height_factor": 0.1, "kernel_size": 3,
    "layer": layers.Dense(3), "rate": 0.5, "scale": 0.5, "schedule": math.sqrt, "size": 2, "stddev": 0.1, "target_shape": (1,),
    "values": [1.0, 2.0], "width_factor": 0.1, "operation": "add", "layers": None,
}  # fmt: skip
FREE = {"verbose", "implementation", "axis", "input_length"}  # without meaning here, or checked against the shape that comes
MODULES = (layers, optimizers, regularizers, losses, constraints, initializers, schedules, callbacks)


def classes():
    """Class and the arguments that it cannot do without."""
    for module in MODULES:
        for name, cls in sorted(vars(module).items()):
            if not inspect.isclass(cls) or cls.__name__ != name or not cls.__module__.startswith("minitl"):
                continue
            taken = inspect.signature(cls).parameters.values()
            plain = [p for p in taken if p.kind not in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
            needed = {p.name: NEEDED.get(p.name, 3) for p in plain if p.default is p.empty}
            try:
                cls(**needed)
            except (TypeError, ValueError, NotImplementedError):
                continue
            yield module, cls, needed, plain


CLASSES = {f"{module.__name__}.{cls.__name__}": (cls, needed, plain) for module, cls, needed, plain in classes()}


def test_most_classes_are_tried():
    assert len(CLASSES) > 130
    assert sum(any(numbers(name)) for name in CLASSES) > 80


def numbers(name):
    """The parameters of a class that should be numbers."""
    for parameter in CLASSES[name][2]:
        annotation = str(parameter.annotation)
        if ("float" in annotation or "int" in annotation) and "bool" not in annotation and parameter.name not in FREE:
            yield parameter.name


@pytest.mark.parametrize("name", sorted(name for name in CLASSES if any(numbers(name))))
def test_what_is_no_number_is_refused(name):
    cls, needed, _ = CLASSES[name]
    for parameter in numbers(name):
        for wrong in ("x", [1, "a"], math.nan):
            with pytest.raises((TypeError, ValueError)):
                cls(**{**needed, parameter: wrong})


@pytest.mark.parametrize(
    ("interval", "inside", "outside"),
    [
        (
            "[0, 1)",
            [0, 0.5, np.float32(0.25), False, np.int64(0), np.array(0.5)],
            [-1e-9, 1, 2, math.nan, math.inf, "0", None, [0], 1j],
        ),
        ("(0, 1]", [1, 0.5], [0, 1.0000001]),
        ("(0, inf) or None", [1e300, None, 1], [0, -1, math.inf, math.nan, "x"]),
        ("(-inf, inf)", [-1e300, 0], [math.inf, -math.inf, None]),
        ("[1, inf)", [1, 1.5], [0.999, {}]),
    ],
)
def test_intervals(interval, inside, outside):
    for value in inside:
        check_numbers(object(), interval, rate=value)
    for value in outside:
        with pytest.raises(ValueError, match=r"object: rate must be a number in [\[(].*, got "):
            check_numbers(object(), interval, rate=value)
    with pytest.raises(ValueError, match="second must be"):
        check_numbers(object(), interval, first=inside[0], second=outside[0])


def test_counts_and_dtypes():
    assert positive("units", np.int64(3)) == 3 and type(positive("units", np.int64(3))) is int
    for wrong in (0, -1, True, 1.0, "3", None):
        with pytest.raises(ValueError, match=r"units must be a whole number of at least 1, got"):
            positive("units", wrong)
    with pytest.raises(ValueError, match=r"dilation_rate must be less than 2\*\*31"):
        layers.Conv2D(3, 3, dilation_rate=10**30)
    with pytest.raises(ValueError, match="Dense: cannot compute in bool"):
        layers.Dense(3, dtype="bool")
    assert layers.Input((3,), dtype="bool").dtype == np.bool_
    assert numeric(None, "float64") == np.float64 and numeric(None, bool) == np.bool_
    for wrong in ([], "text", "U3", object, "complex64", {"a": 1}, "datetime64"):
        with pytest.raises(ValueError, match="Dense: dtype must be one of numbers"):
            layers.Dense(3, dtype=wrong)


def test_input_shapes():
    for wrong in (784, "x", {}, {28}):
        with pytest.raises(ValueError, match="Dense: input_shape must be a tuple, one sample's without the batch"):
            layers.Dense(3, input_shape=wrong)
    for wrong in ((28.0,), (-1,), (0, 3), ("a",)):
        with pytest.raises(ValueError, match="Dense: input_shape: an entry must be a whole number of at least 1"):
            layers.Dense(3, input_shape=wrong)
    with pytest.raises(ValueError, match="an entry must be"):
        layers.Dense(3, input_dim=-5)
    assert layers.Dense(3, input_shape=[None, 4]).declared_shape == (None, None, 4)


@pytest.mark.parametrize(
    "make",
    [
        lambda: optimizers.SGD(multipliers={"conv*": -1}),
        lambda: optimizers.SGD(multipliers={"conv*": "x"}),
        lambda: schedules.PiecewiseLinear([0, 1], [0.1, math.nan]),
        lambda: schedules.PiecewiseConstantDecay([-1], [0.1, 0.1]),
        lambda: schedules.PiecewiseConstantDecay([1], [0.1, -0.1]),
        lambda: schedules.CosineDecay(0.1, 0),
        lambda: schedules.OneCycle(0.1, 10, rise=1.5),
        lambda: schedules.SlantedTriangular(0.1, 10, ratio=0),
        lambda: schedules.WarmUp(0.1, 0),
        lambda: initializers.Constant(np.array([1.0, math.nan])),
        lambda: initializers.Constant("x"),
        lambda: constraints.MaxNorm(axis="x"),
        lambda: constraints.MaxNorm(axis=[0, 1.5]),
        lambda: layers.GroupNormalization(groups=1.5),
        lambda: layers.Rescaling(1.0, offset=math.nan),
        lambda: layers.RandomFlip(seed="x"),
        lambda: layers.TextVectorization(max_tokens=0),
        lambda: callbacks.ReduceLROnPlateau(patience=-1),
        lambda: callbacks.EarlyStopping(baseline="x"),
    ],
)
def test_what_is_outside_is_refused(make):
    with pytest.raises(ValueError, match=r"must be|finite"):
        make()


def test_what_is_at_the_edge_is_taken():
    optimizers.SGD(0, momentum=1)
    optimizers.Adam(beta_1=0, beta_2=1, epsilon=0, weight_decay=0)
    optimizers.SGD(multipliers={"conv*": 0})
    regularizers.L1L2(0, 0)
    initializers.Constant(np.ones((2, 3)))
    constraints.MaxNorm(0, axis=[0, 1, 2])
    callbacks.EarlyStopping(patience=0, min_delta=-1, baseline=0)
    schedules.OneCycle(0, 1, rise=0)
    schedules.SlantedTriangular(0.1, 1, rise=1)
    assert layers.GroupNormalization(-1).groups == -1
    with pytest.raises(TypeError, match=r"LearningRateScheduler: schedule must be a function"):
        callbacks.LearningRateScheduler(0.1)
    with pytest.raises(TypeError, match="multipliers must be a dict"):
        optimizers.SGD(multipliers=[("conv*", 1)])


def test_a_model_of_no_numbers_is_refused():
    model = Sequential([layers.Dense(2, input_shape=(3,))])
    with pytest.raises(ValueError, match="dtype must be one of numbers"):
        model.astype("text")
    with pytest.raises(ValueError, match="dtype must be one of numbers"):
        Sequential.from_config({**model.get_config(), "dtype": []})


def test_counts_have_a_limit():
    assert positive("units", 2**31 - 1) == 2**31 - 1
    for count in (2**31, 2**40):
        with pytest.raises(ValueError, match=r"units must be less than 2\*\*31"):
            positive("units", count)


def test_names_near_to_what_came():
    known = ["conv1", "conv2", "conv3", "conv4", "dense"]
    near, _, all_of_them = str(unknown("layer", "Conv5", known)).partition(" known: ")
    assert (
        near.count("conv") == 3 and all_of_them == "conv1, conv2, conv3, conv4, dense"
    )  # not all that are near, and a short list
    many = [f"layer{n}" for n in range(13)]
    assert str(unknown("layer", "layer99", many)).endswith("?") and str(unknown("layer", "x", many)).endswith("layer9")
    assert str(unknown("layer", "x", known)) == "unknown layer 'x'; known: conv1, conv2, conv3, conv4, dense"
