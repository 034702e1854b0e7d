"""Every operation's gradient against differences of its forward pass, in float64, in both backends."""

import importlib

import numpy as np
import pytest
from cases import CASES, forward_arguments
from hypothesis import given, settings
from hypothesis import strategies as st

from minitl.gradcheck import check_gradients

# How many leading arguments of forward a gradient exists for; all of them for operations that merge.
DIFFERENTIABLE = {
    "add": None, "average_pool2d": 1, "batch_norm": 3, "binary_cross_entropy": 1, "categorical_cross_entropy": 1,
    "concatenate": None, "conv2d": 3, "conv2d_transpose": 3, "dense": 3, "depthwise_conv2d": 3, "dot": 2, "dropout": 1, "elu": 1,
    "crf": 1, "gru": 4, "lstm": 3, "simple_rnn": 3,
    "embedding": 1, "exponential": 1, "flatten": 1, "gated": 1, "global_average_pool2d": 1, "group_norm": 3, "hard_sigmoid": 1,
    "leaky_relu": 1, "max_pool2d": 1, "maximum": None, "mean_squared_error": 1, "multiply": None, "prelu": 2, "relu": 1,
    "sigmoid": 1, "softmax": 1, "softplus": 1, "sparse_categorical_cross_entropy": 1, "tanh": 1, "upsample2d": 1,
}  # fmt: skip
KINKED = ("relu", "max_pool2d", "maximum", "leaky_relu", "prelu", "elu", "hard_sigmoid", "gated", "simple_rnn")


def problem(name, folder, arguments):
    """A pair of functions of the arguments that have a gradient, and those arguments."""
    module = importlib.import_module(f"minitl.{folder}.{name}")
    count = len(arguments) if DIFFERENTIABLE[name] is None else DIFFERENTIABLE[name]
    present = [i for i in range(count) if arguments[i] is not None]

    def forward(*inputs):
        full = list(forward_arguments(name, arguments))
        for i, array in zip(present, inputs, strict=True):
            full[i] = array
        if name == "batch_norm" and full[-1]:
            full[3], full[4] = module.statistics(full[0])
        return module.forward(*full)

    def backward(dy, cache):
        result = module.backward(dy, cache)
        result = result if isinstance(result, tuple) else (result,)
        return tuple(result[i] for i in present)

    return (forward, backward), [arguments[i] for i in present]


@pytest.mark.parametrize("folder", ["ops", "kernels"])
@pytest.mark.parametrize("name", sorted(CASES))
@settings(max_examples=15)
@given(data=st.data())
def test_gradients_are_right(name, folder, data):
    arguments = data.draw(CASES[name](np.float64))
    pair, inputs = problem(name, folder, arguments)
    report = check_gradients(pair, *inputs, samples=30)
    kinked = name in KINKED
    assert report.tensors and not any(finding.failure for finding in report.findings), report
    for tensor in report.tensors:
        assert tensor.worst <= 1e-6, report
        assert tensor.ok or kinked, report
    assert sum(tensor.checked for tensor in report.tensors) > 0 or kinked


@pytest.mark.parametrize("name", ["sigmoid", "tanh", "softmax", "conv2d", "dense", "average_pool2d", "global_average_pool2d"])
@settings(max_examples=15)
@given(data=st.data())
def test_complex_steps_agree_to_the_last_digits(name, data):
    """For analytic operations, Im f(x + ih) / h is the derivative without any cancellation."""
    arguments = data.draw(CASES[name](np.float64))
    (forward, backward), inputs = problem(name, "ops", arguments)
    y, cache = forward(*inputs)
    generator = np.random.default_rng(0)
    dy = generator.standard_normal(y.shape)
    for i, gradient in enumerate(backward(dy, cache)):
        direction = generator.standard_normal(inputs[i].shape)
        moved = [array.astype(np.complex128) for array in inputs]
        moved[i] = moved[i] + 1e-30j * direction
        exact = (dy * forward(*moved)[0].imag / 1e-30).sum()
        assert (gradient * direction).sum() == pytest.approx(exact, rel=1e-12, abs=1e-12 * np.abs(gradient).sum())


@pytest.mark.parametrize("folder", ["ops", "kernels"])
@pytest.mark.parametrize("name", ["conv2d", "dense", "average_pool2d", "global_average_pool2d", "flatten"])
@settings(max_examples=15)
@given(data=st.data())
def test_backward_is_the_adjoint_of_forward(name, folder, data):
    """Linear operations without bias: <f(v), u> = <v, backward(u)>."""
    module = importlib.import_module(f"minitl.{folder}.{name}")
    arguments = list(data.draw(CASES[name](np.float64)))
    if name in ("conv2d", "dense"):
        arguments[2] = None
    v = arguments[0]
    y, cache = module.forward(*arguments)
    u = np.random.default_rng(1).standard_normal(y.shape)
    dx = module.backward(u, cache)
    dx = dx[0] if isinstance(dx, tuple) else dx
    assert (y * u).sum() == pytest.approx((v * dx).sum(), rel=1e-11, abs=1e-9)
