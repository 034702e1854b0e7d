"""The documentation: it builds without a warning, and every module is in the reference."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minitl"


def modules():
    for path in PACKAGE.rglob("*.py"):
        parts = list(path.relative_to(ROOT).with_suffix("").parts)
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name != "minitl" and "exercises" not in name and parts[-1] != "__main__":
            yield name


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


def test_blocks_of_the_pages_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for page in ("index.md", "text.md", "own.md"):
        names = {"__name__": page}  # a page is one program
        for block in re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(), re.DOTALL):
            exec(compile(block, page, "exec"), names)


@pytest.mark.skipif(importlib.util.find_spec("mkdocstrings") is None, reason="mkdocs is not installed")
def test_the_site_builds_without_a_warning(tmp_path):
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "LSTM" in (tmp_path / "site/reference/layers/index.html").read_text()
