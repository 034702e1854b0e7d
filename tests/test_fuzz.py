"""A few hundred of the damaged files that `tests/fuzz.py` makes by the ten thousands."""

import struct
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pytest
from fuzz import READERS, damaged, fuzz, originals

import minitl
from minitl.interop.hdf5_texts import check_heaps
from minitl.interop.keras_hdf5 import Group
from minitl.interop.torch_files import read_torch


@pytest.mark.parametrize("kind", READERS)
def test_damaged_files_are_refused_or_read(kind, tmp_path):
    needed = {"keras": "h5py", "h5": "h5py", "weights.h5": "h5py", "branches": "h5py", "onnx": "onnx", "operators": "onnx"}
    pytest.importorskip(needed.get(kind, "numpy"))
    with np.errstate(all="ignore"), minitl.use_backend("numpy"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        counts, broken = fuzz(kind, 300, 0, tmp_path)
    assert not broken, "\n".join(broken)
    assert counts["refused"] > 60 and counts["refused"] + counts["read"] == 300


# Seeds that found something once: an encoding that there is not, an address beyond any file, a member that ends early, dtypes
# and names that are none; groups in the place of numbers.
FOUND = {
    "h5": [208432], "weights.h5": [203605, 213211, 214617], "keras": [202162, 205301, 209123, 210755, 216932],
    "onnx": [201838, 205436, 208067, 214083, 217210, 218971], "torch": [205934],
}  # fmt: skip


@pytest.mark.parametrize("kind", FOUND)
def test_what_was_found_once_is_found_no_more(kind, tmp_path):
    pytest.importorskip("onnx" if kind == "onnx" else "numpy" if kind == "torch" else "h5py")
    for seed in FOUND[kind]:
        _, broken = fuzz(kind, 1, seed, tmp_path)
        assert not broken


@pytest.mark.parametrize("name", ["m.weights.h5", "m.h5", "m.keras"])
def test_a_heap_of_hdf5_without_end_is_refused(name, tmp_path):
    """The library would never come back: run in a process that can be stopped."""
    pytest.importorskip("h5py")
    model, path = minitl.Sequential([minitl.Input((3,)), minitl.layers.Dense(2)]), tmp_path / name
    model.save_weights(path) if "weights" in name else model.save(path)
    if name == "m.keras":
        with zipfile.ZipFile(path) as archive:
            members = {member: archive.read(member) for member in archive.namelist()}
        with zipfile.ZipFile(path, "w") as archive:
            for member, data in members.items():
                archive.writestr(member, without_end(data) if member.endswith("h5") else data)
    else:
        path.write_bytes(without_end(path.read_bytes()))
    load = "import minitl, sys; minitl.Sequential([minitl.Input((3,)), minitl.layers.Dense(2)]).load_weights(sys.argv[1])"
    done = subprocess.run([sys.executable, "-c", load, str(path)], capture_output=True, text=True, timeout=60)
    assert "ValueError" in done.stderr and "a heap of texts has a part of size zero" in done.stderr, done.stderr


def test_a_text_of_hdf5_that_claims_more_than_its_heap_has_is_refused(tmp_path):
    pytest.importorskip("h5py")
    model = minitl.Sequential([minitl.Input((3,)), minitl.layers.Dense(2)])
    model.save_weights(tmp_path / "m.weights.h5")
    data = bytearray((tmp_path / "m.weights.h5").read_bytes())
    place = data.index(struct.pack("<Q", data.index(b"GCOL"))) - 4
    assert 0 < struct.unpack_from("<I", data, place)[0] < 32
    struct.pack_into("<I", data, place, 0xF0000000)
    (tmp_path / "m.weights.h5").write_bytes(data)
    with pytest.raises(ValueError, match=r"a text of .* bytes claims 4026531840"):
        model.load_weights(tmp_path / "m.weights.h5")


@pytest.mark.parametrize("shape", [(3,), (1, 3), (1, 1, 1, 3), "named"])
@pytest.mark.parametrize("version", ["earliest", "latest"])
@pytest.mark.parametrize("place", range(3))
def test_each_text_of_a_list_of_them_is_checked(shape, version, place, tmp_path):
    h5py = pytest.importorskip("h5py")
    path, texts = tmp_path / "m.h5", ["one", "", "three"]
    with h5py.File(path, "w", libver=version) as file:
        file["text"] = h5py.string_dtype()
        if shape == "named":  # its type stands somewhere else
            file.attrs.create("names", texts, dtype=file["text"])
        else:
            file.attrs.create("layer_names", np.reshape(texts, shape), dtype=h5py.string_dtype())
        file.attrs["backend"] = "numpy"
    data = bytearray(path.read_bytes())
    check_heaps(bytes(data), path)
    first = data.index(struct.pack("<IQ", 3, data.index(b"GCOL")))  # of "one"
    if place == 1:  # the empty text has no part
        data[first + 16 : first + 32] = data[first : first + 16]
    struct.pack_into("<I", data, first + 16 * place, 0xF0000000)
    with pytest.raises(ValueError, match=r"a text of .* bytes claims 4026531840"):
        check_heaps(bytes(data), path)


def test_attributes_of_other_types_are_not_read(tmp_path):
    h5py = pytest.importorskip("h5py")
    lists = np.empty(1, object)
    lists[0] = np.arange(2, dtype=np.int32)
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["parts"] = np.zeros(1, [("text", "S3"), ("number", "i4")])
        file.attrs.create("lists", lists, dtype=h5py.vlen_dtype(np.int32))
        for name in ("parts", "lists"):
            with pytest.raises(ValueError, match=f"the attribute '{name}' holds .*, not a text or numbers"):
                Group(file, 10_000, tmp_path / "m.h5").attribute(name)


def test_numbers_that_look_like_a_reference_to_a_text_are_none(tmp_path):
    """The bytes are weights' here; in larger files also those of addresses and sizes that stand behind each other."""
    h5py, path = pytest.importorskip("h5py"), tmp_path / "m.h5"

    def written(numbers):
        with h5py.File(path, "w") as file:
            file.attrs["keras_version"] = "3.0.0"
            file["bytes"] = np.frombuffer(numbers, np.uint8)
        return path.read_bytes()

    address = struct.pack("<Q", written(bytes(64)).index(b"GCOL"))
    for shift in range(8):
        reference = bytes(16 + shift) + struct.pack("<I", 0xF0000000) + address + struct.pack("<I", 1)
        data = written(reference + bytes(64 - len(reference)))
        assert reference in data
        check_heaps(data, path)
        check_heaps(data.replace(bytes(4) + reference[16 + shift :], b"\2\0\0\0" + reference[16 + shift :]), path)
        check_heaps(data + address, path)  # a file may end with an address
        with pytest.raises(ValueError, match=r"a text of .* bytes claims 4026531840"):
            check_heaps(data + b"SMTB", path)  # types may stand anywhere


def test_attributes_are_no_larger_than_their_file(tmp_path):
    h5py = pytest.importorskip("h5py")
    with h5py.File(tmp_path / "m.h5", "w") as file:
        file.attrs["layer_names"] = np.array([b"one", b"two"])
        group = Group(file, 5, tmp_path / "m.h5")
        with pytest.raises(ValueError, match=r"the attribute 'layer_names' claims shape \(2,\), more than the file has"):
            group.names("layer_names")
        assert Group(file, 6, tmp_path).names("layer_names") == ["one", "two"] and group.attribute("none") is None
        file.create_group("layer")
        with pytest.raises(ValueError, match="'layer' is a group, and numbers are expected there"):
            group.array("layer")


def without_end(data):
    """The free part behind the texts of a heap gets size zero."""
    start, place = data.index(b"GCOL"), data.index(b"GCOL") + 16
    while struct.unpack_from("<H", data, place)[0]:
        place += 16 + -(-struct.unpack_from("<Q", data, place + 8)[0] // 8) * 8
    assert place < start + 4096
    return data[: place + 8] + bytes(8) + data[place + 16 :]


@pytest.mark.parametrize("put", [b"r\xff\xff\xff\x7f", b"p2147483647\n"])
def test_a_pickle_cannot_ask_for_memory(put, tmp_path):
    """An index of the memo: Python's unpickler makes room for all below it, 17 GB here."""
    program, path = b"\x80\x02}" + put + b".", tmp_path / "m.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("m/data.pkl", program)
    with pytest.raises(ValueError, match="remembers object 2147483647"):
        read_torch(path)
    path.write_bytes(program)  # the format before 1.6
    with pytest.raises(ValueError, match="remembers object 2147483647"):
        read_torch(path)


def test_what_breaks_a_rule_is_reported(tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, "weights", lambda path: path.name.startswith("bad") and {}["a KeyError is no clear error"])
    counts, broken = fuzz("weights", 3, 0, tmp_path)
    assert counts["broken"] == len(broken) == 3 and "KeyError" in broken[0]


def test_damage_reaches_behind_the_checksums(tmp_path):
    (path,) = originals("weights", tmp_path)
    changed = [damaged(path.read_bytes(), np.random.default_rng(seed)) for seed in range(200)]
    outcomes = set()
    for body in changed:
        path.write_bytes(body)
        try:
            minitl.weights.read(path)
            outcomes.add("read")
        except ValueError as error:
            outcomes.add(str(error).replace(str(path), "")[:16])
    assert len(outcomes) > 6  # many different things are found, not one checksum
