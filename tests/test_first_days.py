"""What somebody meets on the first days: the README's code, each block alone, in a notebook and in a pipe; messages; commands."""

import json
import re
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

import minitl
from minitl import layers, metrics
from minitl.__main__ import main
from minitl.callbacks import BackupAndRestore, CSVLogger
from minitl.gradcheck import check_gradients
from minitl.layers import Conv2D, Dense, Flatten, Input
from minitl.models import Sequential, load_model
from minitl.preprocessing.image import ImageDataGenerator, load_img
from minitl.preprocessing.image.folders import find_pictures
from minitl.transfer import fine_tune, replace_head
from minitl.utils import image_dataset_from_directory

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
X = np.random.default_rng(0).random((20, 8, 8, 3)).astype(np.float32)
Y = np.arange(20) % 2


def network(classes=2):
    model = Sequential([Input((8, 8, 3)), Conv2D(3, 3, activation="relu"), Flatten(), Dense(classes, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_every_block_of_the_readme_runs_alone_in_a_pipe(number, tmp_path):
    done = subprocess.run([sys.executable, "-W", "error", "-c", BLOCKS[number]], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    if ".fit(" in BLOCKS[number] or "fine_tune(" in BLOCKS[number]:
        assert re.search(r"^epoch 1/\d+  loss \d", done.stdout, re.M)


def test_the_first_block_of_the_readme_shows_a_network_that_works(tmp_path):
    code = BLOCKS[0] + "\nprint('reached', accuracy)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert float(done.stdout.rpartition("reached ")[2]) > 0.8, done.stderr


def test_the_readme_in_a_notebook(tmp_path):
    nbformat = pytest.importorskip("nbformat", reason="notebooks need the dev extra")
    client = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    cells = [nbformat.v4.new_code_cell(block) for block in BLOCKS]
    cells += [nbformat.v4.new_code_cell(code) for code in ("history.plot()", "history", "model")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    client.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()
    lines = [out["data"]["text/plain"] for out in notebook.cells[0].outputs if out.output_type == "display_data"]
    assert [line[:9] for line in lines if line] == [f"epoch {n}/5" for n in range(1, 6)]  # as an export shows them
    everything = json.dumps([cell.outputs for cell in notebook.cells])
    assert "%|" not in everything and not re.search(r"predict: \d", everything)
    shown = [cell.outputs[-1]["data"] for cell in notebook.cells[-3:]]
    assert "image/png" in shown[0] and "<th>epoch</th>" in shown[1]["text/html"]
    assert "Dense" in shown[2]["text/html"] and "monospace" in shown[2]["text/html"]


def test_what_prints_itself():
    model = network()
    history = model.fit(X, Y, epochs=2, validation_split=0.2, verbose=0)
    assert re.fullmatch(r"History of 2 epochs: loss [\d.]+, accuracy [\d.]+, val_loss [\d.]+, val_accuracy [\d.]+", repr(history))
    assert history._repr_html_().count("<tr>") == 3
    assert history.plot()._repr_png_()[:4] == b"\x89PNG"
    assert repr(model) == "<Sequential: 3 layers, (None, 8, 8, 3) to (None, 2), 302 parameters>"
    model.layers[0].trainable = False
    assert repr(model).endswith("302 parameters, 84 not trainable>")
    assert "conv2d (Conv2D)" in model._repr_html_()
    assert "not built yet" in repr(Sequential([Dense(2)]))
    report = check_gradients(Dense(3), np.ones((2, 4)))
    assert "monospace" in report._repr_html_()
    assert max(map(len, str(report).splitlines())) <= 80


def test_how_far_a_long_run_has_come_is_written_over_in_a_notebook(monkeypatch):
    from minitl import progress

    shown = []
    handle = SimpleNamespace(update=lambda bundle, raw: shown.append(bundle["text/plain"]))
    display = SimpleNamespace(display=lambda bundle, raw, display_id: [handle, shown.append(bundle["text/plain"])][0])
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    clock = iter(np.arange(0, 100, 0.3))
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    assert list(progress.Progress("auto").batches("abcd", 4, "predict")) == list("abcd")
    assert shown == [*(f"predict: {n} of 4 batches" for n in (2, 3, 4)), ""]
    shown.clear()
    seen = progress.Progress(1)
    assert list(seen.epoch("ab", None, 0, 3, SimpleNamespace(results=lambda: {"loss": 0.5}))) == ["a", "b"]
    seen.end_epoch(0, 3, {"loss": 0.5, "val_loss": 0.75})
    assert shown == ["epoch 1/3: 2 of unknown batches  loss 0.5", "epoch 1/3  loss 0.5  val_loss 0.75"]
    shown.clear()
    seen = progress.Progress(2)
    assert list(seen.epoch("ab", 2, 0, 3, None)) == ["a", "b"] and not shown


def test_a_notebook_is_known_by_its_shell(monkeypatch):
    from minitl.progress import in_notebook

    shell = type("ZMQInteractiveShell", (), {})()
    for module, found in (
        (SimpleNamespace(get_ipython=lambda: shell), True), (SimpleNamespace(get_ipython=lambda: None), False),
        (SimpleNamespace(), False), (None, False),
    ):  # fmt: skip
        monkeypatch.setitem(sys.modules, "IPython", module)
        assert in_notebook() is found


def test_phases_are_named_and_callbacks_work_in_every_phase(capsys, tmp_path):
    base = network()
    base.fit(X, Y, verbose=0)
    model = replace_head(base, 2)
    _, history = fine_tune(
        model, (X, Y), "lp-ft", epochs=4, validation_split=0.25, callbacks=CSVLogger(str(tmp_path / "log.csv"), append=True)
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "head: 2 epochs, 218 of 302 parameters learn"
    assert lines[3] == "all: 2 epochs, 302 of 302 parameters learn"
    assert len(lines) == 6 and all("val_accuracy" in line for line in (lines[1], lines[5]))
    assert len(history.history["val_loss"]) == 4
    assert len((tmp_path / "log.csv").read_text().splitlines()) == 5
    fine_tune(replace_head(base, 2), (X, Y), epochs=2, verbose=0)
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="BackupAndRestore keeps one run"):
        fine_tune(replace_head(base, 2), (X, Y), callbacks=[BackupAndRestore(tmp_path)])


def test_one_image_is_taken_as_a_batch_and_that_is_said():
    model = network()
    with pytest.warns(UserWarning, match=r"single sample of shape \(8, 8, 3\)"):
        one = model.predict(X[0])
    np.testing.assert_array_equal(one, model.predict(X[:1]))
    with pytest.raises(ValueError, match="expected shape"):
        model.predict(X[0, 0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict(X)


@pytest.fixture
def photographs(tmp_path):
    for number, name in enumerate(("bees", "ants")):
        (tmp_path / name).mkdir()
        for i in range(4):
            Image.fromarray(np.full((8, 8, 3), 60 * number + i, np.uint8)).save(tmp_path / name / f"{i}.png")
    return tmp_path


@pytest.mark.parametrize("read", [
    lambda folder: ImageDataGenerator(rescale=1 / 255).flow_from_directory(folder, (8, 8), class_mode="sparse"),
    lambda folder: image_dataset_from_directory(folder, image_size=(8, 8)),
])  # fmt: skip
def test_class_names_stay_with_the_model(photographs, read):
    model = network()
    assert model.class_names is None
    model.fit(read(photographs), verbose=0)
    assert model.class_names == ["ants", "bees"]
    model.save(photographs / "m.npz")
    assert load_model(photographs / "m.npz").class_names == ["ants", "bees"]
    assert replace_head(model, 5).class_names is None


COMMANDS = ("gradcheck", "pretrain", "data", "train", "predict", "evaluate", "explain", "exercise", "grade", "ladder")


@pytest.mark.parametrize("command", [*COMMANDS, "lesson", "notebook"])
def test_help_says_what_every_argument_is_and_what_holds_without_it(command, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = " ".join(capsys.readouterr().out.split())
    expected = {
        "train": ["(default: EfficientNetLite0)", "(default: 224)", "(default: 0)", "(default: 0.2)"],
        "explain": ["grad-cam, occlusion", "(default: grad-cam smooth-grad)", "(default: explained.png)"],
        "predict": ["{text,csv,json}", "(default: text)"],
        "pretrain": ["letters", "cifar100_small", "(default: 0)"],
    }
    assert [part for part in expected.get(command, []) if part not in text] == []
    assert "None" not in text and "False" not in text


SHAPES = {
    "one image": lambda: Conv2D(3, 3)(np.zeros((8, 8, 3))),
    "one image for a network": lambda: Sequential([Conv2D(3, 3), Flatten(), Dense(2)])(np.zeros((8, 8, 3))),
    "one sample": lambda: Dense(3)(np.zeros(7, np.float32)),
    "a batch of another rank": lambda: layers.LSTM(3)(np.zeros((4, 3))),
    "several inputs": lambda: layers.Add()([np.zeros((2, 3)), np.zeros((2, 4))]),
    "a value without steps": lambda: layers.MultiHeadAttention(2, 3)(np.zeros((2, 3, 4)), np.zeros((2, 5))),
    "targets of a metric": lambda: metrics.MeanSquaredError().update_state(np.zeros((5, 2)), np.zeros((4, 3))),
    "weights of a metric": lambda: metrics.MeanSquaredError().update_state(np.zeros(4), np.ones(4), np.ones(3)),
    "class numbers for one-hot rows": lambda: network(10).evaluate(X, np.zeros((20, 10)), verbose=0),
}


@pytest.mark.parametrize(("case", "came"), [
    ("one image", "(8, 8, 3)"), ("one image for a network", "(8, 8, 3)"), ("one sample", "(7,)"),
    ("a batch of another rank", "(4, 3)"), ("several inputs", "(2, 4)"), ("a value without steps", "(2, 5)"),
    ("targets of a metric", "(5, 2)"), ("weights of a metric", "(3,)"), ("class numbers for one-hot rows", "(20, 10)"),
])  # fmt: skip
def test_errors_name_the_shape_that_came(case, came):
    with pytest.raises(ValueError, match=re.escape(came)) as error:
        SHAPES[case]()
    assert "(None" not in str(error.value)


def test_what_cannot_be_read_is_said(photographs):
    (photographs / "__MACOSX").mkdir()
    (photographs / "ants" / "new.HEIC").write_bytes(b"ftypheic")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = find_pictures(photographs)
    assert list(found) == ["ants", "bees"] and len(found["ants"]) == 4
    texts = [str(w.message) for w in said]
    assert any("__MACOSX is left out" in t for t in texts) and any("1 pictures such as" in t and "JPEG" in t for t in texts)
    with pytest.raises(ValueError, match="convert it to JPEG first"):
        load_img(photographs / "ants" / "new.HEIC")


@pytest.mark.parametrize("name", ["m.tflite", "m.pt", "m.safetensors"])
def test_a_name_that_promises_another_format_is_refused(name, tmp_path):
    with pytest.raises(ValueError, match="no format in which whole models are written"):
        network().save(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_the_command(capsys, tmp_path):
    assert main([]) == 0
    assert "gradcheck" in capsys.readouterr().out
    with pytest.raises(SystemExit) as left:
        main(["--version"])
    assert left.value.code == 0 and capsys.readouterr().out == f"minitl {minitl.__version__}\n"
    file = tmp_path / "mine.py"
    file.write_text("from minitl.layers import Dense\n")
    for arguments, message in (
        (["--input", "a,b"], "whole numbers with commas"),
        (["--input", "4,0"], "whole numbers with commas"),
        (["--input", "4,3", "--config", "{units: 3}"], "is no JSON"),
        (["--input", "4,3", "--config", "3"], "expected names and values"),
    ):
        assert main(["gradcheck", f"{file}:Dense", *arguments]) == 2
        assert message in capsys.readouterr().err
    assert main(["gradcheck", f"{file}:Dense", "--input", "4,3", "--config", json.dumps({"units": 3})]) == 0
    capsys.readouterr()
    assert main(["gradcheck", "--op", "dense"]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_folders_that_the_data_command_is_asked_about(tmp_path, capsys):
    for name, count in (("cats", 2), ("dogs", 1)):
        (tmp_path / name).mkdir()
        for number in range(count):
            (tmp_path / name / f"{number}.png").write_bytes(b"")
    assert main(["data", str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert f"{tmp_path}: 3 pictures in 2 classes" in lines
    assert [line.split() for line in lines[-2:]] == [["cats", "2"], ["dogs", "1"]]


def test_a_file_of_layers_that_is_not_there(tmp_path, capsys):
    assert main(["gradcheck", f"{tmp_path}/none.py:Mine", "--input", "4,8"]) == 2
    assert f"no file {tmp_path}/none.py" in capsys.readouterr().err
