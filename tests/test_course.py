"""The course: its exercises, their grader, and that its chapters run."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minitl.__main__ import main
from minitl.course import exercise, ladder
from minitl.course.grade import of_text
from minitl.kernels import winograd

ROOT = Path(__file__).parent.parent
CHAPTERS = sorted((ROOT / "docs/course").glob("*.md"))
MISTAKES = [(name, mistake) for name in exercise.names() for mistake in exercise.mistakes(name)]


@pytest.mark.parametrize("name", exercise.names())
def test_solutions_are_right_and_gaps_are_empty(name):
    text = exercise.template(name)
    assert "MISTAKES" not in text
    assert text.count("NotImplementedError") == 1
    assert of_text(name, text).mistake == "empty"
    before, solution, after = exercise._parts(name)
    grade = of_text(name, before + solution + after)
    assert grade.right
    assert "Right." in grade.text
    assert len(exercise.mistakes(name)) >= 3


@pytest.mark.parametrize(("name", "mistake"), MISTAKES)
def test_mistakes_are_told_by_name(name, mistake):
    body, hint = exercise.mistakes(name)[mistake]
    before, _, after = exercise._parts(name)
    grade = of_text(name, before + f"    {body}\n" + after)
    assert not grade.right
    assert (grade.mistake, grade.text) == (mistake, hint)


def test_other_answers():
    before, _, after = exercise._parts("dense")
    other = of_text("dense", before + "    return dy @ kernel.T * 1.5, x.T @ dy, dy.sum(axis=0)\n" + after)
    assert not other.right
    assert "factor" in other.text
    assert "shape" in of_text("dense", before + "    return dy, x.T @ dy, dy.sum(axis=0)\n" + after).text
    assert "ZeroDivisionError" in of_text("dense", before + "    return 1 / 0\n" + after).text


def test_commands(tmp_path):
    def minitl(*arguments):
        command = [sys.executable, "-m", "minitl", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=100)

    assert "conv2d" in minitl("exercise").stdout
    assert minitl("exercise", "relu").returncode == 0
    assert "already" in minitl("exercise", "relu").stderr
    assert minitl("grade", "relu.py").returncode == 1
    text = (tmp_path / "relu.py").read_text()
    (tmp_path / "wrong.py").write_text(text.replace('raise NotImplementedError("your turn")', "return dy * (x < 0)"))
    wrong = minitl("grade", "wrong.py")
    assert wrong.returncode == 1 and wrong.stdout.startswith("Not right. "), wrong
    text = (tmp_path / "relu.py").read_text()
    (tmp_path / "relu.py").write_text(text.replace('raise NotImplementedError("your turn")', "return dy * (x > 0)"))
    done = minitl("grade", "relu.py")
    assert done.returncode == 0, done
    assert "did you mean" in minitl("exercise", "relo").stderr
    (tmp_path / "foreign.py").write_text("print('ran')\n")
    assert "no exercise" in minitl("grade", "foreign.py").stderr


def test_rounds_of_the_ladder_are_chosen(monkeypatch):
    rounds = []
    monkeypatch.setattr(ladder, "climb", lambda given: rounds.append(given) or [("loops", 1.0, "nothing")])
    for arguments in ([], ["--rounds", "2"]):
        main(["ladder", *arguments])
    assert rounds == [5, 2]


def test_every_exercise_belongs_to_a_chapter():
    text = "\n".join(chapter.read_text() for chapter in CHAPTERS)
    for name in exercise.names():
        assert f"minitl exercise {name}" in text, name


def test_chapters_become_notebooks_that_run(tmp_path, monkeypatch):
    nbformat = pytest.importorskip("nbformat")
    from minitl.__main__ import main

    monkeypatch.chdir(tmp_path)
    for chapter in CHAPTERS:
        assert main(["notebook", str(chapter)]) == 0
        book = nbformat.read(tmp_path / f"{chapter.stem}.ipynb", as_version=4)
        nbformat.validate(book)
        text = chapter.read_text()
        code = [cell.source for cell in book.cells if cell.cell_type == "code"]
        assert code == [block.strip() for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
        told = " ".join(cell.source for cell in book.cells if cell.cell_type == "markdown").split()
        assert told == re.sub(r"```python\n.*?```", "", text, flags=re.DOTALL).split()
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    book = nbformat.read(tmp_path / "05-convolution.ipynb", as_version=4)
    nbclient.NotebookClient(book, timeout=120, resources={"metadata": {"path": str(tmp_path)}}).execute()


@pytest.mark.skipif(os.environ.get("NUMBA_DISABLE_JIT") == "1", reason="seven loops in plain Python")
def test_every_rung_of_the_ladder_computes_the_same_in_its_own_way(monkeypatch):
    used, made, original = [], {}, winograd.forward
    monkeypatch.setattr(winograd, "forward", lambda *arguments: used.append(1) or original(*arguments))

    def once(call, rounds):
        before = len(used)
        made[len(made)] = call(), len(used) - before
        return 1.0

    monkeypatch.setattr(ladder, "_fastest", once)
    names = [name for name, _, _ in ladder.climb()]
    results = {name: made[k] for k, name in enumerate(names)}
    y = results["offsets"][0][0]
    pooled = np.maximum(y, 0).reshape(len(y), 15, 2, 15, 2, 64).max(axis=(2, 4))
    for name, expected in (
        ("seven loops", y[:1]), ("blocking", y), ("register tile", y), ("tile, then ReLU, pool", pooled),
        ("fusion", pooled), ("Winograd, fused", pooled),
    ):  # fmt: skip
        found = results[name][0]
        found = found[0] if isinstance(found, tuple) else found
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3, err_msg=name)
    assert [name for name in names if results[name][1]] == ["Winograd, fused"]
