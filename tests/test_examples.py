"""The README's code and the examples run, small."""

import functools
import importlib.util
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest
from test_datasets import needs_cifar

from minitl.datasets import cifar10, cifar100

ALONE = {"workers": 1, "keep": None, "dask": None, "quick": False}

ROOT = Path(__file__).parent.parent


def load(name):
    sys.path[:0] = [] if str(ROOT / "examples") in sys.path else [str(ROOT / "examples")]  # examples import one another
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_s_code(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 5
    names = {}
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert "right" in capsys.readouterr().out
    assert names["accuracy"] > 1 / 26
    assert (tmp_path / "letters.npz").exists()


def test_the_readme_s_commands():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^    (python3 -m venv .*)$", text, re.M)
    assert len(commands) == 2
    assert commands[0].endswith("examples/transfer.py")
    assert commands[1].endswith("-m pytest")
    for path in re.findall(r"\]\(([^)]+)\)", text) + re.findall(r"`((?:examples|ops|kernels|layers)/\w+\.py)`", text):
        assert (ROOT / path).exists() or (ROOT / "minitl" / path).exists(), path


def test_the_main_job(tmp_path):
    arguments = Namespace(
        dataset="glyphs",
        labels=[2],
        seeds=2,
        epochs=1,
        updates=20,
        validate=False,
        output=str(tmp_path / "transfer.png"),
        base="large",
        **ALONE,
    )
    results = load("transfer").main(arguments)
    assert results.shape == (1, 4, 2)
    assert ((results >= 0) & (results <= 100)).all()
    assert (tmp_path / "transfer.png").stat().st_size > 10000


def test_the_main_job_notices_frozen_weights_that_move():
    transfer = load("transfer")
    model = transfer.classic(10)
    transfer.freeze(model, "conv*")
    before = transfer.frozen(model)
    transfer.assert_unmoved(model, before)
    model.layers[0].parameters["kernel"][0, 0, 0, 0] += 1e-6
    with pytest.raises(AssertionError, match="conv2d 0 moved"):
        transfer.assert_unmoved(model, before)


def test_exchange(capsys):
    pytest.importorskip("h5py")
    pytest.importorskip("onnx")
    differences = load("exchange").main(Namespace(samples=200, epochs=1))
    assert set(differences) == {"PyTorch", "Keras", "ONNX Runtime"} and max(differences.values()) < 1e-5


@needs_cifar
def test_published(tmp_path, capsys):
    pytest.importorskip("safetensors")
    folder = ROOT.parent / "shared" / "weights"
    if not folder.is_dir():
        pytest.skip("published weights are not at hand")
    arguments = Namespace(weights=folder, depths=[20, 44], tests=1000, output=tmp_path / "p.png")
    found = load("published").main(arguments)
    assert 90 < found[20] < 95
    assert "ResNet-44    left out: no file of resnet44" in capsys.readouterr().out
    assert (tmp_path / "p-20.png").exists()


def test_photographs(tmp_path, capsys, monkeypatch):
    from test_photographs import draw

    for part, count in (("train", 10), ("test", 4)):
        for kind, name in enumerate(("stripes", "blobs")):
            (tmp_path / "set" / part / name).mkdir(parents=True)
            for i in range(count):
                draw(kind, i + (0 if part == "train" else 50)).save(tmp_path / "set" / part / name / f"{i}.png")
    monkeypatch.setattr("minitl.photographs.scratch.UPDATES", 10)
    monkeypatch.setattr("minitl.photographs.tune.EPOCHS", 1)
    arguments = Namespace(folders=[tmp_path / "set"], size=64, seeds=2, cache=tmp_path / "kept", train=True, choose=False)
    found = load("photographs").main(arguments)["set"]
    assert found.shape == (7, 2) and (found[0] == 50).all() and found[3].mean() > 60 and found[6].mean() > 60
    out = capsys.readouterr().out
    assert all(method in out for method in ("base, mirrored", "from scratch", "LP-FT"))
    arguments.choose, arguments.seeds, arguments.cache = True, 1, None
    found = load("photographs").main(arguments)["set"]
    assert found.shape == (4, 1) and found.min() > 60 and "block ends" in capsys.readouterr().out


def test_own_layer(capsys):
    accuracy = load("own_layer").main(samples=300, epochs=1)
    out = capsys.readouterr().out
    assert "ForgetfulSwish: WRONG" in out and "Swish: right" in out
    assert 0 <= accuracy <= 1


def test_find_the_bug(tmp_path, capsys):
    assert load("find_the_bug").main(folder=str(tmp_path)) == 8
    assert capsys.readouterr().out.count("looks like this mistake") >= 7
    assert len(list(tmp_path.glob("*.png"))) == 8


def test_find_the_bug_gives_hints_one_at_a_time(monkeypatch, capsys):
    example, answers = load("find_the_bug"), ["h", "", "h", "h", *[""] * 6]
    for bug in example.BUGS.values():
        compile(bug.code, "bug", "exec")  # every snippet is whole
    monkeypatch.setattr("builtins.input", lambda text: answers.pop(0))
    assert example.main(pause=True) == 8
    out = capsys.readouterr().out
    first, second = list(example.BUGS.values())[:2]
    assert first.hints[0] in out and first.hints[1] not in out
    assert second.hints[0] in out and second.hints[1] in out
    assert not answers


def test_few_shot_on_glyphs(tmp_path, capsys):
    arguments = Namespace(
        dataset="glyphs",
        base="large",
        labels=[5],
        methods=None,
        seeds=2,
        updates=8,
        samples=260,
        tests=100,
        validate=False,
        output=str(tmp_path / "f.png"),
        **ALONE,
    )
    results = load("few_shot").main(arguments)
    assert results.shape == (1, 9, 2) and ((results >= 0) & (results <= 100)).all()
    assert "5 labels: best is" in capsys.readouterr().out


def test_negative_transfer(tmp_path, capsys):
    arguments = Namespace(labels=2, seeds=2, samples=130, epochs=1, updates=4, output=str(tmp_path / "n.png"), **ALONE)
    assert load("negative_transfer").main(arguments).shape == (5, 2, 2)
    assert "shuffled, frozen" in capsys.readouterr().out


def test_seeds_side_by_side_give_the_same_table(tmp_path):
    pytest.importorskip("joblib")
    program = [
        sys.executable,
        str(ROOT / "examples/transfer.py"),
        "--labels",
        "2",
        "--seeds",
        "2",
        "--epochs",
        "1",
        "--updates",
        "4",
    ]
    told = []
    for workers in ("1", "2"):
        end = ["--workers", workers, "--output", str(tmp_path / "t.png"), "--keep", str(tmp_path / workers)]
        done = subprocess.run([*program, *end], capture_output=True, text=True, check=True, cwd=tmp_path, env={**os.environ})
        told.append([line for line in done.stdout.splitlines() if line.strip().startswith("2  ")])
        assert len(list((tmp_path / workers).iterdir())) == 2
    assert told[0] == told[1] and len(told[0]) == 1


def test_what_moved(tmp_path):
    arguments = Namespace(base="letters", labels=2, seeds=2, updates=4, output=str(tmp_path / "w.png"), **ALONE)
    found = load("what_moved").main(arguments)
    assert (found["linear probe"][0] == 0).all()  # a frozen base does not move
    assert (found["full"][0] > 0).all()
    assert (found["surgical"][0][1:] == 0).all() and (found["surgical"][0][0] > 0).all()


def test_cost(tmp_path):
    cost = load("cost")
    for base, cut in (("small", "up to dense"), ("large", "up to whitening")):
        arguments = Namespace(base=base, samples=128, rounds=1, output=str(tmp_path / "c.png"))
        assert set(cost.main(arguments)) > {"nothing", cut}
    assert cost.multiply_adds(cost.classic(10)) == pytest.approx(29.28e6 / 2, rel=0.01)  # by hand, in docs/results.md


@pytest.mark.timing
def test_what_freezing_saves(tmp_path):
    medians = load("cost").main(Namespace(base="small", samples=256, rounds=3, output=str(tmp_path / "c.png")))
    assert medians["nothing"] > 1.3 * medians["up to dense"] > 5 * medians["all but the head, cached"]


@pytest.fixture
def photographs(tmp_path):
    """A small folder of real image files: digits of two looks, in the layout train and test."""
    from minitl.datasets import glyphs
    from minitl.preprocessing.image import save_img

    for part, fonts, count in (("train", glyphs.TRAIN_FONTS, 200), ("test", glyphs.TEST_FONTS, 40)):
        x, y = glyphs.draw("digits", count, fonts, np.random.default_rng(count))
        for i, (picture, label) in enumerate(zip(x, y[:, 0], strict=True)):
            folder = tmp_path / part / str(label)
            folder.mkdir(parents=True, exist_ok=True)
            save_img(folder / f"{i}.png", picture, scale=False)
    return tmp_path


def test_the_tutorial_s_program(photographs, capsys):
    history, accuracy = load("tutorial").main(str(photographs), epochs=6, steps=10, output=str(photographs / "t.npz"))
    assert history.history["accuracy"][-1] > history.history["accuracy"][0] + 0.1
    assert 0 <= accuracy <= 1 and (photographs / "t.npz").exists()
    assert "Found 200 images belonging to 10 classes." in capsys.readouterr().out


def test_sign_digits(photographs):
    arguments = Namespace(
        folder=str(photographs / "train"), labels=[5], seeds=2, updates=6, output=str(photographs / "s.png"), **ALONE
    )
    assert load("sign_digits").main(arguments).shape == (1, 12, 2)


@pytest.fixture
def few_test_images(monkeypatch):
    """The real sets with a tenth of their test images, for what is run and not measured."""
    for real in (cifar10, cifar100):
        read = functools.cache(real.load_data)

        def load_data(*arguments, whole=read):
            train, (x, y) = whole(*arguments)
            return train, (x[::10], y[::10])

        monkeypatch.setattr(real, "load_data", load_data)


@pytest.mark.cifar
@needs_cifar
@pytest.mark.usefixtures("few_test_images")
def test_transferability(tmp_path, capsys):
    arguments = Namespace(seeds=2, per_class=4, epochs=1, splits=["random", "far"], output=str(tmp_path / "t.png"), **ALONE)
    found = load("transferability").main(arguments)
    assert found["random"].shape == found["far"].shape == (4, 4, 2)
    assert "confirmed" in capsys.readouterr().out


@pytest.mark.cifar
@needs_cifar
@pytest.mark.usefixtures("few_test_images")
def test_what_moved_in_the_large_base(tmp_path, monkeypatch):
    what_moved = load("what_moved")
    # The network is large; `test_what_moved` goes through all strategies.
    monkeypatch.setattr(what_moved, "STRATEGIES", ("linear probe", "full", "lp-ft", "l2-sp"))
    arguments = Namespace(base="large", labels=2, seeds=1, updates=2, output=str(tmp_path / "w.png"), **ALONE)
    found = what_moved.main(arguments)
    assert (found["linear probe"][0] == 0).all() and (found["full"][0] > 0).all()


@pytest.mark.cifar
@needs_cifar
def test_few_shot_on_the_real_sets(tmp_path):
    arguments = Namespace(
        dataset="cifar", base="small", labels=[5], methods=["scratch", "lp-ft"], seeds=2, updates=10, samples=0, tests=200,
        validate=True, output=str(tmp_path / "f.png"), **ALONE,
    )  # fmt: skip
    assert load("few_shot").main(arguments).shape == (1, 2, 2)
    arguments.base, arguments.methods = "large", ["random base", "linear probe", "full", "small base, lp-ft"]
    found = load("few_shot").main(arguments)[0].mean(axis=1)
    assert found[1] > found[0] + 10  # ten updates of a head on the large base are enough to tell it from a random one


@pytest.mark.cifar
@needs_cifar
def test_cifar10_learns(tmp_path):
    arguments = Namespace(epochs=2, samples=5000, seed=0, output=str(tmp_path))
    assert load("cifar10").main(arguments) > 0.35
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cifar10.npz", "cifar10-curves.png", "cifar10-confusion.png", "cifar10-filters.png"}


@pytest.mark.cifar
@needs_cifar
@pytest.mark.usefixtures("few_test_images")
def test_transfer_between_the_real_sets(tmp_path, monkeypatch):
    transfer = load("transfer")
    source, target, test = transfer.cifar_data(False)
    monkeypatch.setattr(transfer, "cifar_data", lambda validate: (tuple(a[:2000] for a in source), target, test))
    arguments = Namespace(
        dataset="cifar",
        base="own",
        labels=[2],
        seeds=2,
        epochs=1,
        updates=10,
        validate=False,
        output=str(tmp_path / "t.png"),
        **ALONE,
    )
    assert np.isfinite(transfer.main(arguments)).all()
    monkeypatch.setattr(transfer, "cifar_data", lambda validate: (source, target, tuple(a[:500] for a in test)))
    arguments.base, arguments.seeds = "large", 1
    results = transfer.main(arguments)[0, :, 0]
    assert max(results[2:]) > max(results[:2]) + 10  # from two labels per class, the pretrained are ahead of the random


def test_examples_explain_themselves():
    for path in sorted((ROOT / "examples").glob("*.py")):
        if path.stem in ("own_layer", "experiment", "tagging", "semantic_roles_twin"):
            continue
        result = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, env=dict(os.environ))
        assert result.returncode == 0 and "usage" in result.stdout, path
