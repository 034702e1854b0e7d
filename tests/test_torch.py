"""PyTorch as a second opinion: forward and gradients, in float32, to 1e-4."""

import numpy as np
import pytest
from cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st

import minitl
from minitl.kernels import (
    average_pool2d,
    batch_norm,
    conv2d,
    conv2d_transpose,
    dense,
    depthwise_conv2d,
    group_norm,
    max_pool2d,
    sigmoid,
    softmax,
    tanh,
)
from minitl.kernels import sparse_categorical_cross_entropy as cross_entropy
from minitl.layers import Dense
from minitl.models import Sequential
from minitl.ops.window import reach, slide2d

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
F = torch.nn.functional


def close(ours, theirs):
    theirs = theirs.detach().numpy()
    scale = max(1.0, float(np.abs(theirs).max(initial=0)))
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * scale)


def tensors(*arrays):
    return [None if a is None else torch.tensor(a, requires_grad=True) for a in arrays]


def nchw(x):
    return x.permute(0, 3, 1, 2)


def padded(x, window, strides, padding, value=0.0):
    rows, columns = slide2d(x.shape, window, strides, padding)
    return lambda t: F.pad(nchw(t), (columns.before, columns.after, rows.before, rows.after), value=value)


def agree(ours, backward, theirs, leaves):
    """Compare y, and the gradients for one random dy."""
    y, cache = ours
    close(y, theirs)
    dy = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
    theirs.backward(torch.tensor(dy))
    gradients = backward(dy, cache)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    for gradient, leaf in zip(gradients, leaves, strict=True):
        if leaf is not None:
            close(gradient, leaf.grad)


@given(data=st.data())
def test_conv2d(data):
    x, kernel, bias, strides, padding, dilation, groups = (*data.draw(CASES["conv2d"](np.float32)), (1, 1), 1)[:7]
    leaves = tensors(x, kernel, bias)
    images = padded(x, reach(kernel.shape, dilation), strides, padding)(leaves[0])
    theirs = F.conv2d(images, leaves[1].permute(3, 2, 0, 1).contiguous(), leaves[2], strides, 0, dilation, groups).permute(
        0, 2, 3, 1
    )
    agree(conv2d.forward(x, kernel, bias, strides, padding, dilation, groups), conv2d.backward, theirs, leaves)


@given(data=st.data())
def test_depthwise_conv2d(data):
    x, kernel, bias, strides, padding, dilation = data.draw(CASES["depthwise_conv2d"](np.float32))
    leaves = tensors(x, kernel, bias)
    images = padded(x, reach(kernel.shape, dilation), strides, padding)(leaves[0])
    channels = x.shape[3]
    weights = leaves[1].permute(2, 3, 0, 1).reshape(-1, 1, *kernel.shape[:2])
    theirs = F.conv2d(images, weights, leaves[2], strides, 0, dilation, channels).permute(0, 2, 3, 1)
    agree(depthwise_conv2d.forward(x, kernel, bias, strides, padding, dilation), depthwise_conv2d.backward, theirs, leaves)


@given(data=st.data())
def test_conv2d_transpose_without_padding(data):
    x, kernel, bias, strides, _, more = data.draw(CASES["conv2d_transpose"](np.float32))
    if more is None:
        shape = kernel.shape
        kernel = kernel if all(k >= s for k, s in zip(shape, strides, strict=False)) else np.ones((4, 4, *shape[2:]), "f")
    leaves = tensors(x, kernel, bias)
    weights = leaves[1].permute(3, 2, 0, 1).contiguous()
    theirs = F.conv_transpose2d(nchw(leaves[0]), weights, leaves[2], strides, 0, more or 0).permute(0, 2, 3, 1)
    agree(conv2d_transpose.forward(x, kernel, bias, strides, "valid", more), conv2d_transpose.backward, theirs, leaves)


@given(data=st.data())
def test_conv2d_transpose_with_the_same_padding_at_both_ends(data):
    x, *_ = data.draw(CASES["conv2d_transpose"](np.float32))
    kernel = np.random.default_rng(0).normal(size=(3, 5, 4, x.shape[3])).astype(np.float32)
    leaves = tensors(x, kernel, None)
    weights = leaves[1].permute(3, 2, 0, 1).contiguous()
    theirs = F.conv_transpose2d(nchw(leaves[0]), weights, None, (2, 3), (1, 2)).permute(0, 2, 3, 1)
    agree(conv2d_transpose.forward(x, kernel, None, (2, 3), "same", (0, 0)), conv2d_transpose.backward, theirs, leaves)


@pytest.mark.parametrize(
    ("name", "theirs"),
    [
        ("relu6", F.relu6), ("elu", F.elu), ("selu", F.selu), ("gelu", F.gelu), ("silu", F.silu), ("hard_sigmoid", F.hardsigmoid),
        ("hard_silu", F.hardswish), ("softplus", F.softplus), ("leaky_relu", lambda t: F.leaky_relu(t, 0.2)),
    ],
)  # fmt: skip
def test_activations(name, theirs):
    from minitl.layers import Activation

    x = np.random.default_rng(0).standard_normal((7, 90)).astype(np.float32) * 4
    leaves = tensors(x)
    layer = Activation(name)
    y, cache = layer.compute(x, False)
    agree((y, cache), lambda dy, kept: layer.backpropagate(dy, kept, None)[0], theirs(leaves[0]), leaves)


@pytest.mark.parametrize("groups", [1, 2, 6])
def test_group_norm(groups):
    generator = np.random.default_rng(0)
    x, gamma, beta = (generator.standard_normal(s).astype(np.float32) for s in ((3, 5, 4, 6), (6,), (6,)))
    leaves = tensors(x, gamma, beta)
    theirs = F.group_norm(nchw(leaves[0]), groups, leaves[1], leaves[2], 1e-3).permute(0, 2, 3, 1)
    agree(group_norm.forward(x, gamma, beta, groups, 1e-3), group_norm.backward, theirs, leaves)
    leaves = tensors(x, gamma, beta)
    theirs = F.layer_norm(leaves[0], (6,), leaves[1], leaves[2], 1e-3)
    agree(group_norm.forward(x, gamma, beta, 1, 1e-3, "last"), group_norm.backward, theirs, leaves)


@given(data=st.data())
def test_dense(data):
    x, kernel, bias = data.draw(CASES["dense"](np.float32))
    leaves = tensors(x, kernel, bias)
    theirs = leaves[0] @ leaves[1] + (0 if bias is None else leaves[2])
    agree(dense.forward(x, kernel, bias), dense.backward, theirs, leaves)


@given(data=st.data())
def test_max_pool2d(data):
    x, window, strides, padding = data.draw(CASES["max_pool2d"](np.float32))
    leaves = tensors(x)
    images = padded(x, window, strides, padding, -np.inf)(leaves[0])
    theirs = F.max_pool2d(images, window, strides).permute(0, 2, 3, 1)
    agree(max_pool2d.forward(x, window, strides, padding), max_pool2d.backward, theirs, leaves)


@given(data=st.data())
def test_average_pool2d(data):
    x, window, strides, padding = data.draw(CASES["average_pool2d"](np.float32))
    leaves = tensors(x)
    pad = padded(x, window, strides, padding)
    inside = F.avg_pool2d(pad(torch.ones_like(leaves[0])), window, strides)  # padding is no part of our mean
    theirs = (F.avg_pool2d(pad(leaves[0]), window, strides) / inside).permute(0, 2, 3, 1)
    agree(average_pool2d.forward(x, window, strides, padding), average_pool2d.backward, theirs, leaves)


@pytest.mark.parametrize(("ours", "theirs"), [(sigmoid, torch.sigmoid), (tanh, torch.tanh)])
@settings(max_examples=10)
@given(data=st.data())
def test_elementwise(ours, theirs, data):
    (x,) = data.draw(CASES["tanh"](np.float32))
    leaves = tensors(x)
    agree(ours.forward(x), ours.backward, theirs(leaves[0]), leaves)


@given(data=st.data())
def test_softmax(data):
    (z,) = data.draw(CASES["softmax"](np.float32))
    leaves = tensors(z)
    agree(softmax.forward(z), softmax.backward, F.softmax(leaves[0], dim=-1), leaves)


@given(data=st.data())
def test_batch_norm(data):
    x, gamma, beta, *_ = data.draw(CASES["batch_norm"](np.float32))
    leaves = tensors(x, gamma, beta)
    channels_second = leaves[0].movedim(-1, 1)
    theirs = F.batch_norm(channels_second, None, None, leaves[1], leaves[2], training=True, eps=1e-3).movedim(1, -1)
    ours = batch_norm.forward(x, gamma, beta, *batch_norm.statistics(x), 1e-3, True)
    agree(ours, batch_norm.backward, theirs, leaves)


def test_cross_entropy():
    generator = np.random.default_rng(0)
    z, labels = generator.standard_normal((9, 5)).astype(np.float32) * 5, generator.integers(0, 5, 9)
    (leaf,) = tensors(z)
    theirs = F.cross_entropy(leaf, torch.tensor(labels))
    theirs.backward()
    loss, cache = cross_entropy.forward(z, labels, None, True)
    assert loss == pytest.approx(theirs.item(), rel=1e-5)
    close(cross_entropy.backward(1.0, cache), leaf.grad)


def test_the_classic_network_s_loss_and_gradients():
    from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
    from minitl.models import Sequential
    from minitl.objective import forward_loss, trained_layers

    model = Sequential([Input((32, 32, 3))])
    for filters in (32, 64, 128):
        model.add(Conv2D(filters, 3, activation="relu"))
        model.add(MaxPooling2D())
    for layer in (Flatten(), Dense(128, activation="relu"), Dense(10, activation="softmax")):
        model.add(layer)
    model.compile("sgd", "sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    x, labels = generator.standard_normal((7, 32, 32, 3)).astype(np.float32), generator.integers(0, 10, 7)

    leaves = tensors(*model.get_weights())
    t = nchw(torch.tensor(x))
    for i in range(3):
        t = F.max_pool2d(F.relu(F.conv2d(t, leaves[2 * i].permute(3, 2, 0, 1), leaves[2 * i + 1])), 2)
    t = F.relu(t.permute(0, 2, 3, 1).flatten(1) @ leaves[6] + leaves[7])
    theirs = F.cross_entropy(t @ leaves[8] + leaves[9], torch.tensor(labels))
    theirs.backward()
    assert model.test_on_batch(x, labels) == pytest.approx(theirs.item(), rel=1e-5)
    found = forward_loss(model, trained_layers(model), x, labels, None, training=True, keep=True)
    found.run.backward(found.output_gradients())
    gradients = [found.run.gradients[layer][name] for _, layer in model.named_layers() for name in layer.parameters]
    for gradient, leaf in zip(gradients, leaves, strict=True):
        np.testing.assert_allclose(gradient, leaf.grad.numpy(), rtol=0, atol=1e-5 * np.abs(leaf.grad.numpy()).max())


def test_loaders_of_pytorch_are_batches():
    data = torch.utils.data
    x, y = np.random.default_rng(0).normal(size=(20, 4)).astype(np.float32), np.arange(20) % 3
    loader = data.DataLoader(data.TensorDataset(torch.tensor(x), torch.tensor(y)), batch_size=6)
    models = []
    for _ in range(2):
        minitl.set_random_seed(0)
        model = Sequential([Dense(3, activation="softmax", input_shape=(4,))])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
        models.append(model)
    by_loader = models[0].fit(loader, validation_data=loader, epochs=2, verbose=0)
    by_arrays = models[1].fit(x, y, batch_size=6, shuffle=False, validation_data=(x, y), epochs=2, verbose=0)
    assert by_loader.history["loss"] == by_arrays.history["loss"]
    assert models[0].evaluate(loader, verbose=0) == pytest.approx(models[1].evaluate(x, y, verbose=0))
    assert np.array_equal(models[0].predict(loader), models[1].predict(x))
