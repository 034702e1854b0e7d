"""Which tests run a line of the package, and how long they take: what `tests/mutate.py` chooses tests by.

`record` runs the suite once under coverage, with every test as a context of its own, and this file as a plugin of pytest that
says which test is running; `Traced` reads what it wrote. What fixtures run belongs to all tests of their file, and what a test
starts as a process to that test.
"""

from __future__ import annotations

import ast
import itertools
import os
import re
import sqlite3
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parent.parent
MOST_TESTS = 320  # per line
MOST_CASES = 40  # of one test among them, beside quick ones
QUICK = 0.05  # seconds
MOST_SECONDS = 60.0
OF_SIGNATURES = ("tests/test_defaults.py", "tests/test_layout.py", "tests/test_settings.py")  # they read what they do not run
OF_COMPILED_CODE = ("tests/test_pairs.py", "tests/test_exponential.py")  # not traced; what writes code is, where it is first used


def record(project: Path, folder: Path, tests: list[str], jobs: int) -> None:
    """Run tests under coverage; lines go to `folder/coverage`, seconds and verdicts to `folder/tests.xml`."""
    folder = folder.resolve()  # the tests run in another one
    folder.mkdir(parents=True, exist_ok=True)
    settings = folder / "settings.ini"
    settings.write_text(
        "[run]\nsource_pkgs = minitl\nparallel = true\ncontext = ${PYTEST_CURRENT_TEST-}\n"
        f"data_file = {folder / 'coverage'}\ndisable_warnings = no-data-collected, module-not-imported\n"
    )
    coverage = [sys.executable, "-m", "coverage"]
    suite = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "traced", f"--junitxml={folder / 'tests.xml'}"]
    suite += ["-n", str(jobs), "--dist", "loadfile", "--no-loadscope-reorder", *tests]
    started = {**environment(project), "COVERAGE_PROCESS_START": str(settings)}
    started["PYTHONPATH"] += f"{os.pathsep}{Path(__file__).parent}"
    subprocess.run([*coverage, "run", f"--rcfile={settings}", *suite], cwd=project, env=started, check=False)
    subprocess.run([*coverage, "combine", "-q", f"--rcfile={settings}"], cwd=project, check=True)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: Any) -> None:
    """Pytest's hook in front of a test's fixtures."""
    _switch(item.nodeid.split("::")[0])


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: Any) -> None:
    """Pytest's hook in front of a test."""
    _switch(item.nodeid)


def _switch(context: str) -> None:
    import coverage

    current = coverage.Coverage.current()
    if current is not None:
        current.switch_context(context)


def environment(project: Path) -> dict[str, str]:
    """The variables under which the tests of a copy of the project run: with the data of the project itself."""
    data = {"MINITL_DATA": str(ROOT / ".data"), "MINITL_SHARED": str(ROOT.parent / "shared")}
    return {**data, **os.environ, "PYTHONPATH": str(project), "PYTHONDONTWRITEBYTECODE": "1", "HYPOTHESIS_PROFILE": "ci"}


class Traced:
    """What `record` wrote: the tests that passed, with their seconds and the lines of every module that they ran."""

    def __init__(self, folder: Path) -> None:
        self.seconds, failed = _verdicts(folder / "tests.xml")
        self.failed = sorted(failed)
        self.lines: dict[str, dict[str, set[int]]] = defaultdict(dict)  # module -> test -> lines
        self.size: dict[str, int] = defaultdict(int)  # test -> lines of the whole package
        of_file: dict[str, list[str]] = defaultdict(list)
        for test in self.seconds:
            of_file[test.split("::")[0]].append(test)
        for context, module, lines in _contexts(folder / "coverage"):
            for test in [context] if context in self.seconds else of_file.get(context, []):
                self.lines[module].setdefault(test, set()).update(lines)
        for tests in self.lines.values():
            for test, lines in tests.items():
                self.size[test] += len(lines)

    def selection(self, module: str, line: int) -> list[str]:
        """The tests that can tell, within a minute: first those with the module's name, or its folder's file, those that share a
        word with the line, and those that run little besides.

        Where more run it, also some of every file.
        """
        name, folder = Path(module).stem, Path(module).parent.name
        named = {test for test in self.seconds if name in test or folder in test.split("::")[0]}
        of_module, source = self.lines[module], Path(module).read_text()
        if not of_module:  # read as a text, and run from that
            of_folders = {f"test_{part}.py" for part in Path(module).parent.parts}
            return [test for test in self.seconds if Path(test.split("::")[0]).name in of_folders]
        inside, tests = self._that_run(ast.parse(source), of_module, line)
        if module.startswith("minitl/kernels/"):  # of compiled lines it is not known who runs them
            tests = tests | named
        words = set(re.findall(r"[a-z]{4,}", source.splitlines()[line - 1])) if line else set()

        def order(test: str) -> tuple[bool, bool, int, float, float]:
            shared, share = words & set(re.findall(r"[a-z]{4,}", test)), len(of_module.get(test, ())) / self.size.get(test, 1)
            return self.seconds[test] > MOST_SECONDS / 2, test not in named, -len(shared), -share, self.seconds[test]

        ordered = sorted(tests, key=order)
        by_file: dict[str, list[str]] = defaultdict(list)
        for test in ordered:
            by_file[test.split("::")[0]].append(test)
        turns = [test for turn in itertools.zip_longest(*by_file.values()) for test in turn if test is not None]
        chosen: list[str] = []
        cases, seconds = Counter[str](), 0.0
        for test in (*ordered[: MOST_TESTS // 3], *turns):  # the likeliest, and then one of every file, and again
            function, longer = test.split("[")[0], seconds + self.seconds[test]
            if test in chosen or cases[function] == MOST_CASES or len(chosen) == MOST_TESTS or (chosen and longer > MOST_SECONDS):
                continue
            chosen.append(test)
            cases[function] += self.seconds[test] > QUICK
            seconds = longer
        chosen += OF_COMPILED_CODE if module.startswith("minitl/kernels/") else ()
        return chosen if inside else [*chosen, *OF_SIGNATURES]

    def _that_run(self, tree: ast.Module, of_module: dict[str, set[int]], line: int) -> tuple[bool, set[str]]:
        """Whether a line stands inside a function, and the tests that run it; what runs once, at import (defaults, attributes,
        constants), belongs to the tests of the innermost part with any.
        """
        parts = [node for node in ast.walk(tree) if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
        around = sorted((node for node in parts if node.lineno <= line <= (node.end_lineno or 0)), key=_length)
        if around and isinstance(around[0], ast.FunctionDef) and line >= around[0].body[0].lineno:
            tests = {test for test, lines in of_module.items() if line in lines}
            if tests:
                return True, tests
        for part in around:
            inside = range(part.body[0].lineno, (part.end_lineno or 0) + 1)
            tests = {test for test, lines in of_module.items() if lines.intersection(inside)}
            if tests:
                return False, tests
        return False, set(of_module)


def _length(node: ast.ClassDef | ast.FunctionDef) -> int:
    return (node.end_lineno or node.lineno) - node.lineno


def _verdicts(file: Path) -> tuple[dict[str, float], set[str]]:
    """Seconds of each case of a test that passed, and the names of those that did not."""
    seconds: dict[str, float] = {}
    failed = set()
    for case in ElementTree.parse(file).iter("testcase"):
        test = f"{case.get('classname', '').replace('.', '/')}.py::{case.get('name', '')}"
        seconds[test] = float(case.get("time", 0))
        if case.find("failure") is not None or case.find("error") is not None:
            failed.add(test)
    return {test: value for test, value in seconds.items() if test not in failed}, failed


def _contexts(file: Path) -> list[tuple[str, str, set[int]]]:
    """Test, or file of tests, module and lines, from coverage's database."""
    from coverage.numbits import numbits_to_nums

    query = (
        "select context.context, file.path, line_bits.numbits from line_bits"
        " join file on file.id = file_id join context on context.id = context_id where context.context != ''"
    )
    with sqlite3.connect(file) as database:
        rows = database.execute(query).fetchall()
    return [
        (re.sub(r" \((setup|call|teardown)\)$", "", context), path[path.rindex("/minitl/") + 1 :], set(numbits_to_nums(bits)))
        for context, path, bits in rows
    ]
