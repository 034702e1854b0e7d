"""Other programs' files: round trips that keep bits, the programs themselves as judges where they are, and bad files."""

import io
import json
import os
import pickle
import struct
import warnings
import zipfile

import numpy as np
import pytest
from networks import random_graph
from test_layers import LAYERS, with_moved_weights

import minitl
from minitl import applications, layers, losses, metrics, set_random_seed
from minitl.gradcheck import check_gradients
from minitl.interop import (
    export_onnx,
    import_onnx,
    keras_architecture,
    load_keras,
    load_keras_weights,
    load_safetensors,
    load_torch,
    read_torch,
    save_keras,
    save_keras_weights,
    save_safetensors,
    save_torch,
)
from minitl.layers import (
    Add,
    BatchNormalization,
    Conv2D,
    Dense,
    DepthwiseConv2D,
    Flatten,
    Input,
    MaxPooling2D,
    ReLU,
    ZeroPadding2D,
)
from minitl.models import Model, Sequential, load_model

h5py = pytest.importorskip("h5py", reason="interchange needs the extra interop")
onnx = pytest.importorskip("onnx")
pytest.importorskip("safetensors")
warnings.filterwarnings("ignore", category=DeprecationWarning, module="onnx")

NETWORKS = [
    "ResNet20",
    "LeNet5",
    "MobileNetV2",
    "MobileNet",
    "SqueezeNet",
    "EfficientNetLite0",
    "ResNet18",
    "ResNet50",
    "MobileNetV3Small",
]


def application(name):
    settings = {"weights": None}
    if name in ("MobileNetV2", "MobileNet"):
        settings["alpha"] = 0.35 if name == "MobileNetV2" else 0.25
    if name not in ("ResNet20", "LeNet5"):
        settings["input_shape"] = (48, 48, 3)
    return getattr(applications, name)(**settings)


def plain():
    """A network with what layouts differ in: depthwise, groups, a Dense behind a Flatten of images, a residual block."""
    inputs = Input((9, 7, 4))
    x = ReLU()(BatchNormalization(name="norm")(Conv2D(6, 3, padding="same", name="conv")(inputs)))
    y = Conv2D(6, 3, padding="same", groups=2, name="grouped")(x)
    x = Add()([x, y])
    x = DepthwiseConv2D(3, strides=2, depth_multiplier=2, padding="same", name="depthwise")(x)
    x = MaxPooling2D()(ZeroPadding2D(1)(x))
    return Model(inputs, Dense(5, activation="softmax", name="head")(Flatten()(x)))


def filled(model, seed=0):
    drawn = np.random.default_rng(seed)
    for _, layer in model.named_layers():
        for key, w in {**layer.parameters, **layer.state}.items():
            w[...] = drawn.uniform(0.5, 1.5, w.shape) if key == "moving_variance" else drawn.standard_normal(w.shape) * 0.2
    return model


def same_weights(a, b):
    return len(a.weights) == len(b.weights) and all(x.tobytes() == y.tobytes() for x, y in zip(a.weights, b.weights, strict=True))


WEIGHTS = {
    "torch": (".pt", save_torch, load_torch),
    "safetensors": (".safetensors", save_safetensors, load_safetensors),
    "safetensors in torch's layouts": (".safetensors", lambda m, f: save_safetensors(m, f, layout="torch"), load_safetensors),
    "keras": (".weights.h5", save_keras_weights, load_keras_weights),
    "by the name's ending": (".pth", lambda m, f: m.save_weights(f), lambda m, f: m.load_weights(f)),
}


@pytest.mark.parametrize("kind", WEIGHTS)
@pytest.mark.parametrize("name", [*NETWORKS, "plain"])
def test_weights_keep_their_bits(kind, name, tmp_path):
    make = plain if name == "plain" else lambda: application(name)
    ending, save, load = WEIGHTS[kind]
    model, other = filled(make()), make()
    save(model, tmp_path / f"w{ending}")
    report = load(other, tmp_path / f"w{ending}")
    assert same_weights(model, other)
    assert len(report.pairs) == len(model.weights) and not report.missing
    assert not list(tmp_path.glob("*.part"))


def close(a, b):
    a, b = (x if isinstance(x, list) else [x] for x in (a, b))
    return all(np.abs(x - y).max() <= 1e-5 * max(1.0, np.abs(y).max()) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", [*NETWORKS, "plain"])
def test_whole_models_come_back(name, tmp_path):
    model = filled(plain()) if name == "plain" else application(name)
    x = np.random.default_rng(1).standard_normal((3, *model.input_shape[1:])).astype(np.float32)
    y = model.predict(x, verbose=0)
    for ending in (".keras", ".h5", ".onnx"):
        model.save(tmp_path / f"m{ending}")
        assert close(load_model(tmp_path / f"m{ending}").predict(x, verbose=0), y), ending
    runtime = pytest.importorskip("onnxruntime")
    session = runtime.InferenceSession(tmp_path / "m.onnx")
    for batch in (1, 3):
        assert close(session.run(None, {session.get_inputs()[0].name: x[:batch]})[0], y[:batch])


@pytest.mark.parametrize("seed", range(50))
def test_generated_networks(seed, tmp_path):
    set_random_seed(seed)
    model = random_graph(seed)
    names = model.input_names
    drawn = np.random.default_rng(seed + 1)
    x = [drawn.standard_normal((2, *v.shape[1:])).astype(np.float32) for v in model.graph.inputs]
    y = model.predict(x if len(x) > 1 else x[0], verbose=0)
    for ending, save, load in (WEIGHTS["torch"], WEIGHTS["safetensors"], WEIGHTS["keras"]):
        save(model, tmp_path / f"w{ending}")
        before = model.get_weights()
        model.set_weights([w * 0 for w in before])
        load(model, tmp_path / f"w{ending}")
        assert all(a.tobytes() == b.tobytes() for a, b in zip(before, model.get_weights(), strict=True))
    save_keras(model, tmp_path / "m.keras")
    assert close(load_keras(tmp_path / "m.keras").predict(x if len(x) > 1 else x[0], verbose=0), y)
    export_onnx(model, tmp_path / "m.onnx")
    assert close(import_onnx(tmp_path / "m.onnx").predict(x if len(x) > 1 else x[0], verbose=0), y)
    runtime = pytest.importorskip("onnxruntime")
    assert close(runtime.InferenceSession(tmp_path / "m.onnx").run(None, dict(zip(names, x, strict=True))), y)


# The programs themselves.


def test_pytorch_reads_what_is_written_and_computes_the_same(tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    model = Sequential([Input((8, 6, 3)), Conv2D(5, 3, activation="relu"), BatchNormalization(epsilon=1e-5), Flatten(), Dense(4)])
    filled(model)
    twin = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.BatchNorm2d(5), nn.Flatten(), nn.Linear(5 * 6 * 4, 4)).eval()
    names = {"conv2d": "0", "batch_normalization": "2", "dense": "4"}
    save_torch(model, tmp_path / "w.pt", names)
    twin.load_state_dict(torch.load(tmp_path / "w.pt", weights_only=True))
    x = np.random.default_rng(0).standard_normal((2, 8, 6, 3)).astype(np.float32)
    with torch.no_grad():
        np.testing.assert_allclose(twin(torch.tensor(x).permute(0, 3, 1, 2)).numpy(), model.predict(x, verbose=0), atol=1e-5)
    # And back, from both of its formats, by name and in order, half precision and checkpoints too.
    for old in (True, False):
        for wrap in (lambda s: s, lambda s: {"state_dict": {f"module.{k}": v for k, v in s.items()}, "epoch": 3}):
            torch.save(wrap(twin.state_dict()), tmp_path / "t.pth", _use_new_zipfile_serialization=not old)
            for match in (None, names, names.get):
                other = filled(Sequential.from_config(model.get_config()), 5)
                load_torch(other, tmp_path / "t.pth", match)
                assert same_weights(model, other)
    torch.save({k: v.bfloat16() if v.is_floating_point() else v for k, v in twin.state_dict().items()}, tmp_path / "b.pt")
    read = read_torch(tmp_path / "b.pt")
    np.testing.assert_array_equal(read["0.weight"], twin[0].weight.detach().bfloat16().float().numpy())
    torch.save(torch.arange(12.0).reshape(3, 4).T[1:], tmp_path / "one.pt")  # a view: strides and an offset
    with pytest.raises(ValueError, match="no dictionary of tensors"):
        read_torch(tmp_path / "one.pt")
    torch.save({"a": torch.arange(12.0).reshape(3, 4).T[1:]}, tmp_path / "view.pt")
    np.testing.assert_array_equal(read_torch(tmp_path / "view.pt")["a"], np.arange(12.0).reshape(3, 4).T[1:])


def test_keras_reads_what_is_written_and_we_read_what_keras_writes(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    keras.utils.clear_session()  # its names begin anew
    for name in ("MobileNetV2", "ResNet20", "plain"):
        model = filled(plain()) if name == "plain" else application(name)
        x = np.random.default_rng(1).standard_normal((2, *model.input_shape[1:])).astype(np.float32)
        y = model.predict(x, verbose=0)
        for ending in (".keras", ".h5"):
            model.save(tmp_path / f"ours{ending}")
            theirs = keras.saving.load_model(tmp_path / f"ours{ending}")
            assert close(theirs.predict(x, verbose=0), y)
            theirs.save(tmp_path / f"theirs{ending}")
            assert close(load_model(tmp_path / f"theirs{ending}").predict(x, verbose=0), y)
        save_keras_weights(model, tmp_path / "ours.weights.h5")
        theirs.set_weights([w * 0 for w in theirs.get_weights()])
        theirs.load_weights(tmp_path / "ours.weights.h5")
        assert close(theirs.predict(x, verbose=0), y)
    kwargs = {"weights": None, "input_shape": (64, 64, 3)}
    for name in ("MobileNetV2", "ResNet50"):
        theirs, ours = getattr(keras.applications, name)(**kwargs), getattr(applications, name)(**kwargs)
        assert [layer.name for layer in theirs.layers][1:] == [layer.name for layer in ours.layers][1:]
        theirs.save_weights(tmp_path / "k.weights.h5")
        theirs.save(tmp_path / "k.h5")
        x = np.random.default_rng(1).standard_normal((2, 64, 64, 3)).astype(np.float32)
        for file in ("k.weights.h5", "k.h5"):
            ours = getattr(applications, name)(**kwargs)
            load_keras_weights(ours, tmp_path / file)
            assert close(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))


MODULES = {  # a module of PyTorch, the layer here, and the shape of x, channels last
    "dense": (lambda nn: nn.Linear(8, 3), lambda: Dense(3), (8,)),
    "convolution": (lambda nn: nn.Conv2d(4, 6, 3, groups=2), lambda: Conv2D(6, 3, groups=2), (6, 5, 4)),
    "depthwise": (lambda nn: nn.Conv2d(4, 8, 3, groups=4), lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (6, 5, 4)),
    "transposed": (lambda nn: nn.ConvTranspose2d(4, 6, 3, 2), lambda: layers.Conv2DTranspose(6, 3, 2), (6, 5, 4)),
    "transposed, and more": (lambda nn: nn.ConvTranspose2d(4, 6, 3, (2, 3), 0, (1, 2)),
                             lambda: layers.Conv2DTranspose(6, 3, (2, 3), output_padding=(1, 2)), (6, 5, 4)),
    "sequences": (lambda nn: nn.Conv1d(4, 6, 3, 2, groups=2), lambda: layers.Conv1D(6, 3, 2, groups=2), (7, 4)),
    "normalization": (lambda nn: nn.BatchNorm2d(4, 1e-3), lambda: BatchNormalization(), (6, 5, 4)),
    "layer normalization": (lambda nn: nn.LayerNorm(8, 1e-3), lambda: layers.LayerNormalization(), (8,)),
    "layer normalization of images": (lambda nn: nn.LayerNorm((4, 6, 5), 1e-3), lambda: layers.LayerNormalization([1, 2, 3]),
                                      (6, 5, 4)),
    "rms normalization": (lambda nn: nn.RMSNorm(8, 1e-6), lambda: layers.RMSNormalization(), (8,)),
    "group normalization": (lambda nn: nn.GroupNorm(2, 4, 1e-3), lambda: layers.GroupNormalization(2), (6, 5, 4)),
    "depthwise of sequences": (lambda nn: nn.Conv1d(4, 8, 3, groups=4), lambda: layers.DepthwiseConv1D(3, depth_multiplier=2),
                               (7, 4)),
    "transposed of sequences": (lambda nn: nn.ConvTranspose1d(4, 6, 3, 2), lambda: layers.Conv1DTranspose(6, 3, 2), (7, 4)),
    "prelu": (lambda nn: nn.PReLU(4), lambda: layers.PReLU(shared_axes=[1, 2]), (6, 5, 4)),
    "lstm": (lambda nn: nn.LSTM(4, 5, batch_first=True), lambda: layers.LSTM(5, return_sequences=True), (7, 4)),
    "lstm without bias": (lambda nn: nn.LSTM(4, 5, bias=False, batch_first=True),
                          lambda: layers.LSTM(5, return_sequences=True, use_bias=False), (7, 4)),
    "gru": (lambda nn: nn.GRU(4, 5, batch_first=True), lambda: layers.GRU(5, return_sequences=True), (7, 4)),
    "simple": (lambda nn: nn.RNN(4, 5, batch_first=True), lambda: layers.SimpleRNN(5, return_sequences=True), (7, 4)),
    "both ways": (lambda nn: nn.GRU(4, 5, batch_first=True, bidirectional=True),
                  lambda: layers.Bidirectional(layers.GRU(5, return_sequences=True)), (7, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODULES)
def test_every_layer_that_has_a_module_of_pytorch(name, tmp_path):
    torch = pytest.importorskip("torch")
    make, layer, shape = MODULES[name]
    torch.manual_seed(0)
    network = torch.nn.Sequential(make(torch.nn)).eval()
    with torch.no_grad():
        for weight in (*network.parameters(), *(b for b in network.buffers() if b.dtype.is_floating_point)):
            weight.uniform_(0.1, 0.9)
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    ours = Sequential([Input(shape), layer()])
    load_torch(ours, tmp_path / "theirs.pth")
    x = np.random.default_rng(0).normal(size=(3, *shape)).astype("float32")
    first = len(shape) > 1 and not isinstance(ours.layers[-1], (layers.LSTM, layers.GRU, layers.SimpleRNN, layers.Bidirectional))

    def theirs(network):
        y = network(torch.tensor(np.moveaxis(x, -1, 1) if first else x))
        y = (y[0] if isinstance(y, tuple) else y).detach().numpy()
        return np.moveaxis(y, 1, -1) if first else y

    assert close(ours.predict(x, verbose=0), theirs(network))
    save_torch(ours, tmp_path / "ours.pth", {ours.layers[-1].name: "0"})
    again = torch.nn.Sequential(make(torch.nn)).eval()
    again.load_state_dict(torch.load(tmp_path / "ours.pth"))
    assert close(theirs(again), theirs(network))


def test_recurrent_modules_of_several_layers(tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.LSTM(4, 5, num_layers=2, bidirectional=True, batch_first=True)
    torch.save({f"reader.{name}": weight for name, weight in network.state_dict().items()}, tmp_path / "theirs.pth")
    both = [layers.Bidirectional(layers.LSTM(5, return_sequences=True)) for _ in range(2)]
    ours, x = Sequential([Input((7, 4)), *both]), np.random.default_rng(0).normal(size=(3, 7, 4)).astype("float32")
    pairs = load_torch(ours, tmp_path / "theirs.pth")
    assert close(ours.predict(x, verbose=0), network(torch.tensor(x))[0].detach().numpy())
    assert ("bidirectional_1/backward_bias", "reader.l1.bias_reverse") in pairs.pairs


@pytest.mark.parametrize("settings", [{}, {"bias": False}, {"kdim": 5, "vdim": 6}, {"kdim": 6, "vdim": 6}])
def test_attention_of_pytorch(settings, tmp_path):
    torch = pytest.importorskip("torch")
    network = torch.nn.ModuleDict({"attend": torch.nn.MultiheadAttention(8, 2, batch_first=True, **settings)}).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.uniform_(-1, 1)
    torch.save(network.state_dict(), tmp_path / "theirs.pth")
    parts = [Input((7, 8)), Input((5, settings.get("vdim", 8))), Input((5, settings.get("kdim", 8)))]
    ours = Model(parts, layers.MultiHeadAttention(2, 4, use_bias=settings.get("bias", True), name="attend")(*parts))
    load_torch(ours, tmp_path / "theirs.pth")
    query, value, key = (np.random.default_rng(0).normal(size=(3, *part.shape[1:])).astype("float32") for part in parts)
    expected = network["attend"](*(torch.tensor(x) for x in (query, key, value)))[0].detach().numpy()
    assert close(ours.predict([query, value, key], verbose=0), expected)
    save_torch(ours, tmp_path / "ours.pth")
    written = torch.load(tmp_path / "ours.pth")
    assert {name: tuple(w.shape) for name, w in written.items()} == {n: tuple(w.shape) for n, w in network.state_dict().items()}
    for name, weight in network.state_dict().items():
        assert torch.equal(written[name], weight), name


@pytest.mark.parametrize("shape", [(), (25, 8), (24, 7)])
def test_attention_of_another_shape_is_refused(shape):
    x = Input((7, 8))
    ours = Model(x, layers.MultiHeadAttention(2, 4, use_bias=False, name="attend")(x, x))
    arrays = {"attend.in_proj_weight": np.ones(shape, np.float32), "attend.out_proj.weight": np.ones((8, 8), np.float32)}
    before = ours.get_weights()
    with pytest.raises(ValueError, match="does not fit this model: 1 pairs; 3 missing in the file"):
        load_torch(ours, arrays)
    assert all(np.array_equal(w, old) for w, old in zip(ours.get_weights(), before, strict=True))


def test_axes_that_a_file_says_of_attention():
    from minitl.interop.keras_attention import settings_of as kept

    for axes in (None, 1, [1], (1,)):
        assert kept({"num_heads": 2, "attention_axes": axes, "seed": 3}) == {"num_heads": 2}
    for axes in (2, [2], (1, 2)):
        with pytest.raises(ValueError, match=r"attention_axes=.* is not known here"):
            kept({"num_heads": 2, "attention_axes": axes})


def test_attention_of_a_width_that_four_does_not_divide():
    x = Input((7, 6))
    ours = Model(x, layers.MultiHeadAttention(2, 3, name="attend")(x, x))
    arrays = {"attend.in_proj_weight": np.arange(108).reshape(18, 6), "attend.in_proj_bias": np.arange(18),
              "attend.out_proj.weight": np.eye(6), "attend.out_proj.bias": np.zeros(6)}  # fmt: skip
    load_torch(ours, {name: array.astype(np.float32) for name, array in arrays.items()})
    query, key, value = (ours.get_layer("attend").parameters[f"{part}_bias"] for part in ("query", "key", "value"))
    np.testing.assert_array_equal(np.concatenate([query.ravel(), key.ravel(), value.ravel()]), np.arange(18))


def test_a_transformer_s_block_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.TransformerEncoder(torch.nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True), 2).eval()
    with torch.no_grad():
        for weight in theirs.parameters():
            weight.uniform_(-1, 1)
    torch.save(theirs.state_dict(), tmp_path / "theirs.pth")
    inputs = x = Input((7, 8))
    for _ in range(2):
        x = layers.LayerNormalization(epsilon=1e-5)(layers.add([x, layers.MultiHeadAttention(2, 4)(x, x)]))
        x = layers.LayerNormalization(epsilon=1e-5)(layers.add([x, Dense(8)(Dense(12, activation="relu")(x))]))
    ours = Model(inputs, x)
    load_torch(ours, tmp_path / "theirs.pth")
    x = np.random.default_rng(0).normal(size=(3, 7, 8)).astype("float32")
    assert close(ours.predict(x, verbose=0), theirs(torch.tensor(x)).detach().numpy())


NOT_OF_KERAS = (
    "transitions",
    "value",
    "constant",
    "lambda",
    "recorded lambda",
    "array function",
    "mean over",
    "user's",
    "container",
)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.filterwarnings("ignore")
def test_every_layer_in_a_file_of_keras(name, tmp_path):
    model, x = with_moved_weights(name)
    y = model.predict(x, verbose=0)
    for ending in (".keras", ".h5"):
        file = tmp_path / f"m{ending}"
        if name.startswith(NOT_OF_KERAS) or name in ("bidirectional from the end", "cells", "cells, dropout"):
            with pytest.raises(ValueError, match=r"Keras does not have this layer|cells are not written"):
                model.save(file)
            continue
        model.save(file)
        assert close(load_model(file).predict(x, verbose=0), y)
        try:
            pytest.importorskip("torch")
            keras = pytest.importorskip("keras")
        except pytest.skip.Exception:
            continue
        theirs = keras.saving.load_model(file)
        if not (
            name.startswith("average pool") and model.layers[-1].padding == "same"
        ):  # where Keras's PyTorch counts pixels of the border
            assert close(theirs.predict(x, verbose=0), y)
        theirs.save(tmp_path / f"theirs{ending}")
        assert close(load_model(tmp_path / f"theirs{ending}").predict(x, verbose=0), y)


@pytest.mark.filterwarnings("ignore")
def test_operations_between_layers_of_keras(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    ops, x = keras.ops, keras.Input((8, 8, 4))
    y = keras.layers.ReLU(6.0)(keras.layers.Normalization(mean=[1, 2, 3, 4], variance=[1, 2, 1, 2], axis=3)(x) + 3.0) * (1 / 6)
    y = 2 / (ops.mean(y, axis=[1, 2], keepdims=True) + 5 - 1)
    y = ops.reshape(ops.concatenate([y, ops.square(y)], axis=-1)[:, :, 0, 1:7], (-1, 6))
    y = ops.maximum(ops.transpose(ops.expand_dims(y, -1), (0, 2, 1)), 0.1) @ np.arange(18, dtype="float32").reshape(6, 3)
    y = ops.squeeze(ops.softmax(ops.relu(y) / 10), 1)
    theirs = keras.Model(x, ops.where(y > 0.2, keras.layers.Dense(3)(y), -y))
    theirs.save(tmp_path / "theirs.keras")
    ours, images = load_model(tmp_path / "theirs.keras"), np.random.default_rng(0).uniform(-3, 3, (3, 8, 8, 4)).astype("float32")
    assert close(ours.predict(images, verbose=0), theirs.predict(images, verbose=0))
    assert len(ours.trainable_weights) == 2 and check_gradients(ours.astype("float64"), images)
    for ending in (".keras", ".h5"):
        ours.astype("float32").save(tmp_path / f"ours{ending}")
        assert close(load_model(tmp_path / f"ours{ending}").predict(images), ours.predict(images))
    again = keras.saving.load_model(tmp_path / "ours.keras")
    assert close(again.predict(images, verbose=0), ours.predict(images))
    theirs = keras.Model(x, ops.fft((x, x))[0])
    theirs.save(tmp_path / "other.keras")
    with pytest.raises(ValueError, match="unknown operation of Keras 'FFT'"):
        load_model(tmp_path / "other.keras")


@pytest.mark.filterwarnings("ignore")
def test_masks_of_keras(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    k, words, file = keras.layers, np.array([[1, 2, 0, 0], [3, 0, 1, 0], [4, 5, 6, 7], [0, 2, 2, 8]]), tmp_path / "theirs.keras"
    generator = np.random.default_rng(0)
    heads = [  # what asks for the mask, and what does not
        lambda x: k.LSTM(4)(k.SpatialDropout1D(0.2)(x)),
        lambda x: k.Bidirectional(k.GRU(4))(x),
        lambda x: k.GlobalAveragePooling1D()(x),
        lambda x: k.GlobalMaxPooling1D()(k.Conv1D(4, 2)(x)),
        lambda x: k.Dense(2)(k.Flatten()(x)),
        # A recurrent layer repeats its output at the steps that it leaves out, unless the mask is asked for behind it.
        lambda x: k.Dense(2)(k.Flatten()(k.LSTM(4, return_sequences=True)(x))),
        lambda x: k.Flatten()(k.SimpleRNN(4, return_sequences=True, zero_output_for_mask=True)(x)),
        lambda x: k.GRU(3)(k.Dropout(0.1)(k.LSTM(4, return_sequences=True)(x))),
        lambda x: k.Bidirectional(k.GRU(3))(k.GRU(4, return_sequences=True)(x)),
        lambda x: k.Dense(3)(k.Dropout(0.1)(k.GRU(4, return_sequences=True)(k.LSTM(4, return_sequences=True)(x)))),
        lambda x: k.GlobalAveragePooling1D()(k.Bidirectional(k.LSTM(3, return_sequences=True))(x)),
        # Across the border of a model inside.
        lambda x: keras.Sequential([keras.Input((4, 3)), k.Flatten(), k.Dense(2)])(x),
        lambda x: keras.Sequential([keras.Input((4, 3)), k.Dropout(0.1), k.LSTM(4)])(x),
        lambda x: k.Flatten()(keras.Sequential([keras.Input((4, 3)), k.LSTM(4, return_sequences=True)])(x)),
        lambda x: k.GRU(3)(keras.Sequential([keras.Input((4, 3)), k.Bidirectional(k.GRU(2, return_sequences=True))])(x)),
        lambda x: keras.Sequential([keras.Input((4, 3)), keras.Sequential([k.GlobalAveragePooling1D()])])(x),
    ]
    for head in heads:
        x = keras.Input((4,), dtype="int32")
        theirs = keras.Model(x, head(k.Embedding(9, 3, mask_zero=True)(x)))
        for weight in theirs.trainable_weights:
            weight.assign(generator.normal(size=weight.shape))  # number 0 has a row of its own
        theirs.save(file)
        ours = load_model(file)
        assert close(ours.predict(words, verbose=0), theirs.predict(words, verbose=0))
        ours.save(tmp_path / "ours.npz")
        assert close(load_model(tmp_path / "ours.npz").predict(words, verbose=0), ours.predict(words, verbose=0))
        ours.save(tmp_path / "again.keras")
        assert close(keras.models.load_model(tmp_path / "again.keras").predict(words, verbose=0), ours.predict(words, verbose=0))
    for asking in (k.Flatten(), k.LSTM(4)):  # outside, for the mask of a model inside
        inside = keras.Sequential([keras.Input((4,)), k.Embedding(9, 3, mask_zero=True)])
        theirs = keras.Model(x, k.Dense(2)(asking(inside(x))))
        theirs.save(file)
        assert close(load_model(file).predict(words, verbose=0), theirs.predict(words, verbose=0))
    inside = keras.Sequential([keras.Input((4, 3)), k.Dense(4), k.LSTM(3)])
    keras.Model(x, inside(k.Embedding(9, 3, mask_zero=True)(x))).save(file)
    with pytest.raises(ValueError, match=r"layer 'lstm.*would reach it through layer 'dense"):
        load_model(file)
    table = k.Embedding(9, 3, mask_zero=True)(x)
    inside = keras.Sequential([keras.Input((4, 3)), k.LSTM(3)])
    theirs = keras.Model(x, k.concatenate([inside(table), k.GlobalMaxPooling1D()(table)]))  # some leave steps out, others look
    theirs.save(file)
    assert close(load_model(file).predict(words, verbose=0), theirs.predict(words, verbose=0))
    told = k.LSTM(4, return_sequences=True)(table)
    both = k.concatenate(
        [k.LSTM(4)(k.Dropout(0.1)(table)), k.GlobalMaxPooling1D()(k.Conv1D(3, 2)(table)), k.GRU(2)(k.Dense(3)(table))]
    )
    beyond = [both, k.LSTM(4)(k.Dropout(0.2)(k.Dense(3)(table))), k.LSTM(3)(k.Dense(4)(told))]
    for ends in (*beyond, *([k.LSTM(4)(told), other] for other in (k.Flatten()(told), told, k.Dropout(0.1)(told)))):
        theirs = keras.Model(x, ends)
        theirs.save(file)
        found, expected = load_model(file).predict(words, verbose=0), theirs.predict(words, verbose=0)
        pairs = zip(found, expected, strict=True) if isinstance(expected, list) else [(found, expected)]
        assert all(close(a, b) for a, b in pairs)
    steps = keras.Input((4, 3))
    theirs = keras.Model(steps, k.GlobalAveragePooling1D()(k.Activation("tanh")(k.Masking()(steps))))
    theirs.save(file)
    x = generator.normal(size=(3, 4, 3)).astype("float32") * (np.arange(4) < [[4], [2], [1]])[..., None]
    assert close(load_model(file).predict(x, verbose=0), theirs.predict(x, verbose=0))


@pytest.mark.filterwarnings("ignore")
def test_dictionaries_of_inputs_and_outputs_of_keras(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    a, b, dense = keras.Input((4,), name="a"), keras.Input((4,), name="b"), keras.layers.Dense(3)
    theirs = keras.Model({"b": b, "a": a}, {"difference": keras.layers.subtract([dense(a), dense(b)]), "one": dense(a)})
    theirs.save(tmp_path / "theirs.keras")
    x = {name: np.random.default_rng(seed).normal(size=(2, 4)).astype("float32") for seed, name in enumerate("ab")}
    expected = theirs.predict(x, verbose=0)
    found = load_model(tmp_path / "theirs.keras").predict(x, verbose=0)
    assert found.keys() == {"difference", "one"}
    for key, y in found.items():
        assert close(y, expected[key])


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_training_is_fixed_where_a_program_fixed_it_and_not_by_what_keras_writes(tmp_path, ending):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    k = keras.layers
    inside = keras.Input((8, 8, 4))
    base = keras.Model(inside, k.BatchNormalization()(inside))
    x = keras.Input((8, 8, 4))
    y = k.RandomZoom(0.3)(x)  # Keras writes training: true, the default of its call,
    y = k.Dropout(0.4)(base(y, training=False))  # and false here, beside what the program itself fixed
    keras.Model(x, k.SpatialDropout2D(0.4)(k.BatchNormalization()(y))).save(tmp_path / f"theirs{ending}")
    ours = load_model(tmp_path / f"theirs{ending}")
    images = np.random.default_rng(0).uniform(size=(4, 8, 8, 4)).astype("float32")
    theirs = keras.saving.load_model(tmp_path / f"theirs{ending}").predict(images, verbose=0)
    assert close(ours.predict(images, verbose=0), theirs) and close(ours.predict(images, verbose=0), theirs)
    fixed = {node.layer.name: node.training for node in ours.graph.nodes}
    assert [value for value in fixed.values() if value is not None] == [False]  # the base stays as it is
    zoomed, dropped = (Model(ours.input, layer.output) for layer in (ours.layers[1], ours.layers[3]))
    assert not close(zoomed(images, training=True), images) and close(zoomed(images), images)
    assert 0.2 < np.mean(dropped(images, training=True) == 0) < 0.6


def test_keras_s_recurrent_layers_go_both_ways(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    from minitl.layers import GRU, LSTM, Bidirectional, Embedding, SimpleRNN, TimeDistributed

    k = keras.layers
    theirs = keras.Sequential([
        keras.Input((5,)), k.Embedding(20, 4), k.Bidirectional(k.LSTM(3, return_sequences=True)),
        k.TimeDistributed(k.Dense(6, activation="relu")), k.SimpleRNN(5, activation="relu", return_sequences=True), k.GRU(4),
        k.Dense(2),
    ])  # fmt: skip
    ours = Sequential([
        Input((5,), dtype="int32"), Embedding(20, 4), Bidirectional(LSTM(3, return_sequences=True)),
        TimeDistributed(Dense(6, activation="relu")), SimpleRNN(5, activation="relu", return_sequences=True), GRU(4), Dense(2),
    ])  # fmt: skip
    x = np.random.default_rng(0).integers(0, 20, (3, 5))
    y = np.asarray(theirs.predict(x, verbose=0))
    for ending in (".keras", ".h5"):
        theirs.save(tmp_path / f"theirs{ending}")
        assert close(load_model(tmp_path / f"theirs{ending}").predict(x, verbose=0), y)
    theirs.save_weights(tmp_path / "theirs.weights.h5")
    load_keras_weights(ours, tmp_path / "theirs.weights.h5")
    assert close(ours.predict(x, verbose=0), y)
    ours.set_weights([w + 0.1 for w in ours.get_weights()])
    y = ours.predict(x, verbose=0)
    for ending in (".keras", ".h5"):
        ours.save(tmp_path / f"ours{ending}")
        assert close(keras.saving.load_model(tmp_path / f"ours{ending}").predict(x, verbose=0), y)
    save_keras_weights(ours, tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    assert close(theirs.predict(x, verbose=0), y)


def compiled_models(keras, ending):
    """Networks as they are compiled: the loss by name, by class, with a schedule, with two outputs."""
    k = keras.layers
    classes = keras.Sequential([keras.Input((4,)), k.Dense(3, activation="softmax")])
    classes.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    yield classes, np.array([0, 2, 1, 1, 0])
    logits = keras.Sequential([keras.Input((4,)), k.Dense(3)])
    rate = keras.optimizers.schedules.CosineDecay(0.1, 100)
    logits.compile(
        keras.optimizers.SGD(rate, momentum=0.9, nesterov=True, weight_decay=1e-4, global_clipnorm=1.0),
        keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=0.1),
        metrics=[keras.metrics.CategoricalAccuracy(name="acc"), "mse", keras.metrics.TopKCategoricalAccuracy(k=2)],
        weighted_metrics=["mae"],
    )
    yield logits, np.eye(3)[[0, 2, 1, 1, 0]]
    x = keras.Input((4,))
    two = keras.Model(x, [k.Dense(2, name="p")(x), k.Dense(3, name="q")(x)])
    two.compile("rmsprop", {"p": "mse", "q": "huber"}, loss_weights={"p": 1.0, "q": 0.3}, metrics={"q": ["mae"]})
    yield two, [np.ones((5, 2)), np.ones((5, 3))]
    shares = keras.Sequential([keras.Input((4,)), k.Dense(3, activation="sigmoid")])
    m = keras.metrics
    shares.compile("adam", "binary_crossentropy", metrics=[
        m.Precision(top_k=1), m.Recall(class_id=1, name="of_class"), m.AUC(curve="PR", name="prc"), m.F1Score(average="macro"),
        m.PrecisionAtRecall(0.5), *([m.AUC(multi_label=True, label_weights=[1, 2, 3])] if ending == ".keras" else []),
    ])  # fmt: skip  # Keras cannot write its weights of labels into .h5
    yield shares, np.eye(3)[[0, 2, 1, 1, 0]]
    numbers = keras.Sequential([keras.Input((4,)), k.Dense(3)])
    rate = keras.optimizers.schedules.CosineDecayRestarts(0.1, 2, m_mul=0.8)
    numbers.compile(keras.optimizers.Adam(rate), "log_cosh", metrics=[
        m.R2Score(num_regressors=2), m.LogCoshError(), m.MeanMetricWrapper(keras.losses.huber, name="mine", delta=0.3),
        m.ConcordanceCorrelation(axis=0), m.RootMeanSquaredError(dtype="float32"), m.MeanSquaredError(name="squares"),
    ])  # fmt: skip
    yield numbers, np.random.default_rng(1).standard_normal((5, 3)).astype(np.float32)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_models_come_back_compiled(tmp_path, ending):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    for theirs, y in compiled_models(keras, ending):
        theirs.save(tmp_path / f"theirs{ending}")
        ours = load_model(tmp_path / f"theirs{ending}")
        expected = theirs.evaluate(x, y, verbose=0, return_dict=True)
        found = ours.evaluate(x, y, verbose=0, return_dict=True)
        assert found["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        for name in expected.keys() & found.keys():
            assert found[name] == pytest.approx(expected[name], rel=1e-5), name
        assert len(expected.keys() & found.keys()) == len(expected)
        assert type(ours.optimizer).__name__ == type(theirs.optimizer).__name__
        ours.fit(x, y, epochs=1, shuffle=False, batch_size=5, verbose=0)
        theirs.fit(x, y, epochs=1, shuffle=False, batch_size=5, verbose=0)
        for a, b in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(a, b, atol=2e-6)  # so that the optimizer has its settings
        ours.save(tmp_path / f"ours{ending}")
        again = keras.saving.load_model(tmp_path / f"ours{ending}")
        there = sorted(again.evaluate(x, y, verbose=0, return_dict=True).values())  # .h5 changes names of metrics in Keras, too
        assert there == pytest.approx(sorted(ours.evaluate(x, y, verbose=0, return_dict=True).values()), rel=1e-5)
        assert load_model(tmp_path / f"ours{ending}", compile=False).optimizer is None


@pytest.mark.parametrize("name", sorted({*losses.NAMED, *metrics.NAMED} - {"chain_crossentropy"}))
def test_keras_knows_every_loss_and_metric_that_is_written(name, tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)
    labels = np.array([0, 6, 1, 1, 0])
    model = Sequential([Input((4,)), Dense(7, activation="softmax")])
    loss = name if name in losses.NAMED else "categorical_crossentropy"
    sparse = "sparse" in name
    model.compile("sgd", loss if sparse == ("sparse" in loss) else "sparse_categorical_crossentropy", metrics=[name])
    y = labels if sparse else np.eye(7)[labels]
    expected = model.evaluate(x, y, verbose=0, return_dict=True)
    model.save(tmp_path / "model.keras")
    for loaded in (keras.saving.load_model(tmp_path / "model.keras"), load_model(tmp_path / "model.keras")):
        found = loaded.evaluate(x, y, verbose=0, return_dict=True)
        assert found == pytest.approx(expected, rel=1e-5), type(loaded)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_layers_with_a_seed_of_their_own_are_read(ending, tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    k, x = keras.layers, np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
    start = keras.initializers.HeNormal(seed=3)
    theirs = keras.Sequential([
        keras.Input((6, 4)), k.GaussianNoise(0.1, seed=1), k.SpatialDropout1D(0.1, seed=2),
        k.Bidirectional(k.LSTM(3, dropout=0.1, return_sequences=True, seed=3)), k.GRU(3, recurrent_dropout=0.1, seed=4),
        k.AlphaDropout(0.1, seed=5), k.GaussianDropout(0.1, seed=6), k.Dense(3, kernel_initializer=start), k.Dropout(0.1, seed=7),
    ])  # fmt: skip
    theirs.save(tmp_path / f"theirs{ending}")
    ours = load_model(tmp_path / f"theirs{ending}")
    assert close(ours.predict(x, verbose=0), theirs.predict(x, verbose=0))
    assert (np.abs(ours(x, training=True) - ours(x)) > 0).any()


OPERATIONS = {  # of Keras's, on x (3, 4, 6), and whether they are written again
    "einsum": (lambda ops, x: ops.einsum("bij,bkj->bik", x, x), True),
    "cast": (lambda ops, x: ops.cast(x > 0, "float32"), True),
    "whole": (lambda ops, x: ops.cast(ops.cast(3 * x, "int32"), "float32"), True),
    "yes and no": (lambda ops, x: ops.cast(ops.cast(ops.maximum(x, 0), "bool"), "float32"), True),
    "slice": (lambda ops, x: ops.slice(x, (0, 1, 0), (3, 2, 6)), True),
    "tril": (lambda ops, x: ops.tril(x, 1), True),
    "triu": (lambda ops, x: ops.triu(x), True),
    "layer_normalization": (lambda ops, x: ops.layer_normalization(x), True),
    "rms_normalization": (lambda ops, x: ops.rms_normalization(x), True),
    "dot_product_attention": (lambda ops, x: ops.dot_product_attention(x[:, :, None], x[:, :, None], x[:, :, None]), True),
    "hard_tanh": (lambda ops, x: ops.hard_tanh(x), True),
    "tanh_shrink": (lambda ops, x: ops.tanh_shrink(x), True),
    "squareplus": (lambda ops, x: ops.squareplus(x), True),
    "glu": (lambda ops, x: ops.glu(x), True),
    "max_pool": (lambda ops, x: ops.max_pool(x[..., None], 2), False),
    "average_pool": (lambda ops, x: ops.average_pool(x[..., None], 2, strides=1, padding="same"), False),
}


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_operations_of_keras_in_files(name, tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    make, written = OPERATIONS[name]
    inputs = keras.Input((4, 6))
    theirs = keras.Model(inputs, make(keras.ops, inputs))
    theirs.save(tmp_path / "theirs.keras")
    x = np.random.default_rng(0).standard_normal((3, 4, 6)).astype(np.float32)
    expected = theirs.predict(x, verbose=0)
    ours = load_model(tmp_path / "theirs.keras")
    assert close(ours.predict(x, verbose=0), expected)
    if written:
        ours.save(tmp_path / "ours.keras")
        assert close(keras.saving.load_model(tmp_path / "ours.keras").predict(x, verbose=0), expected)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_directions_that_differ_are_refused(ending, tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    k = keras.layers
    start, penalty = keras.initializers.HeNormal(seed=1), keras.regularizers.L2(0.1)
    for backward, differs in (
        (k.GRU(3, go_backwards=True), "class_name"),
        (k.LSTM(3, go_backwards=True, activation="relu"), "activation"),
        (k.LSTM(3, go_backwards=True, kernel_regularizer=keras.regularizers.L2(0.2)), "kernel_regularizer"),
        (k.LSTM(3, go_backwards=True, seed=4, name="other", kernel_initializer=start, kernel_regularizer=penalty), None),
        (k.LSTM(3, go_backwards=True, kernel_regularizer=keras.regularizers.L2(0.1)), None),
    ):
        forward = k.LSTM(3, kernel_regularizer=penalty)
        theirs = keras.Sequential([keras.Input((6, 4)), k.Bidirectional(forward, backward_layer=backward)])
        theirs.save(tmp_path / f"theirs{ending}")
        if differs:
            with pytest.raises(ValueError, match=f"its directions differ in .*{differs}"):
                load_model(tmp_path / f"theirs{ending}")
        else:
            x = np.random.default_rng(0).standard_normal((2, 6, 4)).astype(np.float32)
            assert close(load_model(tmp_path / f"theirs{ending}").predict(x, verbose=0), theirs.predict(x, verbose=0))


def test_what_cannot_be_compiled_is_said(tmp_path):
    model = Sequential([Input((4,)), Dense(2)])

    def mine(y_true, y_pred):
        return np.mean(np.square(y_true - y_pred))

    model.compile("adam", "mse", metrics=[mine, "mae"])
    with pytest.warns(UserWarning, match="the metric 'mine' is left out"):
        model.save(tmp_path / "model.keras")
    assert len(load_model(tmp_path / "model.keras").metrics) == 1
    model.compile("adam", mine)
    model.save(tmp_path / "own.keras")
    assert load_model(tmp_path / "own.keras").optimizer is None

    def changed(old, new):
        with zipfile.ZipFile(tmp_path / "model.keras") as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        assert old in parts["config.json"]
        with zipfile.ZipFile(tmp_path / "changed.keras", "w") as archive:
            for name, content in parts.items():
                archive.writestr(name, content.replace(old, new) if name == "config.json" else content)
        return tmp_path / "changed.keras"

    for old, new, why in (
        (b'"Adam"', b'"Ftrl"', "unknown optimizer 'Ftrl'"), (b'"beta_1": 0.9', b'"beta_1": 2.0', "beta_1"),
        (b'"mean_squared_error"', b'"nothing"', "nothing"), (b'"mae"', b'"os.system"', "os.system"),
    ):  # fmt: skip
        with pytest.warns(UserWarning, match=f"the model is not compiled .*{why}"):
            found = load_model(changed(old, new))
        assert found.optimizer is None and found.loss is None
    found = load_model(changed(b'"loss": "mean_squared_error"', b'"loss": "mine"'), custom_objects={"mine": mine})
    x = np.ones((3, 4))
    assert found.evaluate(x, np.ones((3, 2)), verbose=0)[0] == pytest.approx(mine(np.ones((3, 2)), found.predict(x, verbose=0)))


def test_keras_s_states_go_both_ways(tmp_path):
    pytest.importorskip("torch")
    keras = pytest.importorskip("keras")
    k = keras.layers
    read, told, given = keras.Input((None, 5)), keras.Input((None, 4)), keras.Input((6,))
    _, *state = k.LSTM(6, return_state=True)(read)
    y, *after = k.LSTM(6, return_sequences=True, return_state=True)(told, initial_state=state)
    both = k.Bidirectional(k.GRU(3, return_state=True))(told)
    theirs = keras.Model([read, told, given], [k.Dense(3)(y), *after, k.GRU(6)(told, initial_state=given), *both])
    x = [np.random.default_rng(1).standard_normal(shape).astype(np.float32) for shape in ((3, 5, 5), (3, 4, 4), (3, 6))]
    expected = [np.asarray(part) for part in theirs.predict(x, verbose=0)]
    for ending in (".keras", ".h5"):
        theirs.save(tmp_path / f"theirs{ending}")
        ours = load_model(tmp_path / f"theirs{ending}")
        assert all(close(a, b) for a, b in zip(ours.predict(x, verbose=0), expected, strict=True))
    ours.set_weights([w + 0.1 for w in ours.get_weights()])
    expected = ours.predict(x, verbose=0)
    ours.save(tmp_path / "ours.keras")
    again = keras.saving.load_model(tmp_path / "ours.keras")
    assert all(close(a, np.asarray(b)) for a, b in zip(expected, again.predict(x, verbose=0), strict=True))
    save_keras_weights(ours, tmp_path / "ours.weights.h5")
    theirs.load_weights(tmp_path / "ours.weights.h5")
    assert all(close(a, np.asarray(b)) for a, b in zip(expected, theirs.predict(x, verbose=0), strict=True))


# Bad files.


class Evil:
    def __reduce__(self):
        return os.system, ("touch /tmp/minitl-was-here",)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_pickle_that_asks_for_more_than_tensors(protocol, tmp_path):
    program = pickle.dumps({"w": Evil()}, protocol)
    with zipfile.ZipFile(tmp_path / "evil.pt", "w") as archive:
        archive.writestr("archive/data.pkl", program)
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system"):
        read_torch(tmp_path / "evil.pt")
    magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)
    (tmp_path / "evil.th").write_bytes(magic + program)
    with pytest.raises(ValueError, match=r"asks for (posix|nt)\.system"):
        read_torch(tmp_path / "evil.th")
    assert not os.path.exists("/tmp/minitl-was-here")


def test_tensors_that_reach_beyond_their_storage(tmp_path):
    save_torch(plain(), tmp_path / "w.pt")
    with zipfile.ZipFile(tmp_path / "w.pt") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for wrong in (b"J" + struct.pack("<i", 999), b"J" + struct.pack("<i", -6)):
        body = members["archive/data.pkl"].replace(b"J" + struct.pack("<i", 6), wrong, 1)
        with zipfile.ZipFile(tmp_path / "x.pt", "w") as archive:
            for name, data in {**members, "archive/data.pkl": body}.items():
                archive.writestr(name, data)
        with pytest.raises(ValueError, match=r"claims|negative|damaged"):
            read_torch(tmp_path / "x.pt")


def test_weights_of_another_network_are_reported_pair_by_pair(tmp_path):
    save_torch(application("ResNet20"), tmp_path / "w.pt")
    model = application("LeNet5")
    before = model.get_weights()
    with pytest.raises(ValueError, match=r"does not fit this model: .*missing|of another shape"):
        load_torch(model, tmp_path / "w.pt")
    other = applications.resnet_cifar.ResNetCIFAR(32)
    with pytest.raises(ValueError, match=r"missing in the file \(layer1_3_conv1 \(module layer1.3.conv1\)"):
        load_torch(other, tmp_path / "w.pt")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    report = load_torch(other, tmp_path / "w.pt", strict=False)
    assert ("conv1/kernel", "conv1.weight") in report.pairs
    assert "conv1/kernel" in report.table()


def test_axes_that_were_turned_already_are_noticed(tmp_path):
    model = Sequential([Input((8, 8, 3)), Conv2D(5, 3, name="c")])
    with pytest.raises(ValueError, match="axes turned already"):
        load_torch(model, {"c.weight": np.zeros((3, 3, 3, 5), np.float32), "c.bias": np.zeros(5, np.float32)})
    # Three filters of 3x3x3: shapes cannot tell, but a learnt kernel is smoother over its window.
    rows = np.linspace(0, 1, 3)
    smooth = (rows[:, None, None, None] + rows[None, :, None, None]) * 0.1 + np.array([1.0, -1.0, 0.5])[:, None] * np.array(
        [1, -1, 1]
    )
    square = Sequential([Input((8, 8, 3)), Conv2D(3, 3, use_bias=False, name="c")])
    right = load_torch(square, {"c.weight": smooth.transpose(3, 2, 0, 1).astype(np.float32)})
    wrong = load_torch(square, {"c.weight": smooth.astype(np.float32)})
    assert not right.notes and "axes had been turned before" in wrong.notes[0]


def test_links_out_of_a_file_are_not_followed(tmp_path):
    save_keras_weights(plain(), tmp_path / "w.weights.h5")
    for link in (h5py.ExternalLink("/etc/passwd", "/x"), h5py.SoftLink("/layers/conv2d")):
        with h5py.File(tmp_path / "w.weights.h5", "a") as file:
            del file["layers/dense"]
            file["layers/dense"] = link
        with pytest.raises(ValueError, match="is a link"):
            load_keras_weights(plain(), tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:  # what would do
        save_keras_weights(plain(), tmp_path / "whole.weights.h5")
        with h5py.File(tmp_path / "whole.weights.h5") as whole:
            whole.copy("layers", file)
    plain().save(tmp_path / "m.keras")
    for name in ("layers", "layers/dense", "layers/dense/vars", "layers/dense/vars/0"):
        (tmp_path / "w.weights.h5").write_bytes((tmp_path / "whole.weights.h5").read_bytes())
        with h5py.File(tmp_path / "w.weights.h5", "a") as file:
            del file[name]
            file[name] = h5py.ExternalLink(str(tmp_path / "other.h5"), name)
        with pytest.raises(ValueError, match="is a link"):
            load_keras_weights(plain(), tmp_path / "w.weights.h5")
        with zipfile.ZipFile(tmp_path / "m.keras") as good, zipfile.ZipFile(tmp_path / "l.keras", "w") as bad:
            for member in good.namelist():
                linked = member == "model.weights.h5"
                bad.writestr(member, (tmp_path / "w.weights.h5").read_bytes() if linked else good.read(member))
        with pytest.raises(ValueError, match="is a link"):
            load_model(tmp_path / "l.keras")
    with h5py.File(tmp_path / "big.weights.h5", "w") as file:
        file.create_dataset("layers/dense/vars/0", (10**6, 10**6), "f4", chunks=(1000, 1000))
    with pytest.raises(ValueError, match="more than the file has"):
        load_keras_weights(plain(), tmp_path / "big.weights.h5")


def test_layers_without_a_partner_are_named(tmp_path):
    from minitl.layers import GaussianNoise, Lambda

    model = Sequential([Input((4,)), Lambda(lambda v: v, name="mine"), GaussianNoise(0.1), Dense(2)])
    for call in (lambda: model.save(tmp_path / "m.keras"), lambda: model.save(tmp_path / "m.onnx")):
        with pytest.raises(ValueError, match="layer 'mine'"):
            call()
    with pytest.raises(ValueError, match=r"opset must be 17 \.\. 21"):
        export_onnx(plain(), tmp_path / "m.onnx", opset=9)
    assert not list(tmp_path.iterdir())
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["model_config"] = (
            '{"class_name": "Sequential", "config": {"layers": [{"class_name": "ConvLSTM2D", "config": {}}]}}'
        )
    with pytest.raises(ValueError, match="unknown layer of Keras"):
        load_model(tmp_path / "m.h5")


def test_a_missing_library_is_named_with_its_line(monkeypatch, tmp_path):
    import sys

    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ImportError, match=r'h5py is not installed; install it with: pip install "minitl\[interop\]"'):
        save_keras_weights(plain(), tmp_path / "w.weights.h5")
    assert io  # the standard library stays


def test_what_a_module_of_pytorch_has_beyond_its_layer_is_unexpected():
    model = Sequential([Input((4,)), Dense(3), Dense(2)])
    arrays = {
        "a.weight": np.ones((3, 4)),
        "a.bias": np.ones(3),
        "a.mask": np.ones(3),
        "b.weight": np.ones((2, 3)),
        "b.bias": np.ones(2),
    }
    names = dict(zip([layer.name for layer in model.layers], "ab", strict=True))
    with pytest.raises(ValueError, match=r"1 unexpected in the file \(a\.mask\)"):
        load_torch(model, arrays, match=names)
    report = load_torch(model, {**arrays, "c.weight": np.ones(1)}, match=names, unexpected_ok=True)
    assert report.unexpected == ["a.mask", "c.weight"] and len(report.pairs) == 4


@pytest.mark.parametrize("number", [0, 1, 2**31 - 1, 2**31, 2**40])
def test_whole_numbers_of_pytorch_s_files(number):
    from minitl.interop.torch_files import _Writer

    assert pickle.loads(b"\x80\x02" + _Writer._whole(number) + b".") == number


@pytest.mark.parametrize("padding", ["valid", "same"])
@pytest.mark.parametrize(
    ("kernel", "strides", "more"), [(3, 2, 1), (3, 2, 0), (4, 2, 0), (4, (2, 3), (1, 2)), (2, 2, 1), (1, 3, 2)]
)
def test_transposed_convolutions_of_any_size_go_both_ways(kernel, strides, more, padding, tmp_path):
    keras = pytest.importorskip("keras")
    x = np.random.default_rng(0).normal(size=(2, 5, 6, 3)).astype("float32")
    settings = {"strides": strides, "padding": padding, "output_padding": more}
    theirs = keras.Sequential([keras.Input((5, 6, 3)), keras.layers.Conv2DTranspose(4, kernel, **settings)])
    theirs.save(tmp_path / "theirs.keras")
    ours = load_model(tmp_path / "theirs.keras")
    expected = theirs.predict(x, verbose=0)
    np.testing.assert_allclose(ours.predict(x, verbose=0), expected, atol=1e-5)
    ours.save(tmp_path / "ours.keras")
    np.testing.assert_allclose(keras.saving.load_model(tmp_path / "ours.keras").predict(x, verbose=0), expected, atol=1e-5)
    export_onnx(ours, tmp_path / "ours.onnx")
    runtime = pytest.importorskip("onnxruntime").InferenceSession(tmp_path / "ours.onnx")
    (found,) = runtime.run(None, {runtime.get_inputs()[0].name: x})
    np.testing.assert_allclose(found, expected, atol=1e-5)
    np.testing.assert_allclose(import_onnx(tmp_path / "ours.onnx").predict(x, verbose=0), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (2, "below the stride, 2, got 2"),
        (-1, "at least 0"),
        ((1, 1, 1), "one whole number or two"),
        (0.5, "one whole number or two"),
    ],
)
def test_an_output_padding_is_below_the_stride(given, message):
    with pytest.raises(ValueError, match=message):
        layers.Conv2DTranspose(4, 3, strides=2, output_padding=given)


class Shifted:
    """A regularizer, or a constraint, of one's own."""

    def __init__(self, by):
        self.by = by

    def __call__(self, w):
        return self.by * np.sum(np.square(w))

    def get_config(self):
        return {"by": self.by}


SETTINGS_OF_TRAINING = {
    "lengths": lambda kind, lib: kind.Dense(3, kernel_constraint=lib.constraints.MaxNorm(1.5, axis=0), bias_constraint="non_neg"),
    "lengths of windows": lambda kind, lib: kind.Conv1D(3, 2, kernel_constraint=lib.constraints.UnitNorm(axis=(0, 1))),
    "limits": lambda kind, lib: kind.Conv1D(3, 2, kernel_constraint=lib.constraints.MinMaxNorm(0.1, 0.5, 0.7, axis=0)),
    "shape of the noise": lambda kind, lib: kind.Dropout(0.5, noise_shape=(None, 1, 4)),
    "no shape of the noise": lambda kind, lib: kind.SpatialDropout1D(0.5),
    "lengths and squares": lambda kind, lib: kind.Dense(3, kernel_regularizer=lib.regularizers.L1L2(0.1, 0.2)),
}


@pytest.mark.parametrize("name", SETTINGS_OF_TRAINING)
def test_what_only_training_needs_goes_both_ways(name, tmp_path):
    keras = pytest.importorskip("keras")
    make = SETTINGS_OF_TRAINING[name]
    theirs = keras.Sequential([keras.Input((5, 4)), make(keras.layers, keras)])
    ours = Sequential([layers.Input((5, 4)), make(layers, minitl)])
    theirs.save(tmp_path / "theirs.keras")
    ours.save(tmp_path / "ours.keras")

    def described(model):
        config = {key: value for key, value in model.layers[-1].get_config().items() if key not in ("name", "dtype", "seed")}
        for key, value in config.items():
            if key.endswith("_initializer"):
                config[key] = None
            elif hasattr(value, "get_config"):
                config[key] = type(value).__name__, value.get_config()
        return json.loads(json.dumps(config))  # tuples are lists there

    for file in ("theirs.keras", "ours.keras"):
        assert described(load_model(tmp_path / file)) == described(ours), file
    assert described(keras.saving.load_model(tmp_path / "ours.keras")) == described(theirs)


def test_regularizers_and_constraints_of_ones_own_are_not_dropped():
    def config(**settings):
        entry = {"class_name": "Dense", "config": {"units": 3, "batch_input_shape": [None, 4], **settings}}
        return {"class_name": "Sequential", "config": {"layers": [entry]}}

    own = {"class_name": "Shifted", "config": {"by": 2.0}}
    (layer,) = keras_architecture.rebuilt(config(kernel_regularizer=own, bias_constraint=own), {"Shifted": Shifted}).layers
    assert layer.kernel_regularizer(np.ones(3)) == 6 and layer.bias_constraint.by == 2
    for key, kind in (("kernel_regularizer", "regularizer"), ("kernel_constraint", "constraint")):
        with pytest.raises(ValueError, match=f"unknown {kind} of Keras 'Shifted'.*your own go into custom_objects"):
            keras_architecture.rebuilt(config(**{key: own}))
    older = {"name": "WeightRegularizer", "l1": 0.0, "l2": 0.25}  # of Keras 1
    (layer,) = keras_architecture.rebuilt(config(kernel_regularizer=older)).layers
    assert layer.kernel_regularizer(np.ones(4)) == 1
    with pytest.raises(ValueError, match="does not take time_major=True here"):
        keras_architecture.rebuilt(config(time_major=True))
    (layer,) = keras_architecture.rebuilt(config(time_major=False, recurrent_constraint=None, lora_rank=None)).layers


def test_the_range_of_values_goes_both_ways(tmp_path):
    keras = pytest.importorskip("keras")
    theirs = keras.Sequential([keras.Input((5, 4, 3)), keras.layers.RandomBrightness(0.2, value_range=(0.0, 1.0))])
    theirs.save(tmp_path / "theirs.keras")
    ours = load_model(tmp_path / "theirs.keras")
    assert tuple(ours.layers[-1].value_range) == (0, 1)
    ours.save(tmp_path / "ours.keras")
    assert tuple(keras.saving.load_model(tmp_path / "ours.keras").layers[-1].value_range) == (0, 1)
    theirs = keras.Sequential([keras.Input((5, 4, 3)), keras.layers.RandomContrast(0.2)])
    theirs.save(tmp_path / "theirs.keras")
    assert type(load_model(tmp_path / "theirs.keras").layers[-1]) is layers.RandomContrast  # which needs no range here
