"""The README's code and the examples run, small."""

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

ROOT = Path(__file__).parent.parent


def load(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "examples" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_readme_s_code(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    assert len(blocks) == 3
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
        dataset="glyphs", labels=[2], seeds=2, epochs=1, updates=20, validate=False, output=str(tmp_path / "transfer.png")
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


def test_own_layer(capsys):
    accuracy = load("own_layer").main(samples=300, epochs=1)
    out = capsys.readouterr().out
    assert "ForgetfulSwish: WRONG" in out and "Swish: right" in out
    assert 0 <= accuracy <= 1


def test_find_the_bug(tmp_path, capsys):
    assert load("find_the_bug").main(folder=str(tmp_path)) == 8
    assert capsys.readouterr().out.count("looks like this mistake") >= 7
    assert len(list(tmp_path.glob("*.png"))) == 8


@pytest.mark.cifar
@needs_cifar
def test_cifar10_learns(tmp_path):
    arguments = Namespace(epochs=2, samples=5000, seed=0, output=str(tmp_path))
    assert load("cifar10").main(arguments) > 0.35
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"cifar10.npz", "cifar10-curves.png", "cifar10-confusion.png", "cifar10-filters.png"}


@pytest.mark.cifar
@needs_cifar
def test_transfer_between_the_real_sets(tmp_path, monkeypatch):
    transfer = load("transfer")
    source, target, test = transfer.cifar_data(False)
    monkeypatch.setattr(transfer, "cifar_data", lambda validate: (tuple(a[:2000] for a in source), target, test))
    arguments = Namespace(
        dataset="cifar", labels=[2], seeds=2, epochs=1, updates=10, validate=False, output=str(tmp_path / "t.png")
    )
    assert np.isfinite(transfer.main(arguments)).all()


def test_examples_explain_themselves():
    for path in sorted((ROOT / "examples").glob("*.py")):
        if path.stem == "own_layer":
            continue
        result = subprocess.run([sys.executable, path, "--help"], capture_output=True, text=True, env=dict(os.environ))
        assert result.returncode == 0 and "usage" in result.stdout, path
