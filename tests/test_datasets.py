"""Data sets: glyphs are what they claim, CIFAR is read and fetched as it should be."""

import hashlib
import io
import json
import os
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest

from minitl.datasets import (
    boston_housing,
    california_housing,
    cifar10,
    cifar100,
    download,
    fashion_mnist,
    glyphs,
    houses,
    idx,
    imdb,
    mnist,
    reuters,
    word_lists,
)
from minitl.utils import get_file

HAVE_CIFAR = all((download.data_folder() / name).is_dir() for name in ("cifar-10-batches-bin", "cifar-100-binary"))
needs_cifar = pytest.mark.skipif(not HAVE_CIFAR, reason="no CIFAR sets in $MINITL_DATA")


def test_glyphs_shapes_balance_and_seeds():
    (x, y), (x_test, y_test) = glyphs.load_data("digits", 200, 60, seed=3)
    assert x.shape == (200, 32, 32, 3)
    assert x.dtype == y.dtype == np.uint8
    assert y.shape == (200, 1)
    assert (np.bincount(y[:, 0]) == 20).all()
    assert (np.bincount(y_test[:, 0]) == 6).all()
    again = glyphs.load_data("digits", 200, 60, seed=3)
    np.testing.assert_array_equal(x, again[0][0])
    assert (glyphs.load_data("digits", 200, 60, seed=4)[0][0] != x).any()
    assert (x_test[:20] != x[:20]).any()


def test_glyphs_hold_fonts_out():
    assert not set(glyphs.TRAIN_FONTS) & set(glyphs.TEST_FONTS)
    assert len(glyphs.TRAIN_FONTS) == 14 and len(glyphs.TEST_FONTS) == 6


@pytest.mark.parametrize("font", glyphs.TRAIN_FONTS + glyphs.TEST_FONTS)
def test_every_font_draws_every_character_differently(font):
    for characters in glyphs.CHARACTERS.values():
        cells = glyphs._font_atlas(font, characters)
        assert (cells.reshape(len(cells), -1).sum(axis=1) > 20).all()
        assert len({cell.tobytes() for cell in cells}) == len(cells)


def test_glyphs_are_lighter_than_their_background():
    x, _ = glyphs.draw("letters", 260, glyphs.TRAIN_FONTS, np.random.default_rng(0))
    luminance = x @ np.array([0.299, 0.587, 0.114])
    brightest = np.sort(luminance.reshape(260, -1), axis=1)
    assert np.mean(brightest[:, -60] - np.median(luminance.reshape(260, -1), axis=1) > 40) > 0.9


def test_unknown_glyphs():
    with pytest.raises(ValueError, match="'letters'"):
        glyphs.load_data("leters")
    with pytest.raises(ValueError, match="'cmr10'"):
        glyphs.draw("digits", 10, ("cmr11",), np.random.default_rng(0))


# A small archive in the official layout stands for the real one.


def record_files(records=4):
    generator = np.random.default_rng(0)
    data = generator.integers(0, 10, (6, records, cifar10.RECORD), dtype=np.uint8)
    return {name: data[i].tobytes() for i, name in enumerate((*cifar10.TRAIN, "test_batch.bin"))}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A served archive with four records a file, as the module would find it."""
    files = record_files()
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in {**files, "readme.html": b"hello", "../../escape.bin": b"no"}.items():
            info = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    archive = buffer.getvalue()
    folder = tmp_path / "data"
    monkeypatch.setenv("MINITL_DATA", str(folder))
    monkeypatch.setattr(cifar10, "SHA256", hashlib.sha256(archive).hexdigest())
    monkeypatch.setattr(cifar10, "URL", "http://127.0.0.1:9/archive.tar.gz")
    return folder, archive, files


def unpacked(folder, files):
    members = {name: len(content) for name, content in files.items()}
    return download.unpacked("cifar-10-batches-bin", members, "cifar-10-binary.tar.gz", cifar10.URL, cifar10.SHA256)


def test_no_network_says_which_file_to_put_where(small):
    folder, _, files = small
    with pytest.raises(OSError, match=r"put cifar-10-binary\.tar\.gz into .*data yourself \(sha256") as error:
        unpacked(folder, files)
    assert str(folder) in str(error.value)
    assert not folder.exists() or not list(folder.iterdir())


def test_an_archive_put_there_is_checked_and_unpacked(small):
    folder, archive, files = small
    folder.mkdir()
    (folder / "cifar-10-binary.tar.gz").write_bytes(archive)
    target = unpacked(folder, files)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == files
    assert sorted(path.name for path in folder.iterdir()) == ["cifar-10-batches-bin", "cifar-10-binary.tar.gz"]
    x, y = cifar10.read_records(target / "data_batch_1.bin", labels=1)
    assert x.shape == (4, 32, 32, 3) and y.shape == (4, 1)
    first = np.frombuffer(files["data_batch_1.bin"], np.uint8)[1:3073].reshape(3, 32, 32)
    np.testing.assert_array_equal(x[0, 5, 7], first[:, 5, 7])


def test_a_damaged_archive_leaves_nothing(small):
    folder, archive, files = small
    folder.mkdir()
    (folder / "cifar-10-binary.tar.gz").write_bytes(archive[:-10])
    with pytest.raises((ValueError, OSError), match=r"cifar-10-binary\.tar\.gz"):
        unpacked(folder, files)
    assert not (folder / "cifar-10-batches-bin").exists()


def test_a_download_that_breaks_leaves_no_half_file(small, monkeypatch):
    folder, archive, files = small

    def breaks(url, output_file, pooch):
        with open(output_file, "wb") as file:
            file.write(archive[:100])
        raise ConnectionError("cable pulled")

    monkeypatch.setattr(download.pooch, "retrieve", _retrieve_with(breaks))
    with pytest.raises(OSError, match="put cifar-10-binary"):
        unpacked(folder, files)
    assert not list(folder.iterdir())


def test_a_download_with_another_checksum_is_thrown_away(small, monkeypatch):
    folder, archive, files = small

    def wrong(url, output_file, pooch):
        with open(output_file, "wb") as file:
            file.write(archive + b"!")

    monkeypatch.setattr(download.pooch, "retrieve", _retrieve_with(wrong))
    with pytest.raises(ValueError, match="checksum"):
        unpacked(folder, files)
    assert not list(folder.iterdir())


def _retrieve_with(downloader):
    import pooch

    original = pooch.retrieve
    return lambda url, known_hash, fname, path, progressbar: original(url, known_hash, fname, path, downloader=downloader)


def test_an_incomplete_folder_is_named(small):
    folder, _, files = small
    (folder / "cifar-10-batches-bin").mkdir(parents=True)
    with pytest.raises(OSError, match="is missing"):
        unpacked(folder, files)
    for name, content in files.items():
        (folder / "cifar-10-batches-bin" / name).write_bytes(content[:-1])
    with pytest.raises(ValueError, match="bytes instead of"):
        unpacked(folder, files)


def test_records_of_a_broken_file(tmp_path):
    (tmp_path / "x.bin").write_bytes(bytes(3000))
    with pytest.raises(ValueError, match="no whole number of records"):
        cifar10.read_records(tmp_path / "x.bin", labels=1)


def test_label_mode():
    with pytest.raises(ValueError, match="'fine'"):
        cifar100.load_data(label_mode="fien")


@pytest.mark.cifar
@needs_cifar
def test_the_real_cifar_10():
    (x, y), (x_test, y_test) = cifar10.load_data()
    assert x.shape == (50000, 32, 32, 3) and x_test.shape == (10000, 32, 32, 3)
    assert y.shape == (50000, 1) and y_test.shape == (10000, 1)
    assert x.dtype == y.dtype == np.uint8
    assert (np.bincount(y[:, 0]) == 5000).all() and (np.bincount(y_test[:, 0]) == 1000).all()
    assert x.mean(axis=(0, 1, 2)) / 255 == pytest.approx([0.4914, 0.4822, 0.4465], abs=1e-4)


@pytest.mark.cifar
@needs_cifar
def test_the_real_cifar_100():
    (x, y), (x_test, _) = cifar100.load_data()
    assert x.shape == (50000, 32, 32, 3) and x_test.shape == (10000, 32, 32, 3)
    assert (np.bincount(y[:, 0]) == 500).all()
    (_, coarse), _ = cifar100.load_data("coarse")
    assert (np.bincount(coarse[:, 0]) == 2500).all()
    assert all(len(np.unique(coarse[y == fine])) == 1 for fine in range(100))


def test_data_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("MINITL_DATA", str(tmp_path))
    assert download.data_folder() == tmp_path
    monkeypatch.delenv("MINITL_DATA")
    assert "minitl" in os.fspath(download.data_folder())


# MNIST and Fashion-MNIST: four small files in the official format stand for the real ones.


def idx_files(folder, packed):
    import gzip

    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    for name, shape in zip(idx.FILES, ((6, 28, 28), (6,), (4, 28, 28), (4,)), strict=True):
        data = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        data += random.integers(0, 10, shape, np.uint8).tobytes()
        (folder / (name + ".gz" if packed else name)).write_bytes(gzip.compress(data) if packed else data)


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize(("module", "folder"), [(mnist, "mnist"), (fashion_mnist, "fashion-mnist")])
def test_idx_sets_are_read(tmp_path, monkeypatch, module, folder, packed):
    monkeypatch.setenv("MINITL_DATA", str(tmp_path))
    idx_files(tmp_path / folder, packed)
    monkeypatch.setattr(idx.load, "__defaults__", ((6, 4),))
    (x, y), (x_test, y_test) = module.load_data()
    assert (x.shape, y.shape, x_test.shape, y_test.shape) == ((6, 28, 28), (6,), (4, 28, 28), (4,))
    expected = np.random.default_rng(0).integers(0, 10, (6, 28, 28), np.uint8)
    np.testing.assert_array_equal(x, expected)


def test_damaged_idx_files_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("MINITL_DATA", str(tmp_path))
    idx_files(tmp_path / "mnist", packed=True)
    with pytest.raises(ValueError, match="no IDX file of shape"):
        mnist.load_data()
    path = tmp_path / "mnist" / f"{idx.FILES[0]}.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValueError, match="damaged"):
        mnist.load_data()
    path.unlink()
    monkeypatch.setattr(mnist, "URL", "http://127.0.0.1:9/")
    with pytest.raises(OSError, match=r"put train-images-idx3-ubyte\.gz into .*mnist yourself"):
        mnist.load_data()


def test_the_data_command(tmp_path, monkeypatch, capsys):
    from minitl.__main__ import main

    monkeypatch.setenv("MINITL_DATA", str(tmp_path))
    idx_files(tmp_path / "mnist", packed=True)
    assert main(["data"]) == 0
    out = capsys.readouterr().out
    assert "4 files" in out and "not there" in out and "glyphs" in out
    assert main(["data", str(tmp_path / "nowhere")]) == 2


def table(path, rows=50):
    x, y = np.arange(3 * rows, dtype="float32").reshape(rows, 3), np.arange(rows, dtype="float32")
    np.savez(path, x=x, y=y)
    return x, y


@pytest.mark.parametrize("module", [boston_housing, california_housing])
@pytest.mark.parametrize(("settings", "seed", "train"), [({}, 113, 40), ({"seed": 5, "test_split": 0.3}, 5, 35)])
def test_houses_are_drawn_and_split_as_keras_does(module, settings, seed, train, tmp_path):
    x, y = table(tmp_path / "houses.npz")
    of_training, of_test = module.load_data(path=str(tmp_path / "houses.npz"), **settings)
    order = np.arange(50)
    np.random.RandomState(seed).shuffle(order)
    for found, chosen in ((of_training, order[:train]), (of_test, order[train:])):
        np.testing.assert_array_equal(found[0], x[chosen])
        np.testing.assert_array_equal(found[1], y[chosen])


def test_versions_of_california(tmp_path):
    file = str(tmp_path / "houses.npz")
    x, _ = table(file, 700)
    sizes = {
        version: [len(part[0]) for part in california_housing.load_data(version, file, 0.5)] for version in ("small", "large")
    }
    assert sizes == {"small": [300, 300], "large": [350, 350]}
    small = np.concatenate([part[0] for part in california_housing.load_data("small", file)])
    np.testing.assert_array_equal(small[np.argsort(small[:, 0])], x[:600])
    with pytest.raises(ValueError, match="unknown version 'smal'; did you mean 'small'"):
        california_housing.load_data("smal", file)


def test_houses_that_cannot_be_read(tmp_path):
    file = tmp_path / "houses.npz"
    table(file)
    for share in (-0.1, 1.0):
        with pytest.raises(ValueError, match="test_split must be at least 0 and below 1"):
            boston_housing.load_data(str(file), test_split=share)
    assert len(boston_housing.load_data(str(file), test_split=0)[0][0]) == 50
    np.savez(file, x=np.zeros(3))
    with pytest.raises(ValueError, match="not an npz file with x and y"):
        boston_housing.load_data(str(file))
    file.write_bytes(b"")
    with pytest.raises(ValueError, match="not an npz file with x and y"):
        boston_housing.load_data(str(file))


def test_houses_are_fetched_once_with_their_checksum(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("MINITL_DATA", str(tmp_path))
    monkeypatch.setattr(houses, "fetched", lambda *given: asked.append(given) or tmp_path / given[3])
    table(tmp_path / "boston_housing.npz")
    table(tmp_path / "california_housing.npz")
    boston_housing.load_data()
    california_housing.load_data()
    assert asked == [
        (f"{houses.URL}{name}_housing.npz", module.SHA256, tmp_path, f"{name}_housing.npz", "")
        for name, module in (("boston", boston_housing), ("california", california_housing))
    ]


@pytest.mark.parametrize("name", ["boston_housing", "california_housing", "imdb", "reuters"])
def test_checksums_are_those_that_keras_publishes(name):
    keras = pytest.importorskip("keras")
    theirs = set(re.findall(r"[0-9a-f]{32,64}", (Path(keras.__file__).parent / f"src/datasets/{name}.py").read_text()))
    ours = set(re.findall(r"[0-9a-f]{32,64}", (Path(download.__file__).parent / f"{name}.py").read_text()))
    assert ours and ours <= theirs


def packed(path, members):
    """A zip or tar archive of names and texts."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in members.items():
                archive.writestr(name, text)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for name, text in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(text)
                archive.addfile(info, io.BytesIO(text.encode()))


@pytest.mark.parametrize("ending", [".zip", ".tar.gz", ".tgz"])
@pytest.mark.parametrize("inside", ["photos/", ""])
def test_archives_are_unpacked_beside_once(ending, inside, tmp_path):
    archive = tmp_path / f"photos{ending}"
    packed(archive, {f"{inside}a.txt": "first", f"{inside}b/c.txt": "second"})
    folder = download.unpack_beside(archive)
    assert folder == tmp_path / "photos" and (folder / "a.txt").read_text() == "first"
    assert (folder / "b" / "c.txt").read_text() == "second"
    (folder / "a.txt").write_text("mine")
    assert (download.unpack_beside(archive) / "a.txt").read_text() == "mine"  # what is there stays
    assert sorted(path.name for path in tmp_path.iterdir()) == ["photos", archive.name]


def test_one_folder_of_another_name_stays_inside(tmp_path):
    packed(tmp_path / "photos.zip", {"other/a.txt": "first"})
    assert (download.unpack_beside(tmp_path / "photos.zip") / "other" / "a.txt").read_text() == "first"


def test_what_is_no_archive_leaves_nothing(tmp_path):
    (tmp_path / "photos.zip").write_text("no archive")
    with pytest.raises(ValueError, match=r"photos\.zip is no zip or tar archive"):
        download.unpack_beside(tmp_path / "photos.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["photos.zip"]


def test_an_archive_writes_nothing_outside(tmp_path):
    (tmp_path / "in").mkdir()
    packed(tmp_path / "in" / "photos.tar.gz", {"../escaped.txt": "outside"})
    with pytest.raises(tarfile.TarError):
        download.unpack_beside(tmp_path / "in" / "photos.tar.gz")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert [path.name for path in (tmp_path / "in").iterdir()] == ["photos.tar.gz"]


def test_get_file_asks_for_what_its_arguments_say(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setenv("MINITL_DATA", str(tmp_path))
    monkeypatch.setattr(download, "fetched", lambda *given: asked.append(given) or given[2] / given[3])
    address = "https://example.org/sets/photos.tar.gz"
    assert get_file("a.txt", address, file_hash="0" * 64) == str(tmp_path / "datasets" / "a.txt")
    assert get_file(origin=address, md5_hash="1" * 32, cache_subdir="mine") == str(tmp_path / "mine" / "photos.tar.gz")
    get_file("b.txt", address, file_hash="2" * 32)
    get_file("c.txt", address)
    (tmp_path / "datasets" / "photos").mkdir(parents=True)
    for settings in ({"untar": True}, {"extract": True}):
        assert get_file("photos.tgz", address, **settings) == str(tmp_path / "datasets" / "photos")
    assert get_file("photos", address, untar=True) == str(tmp_path / "datasets" / "photos")
    assert [(str(folder.name), name, checksum) for _, checksum, folder, name, _ in asked] == [
        ("datasets", "a.txt", f"sha256:{'0' * 64}"),
        ("mine", "photos.tar.gz", f"md5:{'1' * 32}"),
        ("datasets", "b.txt", f"md5:{'2' * 32}"),
        ("datasets", "c.txt", None),
        ("datasets", "photos.tgz", None),
        ("datasets", "photos.tgz", None),
        ("datasets", "photos.tar.gz", None),
    ]
    assert {given[0] for given in asked} == {address}


@pytest.mark.parametrize(("module", "file"), [(imdb, "imdb_word_index.json"), (reuters, "reuters_word_index.json")])
def test_numbers_of_words(module, file, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(word_lists, "fetched", lambda *given: asked.append(given) or tmp_path / given[3])
    (tmp_path / file).write_text(json.dumps({"the": 1, "film": 2}))
    assert module.get_word_index() == {"the": 1, "film": 2}
    assert asked[0][3] == file and asked[0][1].startswith("md5:")


def test_ink_is_read_between_the_pixels_and_is_nowhere_outside():
    cell = np.random.default_rng(0).random((2, glyphs.CELL, glyphs.CELL)).astype("float32")
    places = np.random.default_rng(1).uniform(-2, glyphs.CELL + 1, (3, 4, 5, 2))
    cells = np.array([1, 0, 1])
    found = glyphs._sample(cell, cells, places)
    framed = np.pad(cell, ((0, 0), (4, 4), (4, 4)))
    for image, row, column in np.ndindex(3, 4, 5):
        y, x = places[image, row, column] + 4
        i, j = int(np.floor(y)), int(np.floor(x))
        corners = framed[cells[image], i : i + 2, j : j + 2]
        expected = np.array([1 - (y - i), y - i]) @ corners @ np.array([1 - (x - j), x - j])
        assert found[image, row, column] == pytest.approx(expected, abs=1e-5)


def test_paint_is_what_it_was():
    """Colours, gradient, texture, blur and noise of three pictures, whose ink is drawn here; NumPy's generators are stable."""
    ink = np.zeros((3, 32, 32), np.float32)
    ink[:, 8:24, 12:20] = 1
    painted = glyphs._paint(ink, np.random.default_rng(5)).astype(int)
    np.testing.assert_allclose(painted[:, ::9, 4::12].mean(axis=-1).round().astype(int), PAINTED, atol=1)


PAINTED = [
    [[86, 70, 74], [97, 187, 79], [91, 184, 86], [113, 97, 87]],
    [[42, 50, 74], [25, 216, 53], [19, 214, 45], [4, 13, 30]],
    [[23, 28, 0], [29, 178, 14], [37, 184, 10], [42, 35, 18]],
]


def test_how_many_digits_there_are_to_be(monkeypatch):
    from minitl.datasets import idx, mnist

    asked = []
    monkeypatch.setattr(idx, "_found", lambda folder, name, url, checksum: name)
    monkeypatch.setattr(idx, "read", lambda path, shape: asked.append((path.split("-")[0], shape)))
    mnist.load_data()
    assert asked == [("train", (60000, 28, 28)), ("train", (60000,)), ("t10k", (10000, 28, 28)), ("t10k", (10000,))]
