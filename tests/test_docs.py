"""The documentation: it builds without a warning, and every module is in the reference."""

import ast
import builtins
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minitl"


def modules():
    for path in PACKAGE.rglob("*.py"):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "minitl" and "exercises" not in name and parts[-1] != "__main__":
            yield name


def blocks(page):
    return re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)


PAGES = [page for page in sorted((ROOT / "docs").rglob("*.md")) if blocks(page)]
ONE_PROGRAM = "The blocks of this page are one program"


def names_used(block):
    """The names that a block takes from elsewhere."""
    nodes = list(ast.walk(ast.parse(block)))
    used = {n.id for n in nodes if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Load)}
    made = {n.id for n in nodes if isinstance(n, ast.Name) and not isinstance(n.ctx, ast.Load)}
    made |= {n.arg for n in nodes if isinstance(n, ast.arg)}
    made |= {n.name for n in nodes if isinstance(n, (ast.FunctionDef, ast.ClassDef))}
    imports = [n for n in nodes if isinstance(n, (ast.Import, ast.ImportFrom))]
    return used - made - {(name.asname or name.name).partition(".")[0] for n in imports for name in n.names}


def test_every_module_is_in_the_reference_once():
    listed = [
        name for page in (ROOT / "docs/reference").glob("*.md") for name in re.findall(r"^::: (\S+)$", page.read_text(), re.M)
    ]
    assert sorted(listed) == sorted(modules())


def test_contributing_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for path in re.findall(r"`((?:minitl|tests|examples|docs)/[\w/]*(?:\.\w+)?)`", text):
        if "NAME" not in path:
            assert (ROOT / path).exists(), path
    for name in re.findall(r"test_\w+\.py::(test_\w+)", text):
        assert f"def {name}(" in "".join(path.read_text() for path in (ROOT / "tests").glob("test_*.py")), name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_blocks_of_a_page_run_from_top_to_bottom(page, tmp_path):
    if page.name == "photographs.md":  # says that it needs these
        drawn = np.random.default_rng(0)
        for name in ("flowers/daisy", "flowers/rose"):
            (tmp_path / name).mkdir(parents=True)
            for i in range(6):
                image = drawn.integers(0, 256, (40, 40, 3)) // (1 if "rose" in name else 3)
                Image.fromarray(image.astype(np.uint8)).save(tmp_path / name / f"{i}.jpg")
        shutil.copy(tmp_path / "flowers/rose/0.jpg", tmp_path / "garden.jpg")
    program = "\n".join(blocks(page))
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, timeout=200)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_whose_blocks_need_earlier_ones_says_so(page):
    known = set(dir(builtins))
    for number, block in enumerate(blocks(page)):
        missing = names_used(block) - known
        assert not missing or (number and ONE_PROGRAM in page.read_text().partition("```")[0]), (page, missing)


def test_names_that_a_block_takes_from_elsewhere_are_found():
    block = (
        "import a.b as c, d.e\nfrom f import g\ndef h(i, *j, **k):\n    return i + l\nclass M(N):\n    pass\nd = [o for o in p]\n"
    )
    assert names_used(block) == {"l", "N", "p"}


@pytest.mark.skipif(importlib.util.find_spec("mkdocstrings") is None, reason="mkdocs is not installed")
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LSTM" in (tmp_path / "site/reference/layers/index.html").read_text()
