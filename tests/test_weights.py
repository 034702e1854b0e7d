"""Weight files: nothing is lost, nothing is loaded silently, nothing in them can hurt."""

import io
import json
import os
import subprocess
import sys
import textwrap
import zipfile

import numpy as np
import pytest
from rows import ROWS, TARGETS, small

from minitl import weights
from minitl.layers import BatchNormalization, Conv2D, Dense, Flatten, Input, Layer, MaxPooling2D, Rescaling
from minitl.layers.reserve import limited_weights
from minitl.models import Sequential, clone_model, load_model
from minitl.optimizers import SGD, Adam
from minitl.schedules import CosineDecay, WarmUp
from minitl.weights import read, write

X = np.random.default_rng(0).standard_normal((20, 8, 8, 2)).astype(np.float32)
Y = np.arange(20) % 3


def network(classes=3, name=None):
    return Sequential(
        [
            Input((8, 8, 2)),
            Conv2D(4, 3, activation="relu"),
            BatchNormalization(),
            MaxPooling2D(),
            Flatten(),
            Dense(5, activation="relu"),
            Dense(classes, activation="softmax", name=name),
        ]
    )


def trained(**kwargs):
    model = network(**kwargs)
    model.compile(Adam(WarmUp(CosineDecay(0.01, 50), 5)), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(X, Y, epochs=2, batch_size=8, verbose=0)
    return model


def state(model):
    return [w.tobytes() for w in model.weights]


# Round trips.


def test_save_and_load_give_the_same_bits(tmp_path):
    model = trained()
    model.save(tmp_path / "model.npz")
    copy = load_model(tmp_path / "model.npz")
    assert state(copy) == state(model)
    assert copy.predict(X).tobytes() == model.predict(X).tobytes()
    assert copy.evaluate(X, Y) == model.evaluate(X, Y)
    assert [layer.name for layer in copy.layers] == [layer.name for layer in model.layers]


@pytest.mark.parametrize("name", ["model.bin", "model", "with space.npz"])
def test_the_name_is_kept_as_given(tmp_path, name):
    trained().save(tmp_path / name)
    assert os.listdir(tmp_path) == [name]
    load_model(tmp_path / name)


def test_training_goes_on_as_if_nothing_had_happened(tmp_path):
    model = trained()
    model.save(tmp_path / "model.npz")
    copy = load_model(tmp_path / "model.npz")
    for each in (model, copy):
        each.fit(X, Y, epochs=2, batch_size=8, shuffle=False, verbose=0)
    assert state(copy) == state(model)
    assert copy.optimizer.iterations == model.optimizer.iterations == 12


def test_frozen_layers_stay_frozen_and_containers_work(tmp_path):
    model = Sequential([network(), Dense(2)])
    model.layers[0].get_layer("conv2d").trainable = False
    model.save(tmp_path / "model.npz")
    copy = load_model(tmp_path / "model.npz")
    assert copy.layers[0].get_layer("conv2d").trainable is False
    assert copy.layers[0].get_layer("dense").trainable is True
    assert state(copy) == state(model)
    assert clone_model(model).count_params() == model.count_params()


def test_the_same_weights_give_the_same_bytes(tmp_path):
    model = trained()
    model.save(tmp_path / "a.npz")
    model.save(tmp_path / "b.npz")
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_numpy_reads_what_we_write_and_we_read_what_numpy_writes(tmp_path):
    model = network()
    model.save_weights(tmp_path / "ours.npz")
    with np.load(tmp_path / "ours.npz", allow_pickle=False) as file:
        arrays = dict(file)
    assert set(arrays) == set(weights.named_weights(model))
    np.savez(tmp_path / "numpys.npz", **{key: np.asfortranarray(a.astype(">f8")) for key, a in arrays.items()})
    other = network()
    report = other.load_weights(tmp_path / "numpys.npz")
    assert len(report.loaded) == len(arrays)
    assert state(other) == state(model)


# By name, strictly or not.


def test_another_head_loads_the_base_and_reports_the_head(tmp_path, capsys):
    model = trained(name="head")
    model.save_weights(tmp_path / "w.npz")
    other = network(classes=7, name="head")
    before = state(other)
    with pytest.raises(ValueError, match="head/kernel") as error:
        other.load_weights(tmp_path / "w.npz")
    assert "head/bias" in str(error.value)
    assert state(other) == before
    report = other.load_weights(tmp_path / "w.npz", strict=False)
    assert len(report.loaded) == 8
    assert [entry.split()[0] for entry in report.shape_differs] == ["head/kernel", "head/bias"]
    assert capsys.readouterr().out.count("\n") == 1
    assert state(other)[:8] == state(model)[:8]
    assert state(other)[8:] == before[8:]


def test_another_name_is_missing_and_unexpected(tmp_path):
    trained(name="letters").save_weights(tmp_path / "w.npz")
    other = network(name="digits")
    with pytest.raises(ValueError, match="strict=False"):
        other.load_weights(tmp_path / "w.npz")
    report = other.load_weights(tmp_path / "w.npz", by_name=True)
    assert report.missing == ["digits/kernel", "digits/bias"]
    assert report.unexpected == ["letters/kernel", "letters/bias"]


def test_by_name_still_refuses_other_shapes(tmp_path):
    trained().save_weights(tmp_path / "w.npz")
    with pytest.raises(ValueError, match="of another shape"):
        network(classes=4).load_weights(tmp_path / "w.npz", by_name=True)
    report = network(classes=4).load_weights(tmp_path / "w.npz", by_name=True, skip_mismatch=True)
    assert len(report.shape_differs) == 2


def test_nothing_matching_is_an_error_even_when_not_strict(tmp_path):
    trained().save_weights(tmp_path / "w.npz")
    stranger = Sequential([Input((4,)), Dense(9, name="stranger")])
    with pytest.raises(ValueError, match="nothing that fits"):
        stranger.load_weights(tmp_path / "w.npz", strict=False)


def test_weights_of_a_whole_model_load_too(tmp_path):
    model = trained()
    model.save(tmp_path / "model.npz")
    other = network()
    other.load_weights(tmp_path / "model.npz")
    assert state(other) == state(model)


def test_a_weight_file_is_no_model(tmp_path):
    network().save_weights(tmp_path / "w.npz")
    with pytest.raises(ValueError, match="weights only"):
        load_model(tmp_path / "w.npz")


def test_models_without_shapes_cannot_be_saved_or_loaded(tmp_path):
    model = Sequential([Dense(3)])
    with pytest.raises(ValueError, match="build"):
        model.save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match="no layers"):
        Sequential().save(tmp_path / "m.npz")
    assert not os.listdir(tmp_path)


def test_custom_layers_need_custom_objects(tmp_path):
    class Mine(Layer):
        def forward(self, x, training):
            return x

        def backward(self, dy):
            return dy

    model = Sequential([Input((3,)), Mine(), Dense(2)])
    model.save(tmp_path / "m.npz")
    with pytest.raises(ValueError, match=r"custom_objects=\{'Mine': Mine\}"):
        load_model(tmp_path / "m.npz")
    assert isinstance(load_model(tmp_path / "m.npz", custom_objects={"Mine": Mine}).layers[0], Mine)


def test_a_layer_that_hides_its_arguments_says_so(tmp_path):
    class Hides(Layer):
        def __init__(self, secret):
            self.other = secret

        def forward(self, x, training):
            return x

        def backward(self, dy):
            return dy

    with pytest.raises(TypeError, match="'secret' is not kept"):
        Sequential([Input((3,)), Hides(1)]).save(tmp_path / "m.npz")
    assert not os.listdir(tmp_path)


# Writing is all or nothing.


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    model = network()
    model.save(tmp_path / "m.npz")
    before = (tmp_path / "m.npz").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    for target, name in ((os, "fsync"), (zipfile.ZipFile, "writestr")):
        with monkeypatch.context() as patch:
            patch.setattr(target, name, full)
            with pytest.raises(OSError, match="No space"):
                trained().save(tmp_path / "m.npz")
    assert (tmp_path / "m.npz").read_bytes() == before
    assert os.listdir(tmp_path) == ["m.npz"]


def test_a_kill_while_saving_leaves_the_old_file(tmp_path):
    network().save(tmp_path / "m.npz")
    before = (tmp_path / "m.npz").read_bytes()
    program = f"""
        import os, signal, sys
        import numpy as np
        from minitl import weights
        weights.os.fsync = lambda fd: os.kill(os.getpid(), signal.SIGKILL)
        weights.write({str(tmp_path / "m.npz")!r}, {{"a/b": np.ones(1000)}})
    """
    result = subprocess.run([sys.executable, "-c", textwrap.dedent(program)])
    assert result.returncode == -9
    assert (tmp_path / "m.npz").read_bytes() == before


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="create it first"):
        network().save(tmp_path / "no" / "m.npz")


# Reading what should not be trusted.


def npy(array, allow_pickle=False):
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=allow_pickle)
    return buffer.getvalue()


def header(shape, descr="<f4", body=b""):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape})
    text += " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode() + body


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members:
            file.writestr(name, data)


HOSTILE = {
    "objects": ([("conv2d/kernel.npy", npy(np.array([print, {}], dtype=object), allow_pickle=True))], "not numbers"),
    "strings": ([("conv2d/kernel.npy", npy(np.array(["abc"])))], "not numbers"),
    "records": ([("conv2d/kernel.npy", npy(np.zeros(3, [("a", "f4"), ("b", "i4")])))], "not numbers"),
    "terabytes": ([("conv2d/kernel.npy", header((1 << 40,)))], "claims shape"),
    "overflow": ([("conv2d/kernel.npy", header((1 << 62, 1 << 62)))], "claims shape"),
    "negative": ([("conv2d/kernel.npy", header((-1, -4), body=b"\0" * 16))], "claims shape"),
    "too short": ([("conv2d/kernel.npy", header((9,), body=b"\0" * 16))], "claims shape"),
    "too long": ([("conv2d/kernel.npy", header((2,), body=b"\0" * 16))], "claims shape"),
    "code in the header": ([("conv2d/kernel.npy", header("__import__('os').abort()"))], "damaged"),
    "a path upwards": ([("../../etc/kernel.npy", npy(np.zeros(3)))], "not a weight's name"),
    "an absolute path": ([("/etc/kernel.npy", npy(np.zeros(3)))], "not a weight's name"),
    "twice": ([("a/b.npy", npy(np.zeros(3))), ("a/b.npy", npy(np.ones(3)))], "twice"),
    "a foreign member": ([("readme.txt", b"hello")], "no weight"),
    "no npy": ([("a/b.npy", b"hello, world, this is text")], "damaged"),
    "unknown version": ([("a/b.npy", b"\x93NUMPY\x09\x00" + b"\0" * 100)], "version"),
    "architecture is no object": ([("model.json", b"[1, 2]")], "does not describe"),
    "architecture is no JSON": ([("model.json", b"{")], "damaged"),
    "architecture is deep": ([("model.json", b"[" * 100000)], "damaged"),
}


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("name", sorted(HOSTILE))
def test_hostile_files_give_one_clear_error(tmp_path, name):
    members, message = HOSTILE[name]
    archive(tmp_path / "w.npz", members)
    model = network()
    before = state(model)
    with pytest.raises(weights.WeightFileError, match=message):
        model.load_weights(tmp_path / "w.npz")
    with pytest.raises(weights.WeightFileError, match=message):
        load_model(tmp_path / "w.npz")
    assert state(model) == before


def test_a_zip_bomb_is_refused_before_it_unfolds(tmp_path):
    archive(tmp_path / "w.npz", [("a/b.npy", header((1 << 28,), body=bytes(1 << 28)))], zipfile.ZIP_DEFLATED)
    assert (tmp_path / "w.npz").stat().st_size < 1 << 21
    with pytest.raises(weights.WeightFileError, match="more bytes than the file has"):
        weights.read(tmp_path / "w.npz")


def test_an_architecture_of_foreign_classes_makes_nothing(tmp_path):
    for layer in ({"class_name": "os.system", "config": {}}, {"class_name": "Popen", "config": {"args": "true"}}):
        config = {"format": 1, "model": {"config": {"name": None, "input_shape": [None, 3], "layers": [layer]}}}
        archive(tmp_path / "m.npz", [("model.json", json.dumps(config))])
        with pytest.raises(ValueError, match="unknown layer class"):
            load_model(tmp_path / "m.npz")


@pytest.mark.parametrize(
    "config", [{}, {"format": 99}, {"format": 1, "model": {}}, {"format": 1, "model": {"config": {"layers": [{}]}}}]
)
def test_broken_architectures(tmp_path, config):
    archive(tmp_path / "m.npz", [("model.json", json.dumps(config))])
    with pytest.raises(ValueError, match=r"m\.npz"):
        load_model(tmp_path / "m.npz")


def test_truncated_at_any_length_and_flipped_anywhere(tmp_path):
    model = network()
    model.save(tmp_path / "good.npz")
    data = (tmp_path / "good.npz").read_bytes()
    target = tmp_path / "bad.npz"
    before = state(model)
    generator = np.random.default_rng(0)
    for length in [0, 1, 10, *generator.integers(0, len(data), 60)]:
        target.write_bytes(data[:length])
        with pytest.raises(weights.WeightFileError):
            weights.read(target)
    refused = 0
    for place in generator.integers(0, len(data), 300):
        flipped = bytearray(data)
        flipped[place] ^= 1 << generator.integers(8)
        target.write_bytes(flipped)
        try:
            weights.read(target)  # a flip in a date or an unused flag is harmless
        except weights.WeightFileError:
            refused += 1
    assert refused > 200
    assert state(model) == before


def test_foreign_files(tmp_path):
    for content in (b"\x89HDF\r\n\x1a\n" + bytes(500), b"PK\x03\x04garbage", b"text\n" * 30):
        (tmp_path / "w.npz").write_bytes(content)
        with pytest.raises(weights.WeightFileError, match="damaged or not a weight file"):
            network().load_weights(tmp_path / "w.npz")
    with pytest.raises(FileNotFoundError, match="no weight file"):
        network().load_weights(tmp_path / "missing.npz")


@pytest.mark.parametrize("slot", [np.ones((9, 9)), np.ones(()), np.full((4, 3), np.nan)])
def test_optimizer_memory_that_does_not_fit_is_refused(tmp_path, slot):
    model = Sequential([Input((4,)), Dense(3)])
    model.compile(SGD(0.1, momentum=0.9), "mse")
    model.train_on_batch(np.ones((2, 4)), np.ones((2, 3)))
    model.save(tmp_path / "m.npz")
    read, config = weights.read(tmp_path / "m.npz")
    read["@optimizer/dense/kernel/velocity"] = slot
    weights.write(tmp_path / "m.npz", read, config)
    with pytest.raises(ValueError, match="the optimizer's memory 'velocity' of dense/kernel has shape"):
        load_model(tmp_path / "m.npz")
    copy = load_model(tmp_path / "m.npz", compile=False)
    assert copy.optimizer is None
    np.testing.assert_array_equal(copy.get_weights()[0], model.get_weights()[0])


def test_objects_are_no_weights(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        weights.write(tmp_path / "w.npz", {"layer/kernel": np.array([{}, 3], dtype=object)})
    assert not list(tmp_path.iterdir())


def test_weights_of_another_shape_are_refused_all_together():
    model = Sequential([Input((4,)), Dense(3, name="first"), Dense(3, name="second")])
    before = [w.copy() for w in model.get_weights()]
    for position, shape in ((0, (3,)), (2, (1, 3)), (3, (1,)), (3, ())):
        given = [np.full_like(w, 7) for w in before]
        given[position] = np.ones(shape, np.float32)  # it could be stretched to the weight's shape
        with pytest.raises(ValueError, match=f"weight {position}: expected shape .*load weights of the same network"):
            model.set_weights(given)
        for w, old in zip(model.get_weights(), before, strict=True):
            np.testing.assert_array_equal(w, old)


BROKEN = {
    "preprocessing": 5, "class_names": "cats", "origin": {"licence": 3}, "checkpoint": {"filepath": "a"}, "format": "x",
}  # fmt: skip


@pytest.mark.parametrize("key", BROKEN)
def test_descriptions_that_are_no_description(key, tmp_path):
    small().save(tmp_path / "m.npz")
    arrays, config = read(tmp_path / "m.npz")
    write(tmp_path / "m.npz", arrays, {**config, key: BROKEN[key]})
    with pytest.raises(ValueError, match=r"m\.npz"):
        load_model(tmp_path / "m.npz")


def test_layers_of_a_file_are_layers(tmp_path):
    model = Sequential([Input((4,)), Rescaling(2.0)])
    Sequential([Input((4,)), Rescaling(2.0), Dense(2)]).save(tmp_path / "m.npz")
    assert model.layers
    with pytest.raises(ValueError, match="Rescaling is not a layer"):
        load_model(tmp_path / "m.npz", custom_objects={"Rescaling": lambda **_: None})


def test_memory_of_a_weight_that_is_there_no_more_is_left_out(tmp_path):
    model = small()
    model.compile(SGD(0.1, momentum=0.9), "mse")
    model.fit(ROWS, TARGETS, verbose=0)
    model.save(tmp_path / "m.npz")
    arrays, config = read(tmp_path / "m.npz")
    slot = next(key for key in arrays if key.startswith("@optimizer/"))
    write(tmp_path / "m.npz", {**arrays, "@optimizer/gone/kernel/velocity": arrays[slot]}, config)
    again = load_model(tmp_path / "m.npz")
    assert set(again.optimizer.memory) == set(model.optimizer.memory)
    for path, memory in model.optimizer.memory.items():
        for name, array in memory.items():
            np.testing.assert_array_equal(again.optimizer.memory[path][name], array)


def test_weights_together_are_no_more_than_a_file_holds():
    with limited_weights(3 * 4 + 4 + 4 * 5 + 5):
        Sequential([Input((3,)), Dense(4), Dense(5)])
    with (
        limited_weights(3 * 4 + 4 + 4 * 5 + 4),
        pytest.raises(ValueError, match=r"a weight 'bias'.* is more than the file holds"),
    ):
        Sequential([Input((3,)), Dense(4), Dense(5)])
    Sequential([Input((3,)), Dense(400)])


@pytest.mark.skipif(os.name == "nt", reason="no rights of files there")
def test_saving_leaves_the_rights_of_new_files_alone(tmp_path):
    before = os.umask(0o027)
    try:
        network().save(tmp_path / "model.npz")
        assert os.umask(0o027) == 0o027
        assert (tmp_path / "model.npz").stat().st_mode & 0o777 == 0o640
    finally:
        os.umask(before)
