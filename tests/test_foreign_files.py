"""Odd files of other programs: dtypes that NumPy has not, tensors without numbers, names out of order, and what is refused."""

import json
import pickle
import zipfile

import numpy as np
import pytest

from minitl import set_random_seed
from minitl.interop import (
    load_keras,
    load_keras_weights,
    load_safetensors,
    load_torch,
    save_keras,
    save_keras_weights,
    save_safetensors,
    save_torch,
)
from minitl.interop.keras_compile import compile_as_described
from minitl.interop.safe_tensors import read_safetensors
from minitl.interop.torch_files import MAGIC, PROTOCOL, read_torch, write_torch
from minitl.layers import BatchNormalization, Conv2D, Dense, Embedding, Flatten, GlobalAveragePooling2D, Input
from minitl.models import Model, Sequential

X = np.random.default_rng(0).normal(size=(3, 4)).astype("float32")


def small(seed=0):
    set_random_seed(seed)
    return Sequential([Input((4,)), Dense(3, name="first"), Dense(2, name="second")])


def safetensors(path, entries):
    """A file of names with dtype, shape and bytes, as the format's description has it."""
    header, data = {}, b""
    for name, (dtype, shape, numbers) in entries.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(numbers)]}
        data += numbers
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def test_bfloat16_becomes_float32(tmp_path):
    numbers = np.array([1.5, -2.0, 0.0], np.float32)
    safetensors(tmp_path / "w.safetensors", {"a": ("BF16", [3], (numbers.view(np.uint32) >> 16).astype("<u2").tobytes())})
    arrays, metadata = read_safetensors(tmp_path / "w.safetensors")
    assert arrays["a"].dtype == np.float32 and metadata == {}
    np.testing.assert_array_equal(arrays["a"], numbers)


def test_safetensors_that_are_refused(tmp_path):
    safetensors(tmp_path / "w.safetensors", {"a": ("F8_E4M3", [2], b"\0\0")})
    with pytest.raises(ValueError, match="a has dtype F8_E4M3, which NumPy does not have; convert it first"):
        read_safetensors(tmp_path / "w.safetensors")
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_safetensors(tmp_path / "none.safetensors")
    with pytest.raises(ValueError, match="unknown layout 'tensorflow'"):
        save_safetensors(small(), tmp_path / "w.safetensors", layout="tensorflow")


@pytest.mark.parametrize(("save", "load", "name"), [
    (save_safetensors, load_safetensors, "w.safetensors"), (save_keras_weights, load_keras_weights, "w.weights.h5"),
])  # fmt: skip
def test_loading_what_is_there_keeps_the_rest(save, load, name, tmp_path):
    set_random_seed(3)
    part, model = Sequential([Input((4,)), Dense(3, name="first")]), small(1)
    before = [w.copy() for w in model.get_weights()]
    save(part, tmp_path / name)
    with pytest.raises(ValueError, match="second"):
        load(model, tmp_path / name)
    for a, b in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(a, b)
    settings = {"strict": False} if load is load_safetensors else {"by_name": True}
    for into in (lambda: load(model, tmp_path / name, **settings), lambda: model.load_weights(tmp_path / name, **settings)):
        model.set_weights(before)
        into()
        for a, b in zip(model.get_weights(), [*part.get_weights(), *before[2:]], strict=True):
            np.testing.assert_array_equal(a, b)


def test_what_has_no_place_is_left_where_that_was_asked_for(tmp_path):
    set_random_seed(3)
    whole, part = small(1), Sequential([Input((4,)), Dense(3, name="first")])
    save_safetensors(whole, tmp_path / "w.safetensors")
    with pytest.raises(ValueError, match="second"):
        load_safetensors(part, tmp_path / "w.safetensors")
    load_safetensors(part, tmp_path / "w.safetensors", unexpected_ok=True)
    with pytest.raises(ValueError, match="first/kernel"):
        load_safetensors(Sequential([Input((4,)), Dense(3, name="third")]), tmp_path / "w.safetensors", unexpected_ok=True)
    load_safetensors(part, tmp_path / "w.safetensors", strict=False)
    for ours, theirs in zip(part.get_weights(), whole.get_weights(), strict=False):
        np.testing.assert_array_equal(ours, theirs)


def test_a_report_names_eight_entries():
    from minitl.interop.pairing import Pairs

    names = list("abcdefghij")
    assert str(Pairs(missing=names[:8])) == "0 pairs; 8 missing in the file (a, b, c, d, e, f, g, h)"
    assert str(Pairs(unexpected=names[:9])) == "0 pairs; 9 unexpected in the file (a, b, c, d, e, f, g, h, ...)"


def test_a_normalisation_that_was_folded_away_is_filled_in_where_the_bias_has_no_place(tmp_path):
    def network(use_bias, normalisation="norm"):
        x = Input((6, 6, 2))
        return Model(x, BatchNormalization(name=normalisation)(Conv2D(3, 3, use_bias=use_bias, name="conv")(x)))

    folded = Sequential([Input((6, 6, 2)), Conv2D(3, 3, name="conv", bias_initializer="ones")])
    save_safetensors(folded, tmp_path / "w.safetensors")
    model, x = network(False), np.random.default_rng(0).normal(size=(2, 6, 6, 2)).astype(np.float32)
    load_safetensors(model, tmp_path / "w.safetensors")
    np.testing.assert_allclose(model.predict(x, verbose=0), folded.predict(x, verbose=0), rtol=1e-5, atol=1e-6)
    with pytest.raises(ValueError, match="norm/gamma"):  # it has a place for the bias, so that nothing says what the rest was
        load_safetensors(network(True), tmp_path / "w.safetensors")
    save_safetensors(network(True), tmp_path / "whole.safetensors")
    with pytest.raises(ValueError, match="conv/bias"):  # the file has a normalisation: it was not folded away
        load_safetensors(network(False), tmp_path / "whole.safetensors")


def test_embeddings_of_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    theirs = torch.nn.Embedding(5, 3)
    torch.save({"words.weight": theirs.weight.data}, tmp_path / "w.pt")
    model = Sequential([Input((2,), dtype="int64"), Embedding(5, 3, name="words"), Flatten()])
    load_torch(model, tmp_path / "w.pt")
    np.testing.assert_array_equal(model.get_weights()[0], theirs.weight.detach().numpy())


def test_a_1x1_convolution_stands_for_a_dense_layer_and_back(tmp_path):
    kernel, bias = np.arange(12, dtype=np.float32).reshape(3, 4), np.arange(3, dtype=np.float32)
    write_torch(tmp_path / "conv.pt", {"head.weight": kernel[:, :, None, None], "head.bias": bias})
    dense = Sequential([Input((4,)), Dense(3, name="head")])
    load_torch(dense, tmp_path / "conv.pt")
    np.testing.assert_array_equal(dense.get_weights()[0], kernel.T)
    write_torch(tmp_path / "dense.pt", {"head.weight": kernel, "head.bias": bias})
    conv = Sequential([Input((2, 2, 4)), Conv2D(3, 1, name="head"), GlobalAveragePooling2D()])
    load_torch(conv, tmp_path / "dense.pt")
    np.testing.assert_array_equal(conv.get_weights()[0][0, 0], kernel.T)
    wide = Sequential([Input((2, 2, 1)), Conv2D(3, 2, name="head"), GlobalAveragePooling2D()])
    with pytest.raises(ValueError, match="head/kernel"):  # as many numbers, and in another order
        load_torch(wide, tmp_path / "dense.pt")


def test_names_in_alphabetical_order_tell_nothing(tmp_path):
    write_torch(tmp_path / "w.pt", {f"{name}.weight": np.eye(4, dtype=np.float32) for name in "abc"})
    model = Sequential([Input((4,)), *(Dense(4, use_bias=False) for _ in range(3))])
    with pytest.raises(ValueError, match=r"its names are sorted, so that their order tells nothing; give the names by match="):
        load_torch(model, tmp_path / "w.pt")
    write_torch(tmp_path / "w.pt", {f"{name}.weight": k * np.eye(4, dtype=np.float32) for k, name in enumerate("bca")})
    load_torch(model, tmp_path / "w.pt")
    assert [w[0, 0] for w in model.get_weights()] == [0, 1, 2]


def test_tensors_without_numbers_and_of_other_dtypes(tmp_path):
    torch = pytest.importorskip("torch")
    given = {"empty": torch.zeros(0, 3), "half": torch.ones(2, dtype=torch.bfloat16), "whole": torch.arange(3)}
    torch.save(given, tmp_path / "w.pt")
    arrays = read_torch(tmp_path / "w.pt")
    assert {name: (a.shape, a.dtype.name) for name, a in arrays.items()} == {
        "empty": ((0, 3), "float32"), "half": ((2,), "float32"), "whole": ((3,), "int64")
    }  # fmt: skip
    with pytest.raises(ValueError, match="a: PyTorch has no storage of complex64"):
        write_torch(tmp_path / "c.pt", {"a": np.ones(2, np.complex64)})
    assert not (tmp_path / "c.pt").exists()


def changed(source, target, name, change):
    """A copy of an archive with a member changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            data = old.read(member)
            new.writestr(member, change(data) if member.endswith(name) else data)


def test_pytorch_s_files_that_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no file at"):
        read_torch(tmp_path / "none.pt")
    save_torch(small(), tmp_path / "w.pt")
    for name, change, message in (
        ("data.pkl", lambda data: data.replace(b"storage", b"pointer"), "refers to a 'pointer', which is no storage"),
        ("byteorder", lambda data: b"big", "the numbers are big-endian; little is read"),
        ("data.pkl", lambda data: b"\x80\x02}q\x00.", "holds no tensors; save model.state_dict"),
        ("data.pkl", lambda data: b"\x80\x02]q\x00.", "holds a list, no dictionary of tensors"),
        ("data.pkl", lambda data: data + b"\0" * (65 << 20), "the description of the tensors is too long"),
        ("data/0", lambda data: data[:-1], r"storage 0 claims 12 numbers and holds 47 bytes"),
    ):
        changed(tmp_path / "w.pt", tmp_path / "changed.pt", name, change)
        with pytest.raises(ValueError, match=message):
            read_torch(tmp_path / "changed.pt")
    with zipfile.ZipFile(tmp_path / "packed.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", b"\0" * 100_000)
    with pytest.raises(ValueError, match="the members claim more bytes than the file has"):
        read_torch(tmp_path / "packed.pt")
    (tmp_path / "old.pt").write_bytes(pickle.dumps(17, 2) * 3)
    with pytest.raises(ValueError, match="no PyTorch file"):
        read_torch(tmp_path / "old.pt")


def described(tmp_path, change):
    """A Keras file whose description was changed."""
    save_keras(small(), tmp_path / "m.keras")
    edit = lambda data: json.dumps(change(json.loads(data))).encode()  # noqa: E731
    changed(tmp_path / "m.keras", tmp_path / "changed.keras", "config.json", edit)
    return load_keras(tmp_path / "changed.keras")


def layers_of(description):
    return description["config"]["layers"]


def test_descriptions_of_keras_that_are_refused(tmp_path):
    def other_class(description):
        return {**description, "class_name": "Subclassed"}

    def channels_first(description):
        layers_of(description)[-1]["config"]["data_format"] = "channels_first"
        return description

    for change, message in (
        (other_class, "describes a Subclassed, no Functional or Sequential model"),
        (channels_first, "data_format='channels_first'; only channels_last is read"),
    ):
        with pytest.raises(ValueError, match=message):
            described(tmp_path, change)


def test_initializers_of_other_programs_are_not_needed(tmp_path):
    def unknown(description):
        layers_of(description)[-1]["config"]["kernel_initializer"] = {"class_name": "Mine", "config": {}}
        return description

    np.testing.assert_array_equal(described(tmp_path, unknown)(X), small()(X))


def test_files_of_keras_without_an_architecture(tmp_path):
    save_keras_weights(small(), tmp_path / "w.weights.h5")
    with pytest.raises(ValueError, match="holds weights only; build the model and call load_weights"):
        load_keras(tmp_path / "w.weights.h5")
    with pytest.raises(FileNotFoundError, match="no file at"):
        load_keras(tmp_path / "none.keras")


def test_numbers_of_keras_s_files_that_are_refused(tmp_path):
    h5py = pytest.importorskip("h5py")
    save_keras_weights(small(), tmp_path / "w.weights.h5")

    def replaced(kind, **settings):
        (tmp_path / "x.weights.h5").write_bytes((tmp_path / "w.weights.h5").read_bytes())
        with h5py.File(tmp_path / "x.weights.h5", "a") as file:
            path = next(p for p in every(file) if p.endswith("/0") and file[p].shape == (4, 3))
            del file[path]
            file.create_dataset(path, dtype=kind, **settings)
        load_keras_weights(small(), tmp_path / "x.weights.h5")

    def every(group):
        found = []
        group.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
        return found

    with pytest.raises(ValueError, match="keeps its numbers in another file, which is not read"):
        replaced("float32", shape=(4, 3), external=[(str(tmp_path / "numbers.raw"), 0, 48)])
    with pytest.raises(ValueError, match=r"holds \|S5, not numbers"):
        replaced("S5", shape=(4, 3))
    with pytest.raises(ValueError, match=r"claims shape .* more than the file has"):
        replaced("float32", shape=(40_000, 30_000), chunks=(100, 100))


@pytest.mark.parametrize(("value", "taken"), [(None, True), (False, True), (True, False), (3, False)])
def test_settings_that_are_not_made_may_be_unknown(value, taken, tmp_path):
    def more(description):
        layers_of(description)[-1]["config"]["made_up"] = value
        return description

    if taken:
        np.testing.assert_array_equal(described(tmp_path, more)(X), small()(X))
    else:
        with pytest.raises(ValueError, match=f"does not take made_up={value} here"):
            described(tmp_path, more)


@pytest.mark.parametrize(("rate", "taken"), [(1, True), ([1, 1], True), (2, False)])
def test_a_dilation_that_changes_nothing_may_be_unknown(rate, taken, tmp_path):
    def dilated(description):
        layers_of(description)[-1]["config"]["dilation_rate"] = rate
        return description

    if taken:
        assert described(tmp_path, dilated)(X).shape == (3, 2)
    else:
        with pytest.raises(ValueError, match="does not take dilation_rate=2 here"):
            described(tmp_path, dilated)


def test_a_sequential_is_built_for_the_shape_that_its_file_tells(tmp_path):
    def without_input(description):
        layers = layers_of(description)
        description["config"]["layers"] = [entry for entry in layers if entry["class_name"] != "InputLayer"]
        for entry in layers:
            entry["config"].pop("batch_input_shape", None)
            entry["config"].pop("batch_shape", None)
        description["config"]["build_input_shape"] = [None, 4]
        return description

    found = described(tmp_path, without_input)
    assert found.input_shape == (None, 4)
    np.testing.assert_array_equal(found(X), small()(X))


def test_a_sequential_takes_the_shape_that_its_first_layer_declares(tmp_path):
    def without_input(description):
        layers = [entry for entry in layers_of(description) if entry["class_name"] != "InputLayer"]
        for entry, units in zip(layers, (4, 7), strict=False):  # what a later layer declares is not asked
            entry["config"]["batch_input_shape"] = [None, units]
            entry["config"].pop("batch_shape", None)
        description["config"]["layers"] = layers
        description["config"].pop("build_input_shape", None)
        return description

    found = described(tmp_path, without_input)
    assert found.input_shape == (None, 4) and found.built
    np.testing.assert_array_equal(found(X), small()(X))


def compiled_as(described):
    model = small()
    compile_as_described(model, {"optimizer": "sgd", "loss": "mse", **described}, "the file", {})
    return model


@pytest.mark.parametrize(
    "accuracy",
    [
        "accuracy",
        {"class_name": "MeanMetricWrapper", "config": {"name": "accuracy", "dtype": "float32", "fn": "categorical_accuracy"}},
        {"class_name": "MeanMetricWrapper", "config": {"name": "categorical_accuracy", "dtype": "float32"}},
        {"class_name": "function", "config": "categorical_accuracy"},
    ],
)
@pytest.mark.parametrize("nested", [False, True])
def test_metrics_as_older_versions_describe_them(accuracy, nested):
    model = compiled_as({"metrics": [[accuracy]] if nested else [accuracy]})
    y = np.eye(2)[[0, 1, 1]]
    right = (model.predict(X, verbose=0).argmax(axis=1) == [0, 1, 1]).mean()
    assert model.evaluate(X, y, verbose=0)[1] == pytest.approx(right)


def test_losses_as_older_versions_describe_them():
    for loss in (
        {"class_name": "function", "config": "mean_absolute_error"},
        {"class_name": "LossFunctionWrapper", "config": {"fn": "mae"}},
    ):
        assert type(compiled_as({"loss": loss}).loss).__name__ == "MeanAbsoluteError"
    assert (
        type(compiled_as({"loss": {"class_name": "MeanAbsoluteError", "config": {"name": "mine"}}}).loss).__name__
        == "MeanAbsoluteError"
    )


def test_losses_among_the_metrics_of_a_file():
    described = {"class_name": "MeanAbsoluteError", "config": {"name": "off", "dtype": "float32", "fn": "mean_absolute_error"}}
    model, y = compiled_as({"metrics": [described]}), np.eye(2)[[0, 1, 1]]
    off = abs(model.predict(X, verbose=0) - y).mean()
    assert model.evaluate(X, y, return_dict=True, verbose=0)["off"] == pytest.approx(off)


def test_what_cannot_be_compiled_leaves_the_model_as_it_was():
    with pytest.warns(UserWarning, match="the file: the model is not compiled .*Mine.*; call compile"):
        model = compiled_as({"loss": {"class_name": "Mine", "config": {}}})
    assert model.optimizer is None and model.predict(X, verbose=0).shape == (3, 2)


def test_names_that_were_given_by_a_model_do_not_count_against_the_order(tmp_path):
    target = Sequential([Input((4,)), Dense(4), Dense(4)])
    first, second = (layer.name for layer in target.layers)
    source = Sequential([Input((4,)), Dense(4, name=second), Dense(4, name=first)])  # Keras has counted otherwise
    source.save(tmp_path / "source.h5")
    target.load_weights(tmp_path / "source.h5")
    np.testing.assert_array_equal(target(X), source(X))
    named = Sequential([Input((4,)), Dense(4, name=first), Dense(4, name=second)])  # these names a program has chosen
    named.load_weights(tmp_path / "source.h5")
    np.testing.assert_array_equal(named.get_weights()[0], source.get_weights()[2])


@pytest.mark.parametrize("part", ["magic number", "protocol"])
def test_an_old_file_begins_with_pytorch_s_number_and_protocol(part, tmp_path):
    torch = pytest.importorskip("torch")
    torch.save({"w": torch.ones(2)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_torch(tmp_path / "old.pt")["w"].tolist() == [1, 1]
    data = (tmp_path / "old.pt").read_bytes()
    number, other = {"magic number": (MAGIC, MAGIC + 1), "protocol": (PROTOCOL, PROTOCOL + 1)}[part]
    before = pickle.dumps(number, 2)
    assert data.count(before) == 1
    (tmp_path / "old.pt").write_bytes(data.replace(before, pickle.dumps(other, 2)))
    with pytest.raises(ValueError, match="no PyTorch file"):
        read_torch(tmp_path / "old.pt")
