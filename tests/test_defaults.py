"""What is left out means what it means in Keras: defaults of everything that has Keras's name."""

import importlib
import inspect

import pytest

from minitl import activations, callbacks, constraints, initializers, layers, losses, metrics, optimizers, regularizers, schedules
from minitl.models import Model, Sequential

PLACES = {
    "activations": activations, "callbacks": callbacks, "constraints": constraints, "initializers": initializers,
    "layers": layers, "losses": losses, "metrics": metrics, "optimizers": optimizers, "optimizers.schedules": schedules,
    "regularizers": regularizers,
}  # fmt: skip
OTHERWISE = {  # what Keras writes otherwise, or does so: docs/keras.md and docs/text.md
    "dtype", "name", "zero_output_for_mask", "PReLU.alpha_initializer", "compile.run_eagerly",
}  # fmt: skip


@pytest.fixture(scope="module")
def keras():
    pytest.importorskip("torch")
    return pytest.importorskip("keras")


@pytest.mark.parametrize("place", PLACES)
def test_defaults_are_keras_s(keras, place):
    theirs = keras
    for part in place.split("."):
        theirs = getattr(theirs, part)
    found = {}
    for name in dir(theirs):
        other, ours = getattr(theirs, name), getattr(PLACES[place], name, None)
        if not name.startswith("_") and callable(other) and callable(ours) and isinstance(other, type) == isinstance(ours, type):
            found[name] = compared(name, ours, other)
    assert sum(found.values()) >= 4, "nothing was compared"


@pytest.mark.parametrize(
    "name", ["fit", "evaluate", "predict", "compile", "train_on_batch", "test_on_batch", "summary", "save", "load_weights"]
)
def test_defaults_of_methods_are_keras_s(keras, name):
    for kind in (Model, Sequential):
        assert compared(name, getattr(kind, name), getattr(keras.Model, name))


MODULES = [
    *(f"datasets.{name}" for name in ("boston_housing", "california_housing", "imdb", "reuters")),
    *(f"applications.{name}" for name in (
        "densenet", "efficientnet", "inception_v3", "mobilenet", "mobilenet_v2", "mobilenet_v3", "resnet",
        "resnet_v2", "vgg16", "xception",
    )),
]  # fmt: skip


@pytest.mark.parametrize("module", MODULES)
def test_defaults_of_functions_in_modules_are_keras_s(keras, module):
    ours, theirs = importlib.import_module(f"minitl.{module}"), keras
    for part in module.split("."):
        theirs = getattr(theirs, part)
    shared = [name for name, made in vars(theirs).items() if inspect.isfunction(made) and hasattr(ours, name)]
    assert sum(compared(name, getattr(ours, name), getattr(theirs, name)) for name in shared), "nothing was compared"


def compared(name, ours, theirs) -> int:
    """How many defaults were compared."""
    ours, theirs = defaults(ours), defaults(theirs)
    shared = [key for key in ours.keys() & theirs.keys() if not {key, f"{name}.{key}"} & OTHERWISE]
    for key in shared:
        assert ours[key] == theirs[key], f"{name}: {key}={ours[key]!r}, in Keras {theirs[key]!r}"
    return len(shared)


def defaults(made):
    """The defaults of a function's arguments, or of a constructor's and its base classes'."""
    functions = [made]
    if isinstance(made, type):
        functions = [vars(cls)["__init__"] for cls in reversed(made.__mro__[:-1]) if "__init__" in vars(cls)]
    parameters = [p for function in functions for p in inspect.signature(function).parameters.values()]
    return {p.name: p.default for p in parameters if p.default is not p.empty}
