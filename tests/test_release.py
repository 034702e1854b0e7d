"""What is published: the archive of the source builds, has all that its tests need, and the wheel has what users need."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import minitl

pytest.importorskip("build", reason="building needs the dev extra")
ROOT = Path(__file__).parent.parent


def run(*command, cwd=ROOT):
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=cwd)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    # From a copy, so that what lies about here is not packed, and the wheel from the unpacked source archive.
    folder = tmp_path_factory.mktemp("release")
    files = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True, cwd=ROOT)
    if files.returncode:
        pytest.skip("not a git clone")
    for name in files.stdout.splitlines():
        if (ROOT / name).is_file():
            (folder / "copy" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "copy" / name).write_bytes((ROOT / name).read_bytes())
    run("build", "--sdist", "--no-isolation", "--outdir", str(folder), cwd=folder / "copy")
    archive = next(folder.glob("*.tar.gz"))
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    source = folder / f"minitl-{minitl.__version__}"
    run("build", "--wheel", "--no-isolation", "--outdir", str(folder), cwd=source)
    return source, archive, next(folder.glob("*.whl"))


def test_the_source_archive_has_all_that_its_tests_need(built):
    source, _, _ = built
    for name in ("tests/conftest.py", "tests/planted.py", "docs/design.md", "examples/transfer.py", "benchmarks/tile.py"):
        assert (source / name).is_file(), name
    # Every test module that can be imported here can be imported there; what needs the repository itself is not collected.
    listed = run("pytest", "--collect-only", "-q", "-p", "no:cacheprovider", cwd=source)
    assert "error" not in listed.lower()
    assert sum(int(line.rpartition(":")[2]) for line in listed.splitlines() if ": " in line) > 2000


def test_the_wheel_has_what_users_need_and_nothing_else(built):
    with zipfile.ZipFile(built[2]) as wheel:
        names = wheel.namelist()
        text = wheel.read(next(n for n in names if n.endswith("METADATA"))).decode()
        entries = wheel.read(next(n for n in names if n.endswith("entry_points.txt"))).decode()
    assert {n.split("/")[0] for n in names} == {"minitl", f"minitl-{minitl.__version__}.dist-info"}
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "minitl").rglob("*.py")}
    assert modules <= set(names)
    for name in ("minitl/py.typed", "minitl/applications/letters.npz", "minitl/applications/letters.md"):
        assert name in names
    assert "License-Expression: MIT" in text and "Requires-Python: >=3.10" in text
    assert "minitl = minitl.__main__:main" in entries
    assert built[2].stat().st_size < 15e6


def test_the_package_index_can_show_it(built):
    pytest.importorskip("twine")
    assert "PASSED" in run("twine", "check", "--strict", str(built[1]), str(built[2]))
