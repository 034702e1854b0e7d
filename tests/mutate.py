"""Plants small changes of meaning in modules, one at a time, and counts those that the tests notice.

    python tests/mutate.py minitl/optimizers/*.py                       every change, with the tests that run the changed line
    python tests/mutate.py minitl/kernels/dense.py --tests tests/test_pairs.py     compiled code is not traced: name its tests
    python tests/mutate.py minitl/weights.py --sample 40 --jobs 2
    python tests/mutate.py $(git ls-files "minitl/*.py") --sample 2 --jobs 2 --traced lines   the whole package, by a sample

A change is a comparison turned, an operator exchanged, a number (a default too) one off, a condition negated, a truth value
flipped, a copy or a statement left out. What nobody noticed is printed with its line, to be judged: some changes are
equivalent, the others ask for a test. Those of which it was proved stand in `tests/equivalent.py` and are not planted. Works in
copies; a nightly matter. Needs the extra `dev` (coverage, pytest-xdist).
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import itertools
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from equivalent import EQUIVALENT
from traced import Traced, environment, record

ROOT = Path(__file__).parent.parent
LEFT_OUT = (".git", ".venv", ".data", ".*_cache", ".hypothesis", "__pycache__", "build", "dist", "results", "*.egg-info")
COMPARISONS = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
OPERATORS = {
    ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Div, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult, ast.Mod: ast.Mult,
    ast.Pow: ast.Mult, ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.MatMult: ast.Add,
}  # fmt: skip
SECONDS = 180  # more than tests that were chosen take: what runs longer has no end
COMPILING = 900  # the same where all kernels are compiled first, since one of them has changed
PLAIN = [
    *(f"tests/test_{name}.py" for name in ("tiny", "weights", "optimizers", "pairs", "exponential")),
    "-k",
    "not edges and not needed",
]
MEMORY = 16 << 30  # bytes of addresses: what wants more has none


class Change(NamedTuple):
    """One planted change: where, what, the line as it was, and what makes the changed tree."""

    module: str
    line: int
    what: str
    text: str
    changed: Callable[[], ast.Module]


def mutants(tree: ast.Module) -> Iterator[tuple[int, str, Callable[[], ast.Module]]]:
    """Line, what is changed, and what makes the changed tree."""
    nodes = list(ast.walk(tree))
    left_alone = {id(inner) for node in nodes if isinstance(node, ast.Raise) for inner in ast.walk(node)}  # wording
    left_alone |= {id(inner) for node in nodes for inner in (*_annotations(node), *_equivalent(node))}
    for position, node in enumerate(nodes):
        if id(node) in left_alone:
            continue
        for what, change, changed in _changes(node):
            yield getattr(changed, "lineno", 0), what, functools.partial(_changed, tree, position, change)


def _changed(tree: ast.Module, position: int, change: Callable[[Any], object]) -> ast.Module:
    other = copy.deepcopy(tree)
    change(list(ast.walk(other))[position])
    return ast.fix_missing_locations(other)


def _equivalent(node: ast.AST) -> Iterator[ast.AST]:
    """A safeguard of zip, who is said to have been warned, whether `astype` copies what needs no change, and -1 in a reshape, for
    which NumPy takes -2 as well.
    """
    if isinstance(node, ast.keyword) and node.arg in ("strict", "stacklevel"):
        yield node.value
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "astype":
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "copy")
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "reshape":
        for inner in ast.walk(ast.Tuple(node.args)):
            if isinstance(inner, ast.UnaryOp) and isinstance(inner.op, ast.USub):
                yield inner.operand


def _annotations(node: ast.AST) -> Iterator[ast.AST]:
    for name in ("annotation", "returns"):
        part = getattr(node, name, None)
        if isinstance(part, ast.AST):
            yield from ast.walk(part)


def _changes(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], object], ast.AST]]:
    """What is changed, how, and the node in whose line that is."""
    for what, change in _changes_of(node):
        yield what, change, node
    if isinstance(node, (ast.FunctionDef, ast.If, ast.For, ast.With, ast.ClassDef)):
        for place, statement in enumerate(node.body):
            drops = isinstance(statement, (ast.AugAssign, ast.Raise)) or (
                isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call)
            )
            if drops or (isinstance(statement, ast.Assign) and isinstance(statement.targets[0], (ast.Attribute, ast.Subscript))):
                left = f"left out: {ast.unparse(statement)[:60]}"
                yield left, lambda n, place=place: n.body.__setitem__(place, ast.Pass()), statement


def _changes_of(node: ast.AST) -> Iterator[tuple[str, Callable[[Any], object]]]:
    if isinstance(node, ast.Compare) and type(node.ops[0]) in COMPARISONS:
        new = COMPARISONS[type(node.ops[0])]
        yield f"{type(node.ops[0]).__name__} -> {new.__name__}", lambda n: n.ops.__setitem__(0, new())
    elif isinstance(node, (ast.BinOp, ast.AugAssign)) and type(node.op) in OPERATORS:
        if not (isinstance(node, ast.BinOp) and isinstance(node.left, (ast.Constant, ast.JoinedStr)) and _is_text(node.left)):
            new = OPERATORS[type(node.op)]
            yield f"{type(node.op).__name__} -> {new.__name__}", lambda n: setattr(n, "op", new())
    elif isinstance(node, ast.BoolOp):
        new = ast.Or if isinstance(node.op, ast.And) else ast.And
        yield f"{type(node.op).__name__} -> {new.__name__}", lambda n: setattr(n, "op", new())
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, (ast.USub, ast.Not)):
        yield f"{type(node.op).__name__} dropped", lambda n: _replace_unary(n)
    elif isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield f"{node.value} -> {not node.value}", lambda n: setattr(n, "value", not n.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        yield f"{node.value} -> {node.value + 1}", lambda n: setattr(n, "value", n.value + 1)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "copy" and not node.args:
        yield "copy left out", lambda n: _replace_copy(n)
    elif isinstance(node, (ast.If, ast.IfExp, ast.While)):
        yield "condition negated", lambda n: setattr(n, "test", ast.UnaryOp(ast.Not(), n.test))
    elif isinstance(node, ast.Return) and node.value is not None and not isinstance(node.value, ast.Constant):
        yield "returns None", lambda n: setattr(n, "value", ast.Constant(None))


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.JoinedStr) or isinstance(getattr(node, "value", None), str)


def _replace_unary(node: ast.UnaryOp) -> None:
    node.op = ast.UAdd() if isinstance(node.op, ast.USub) else ast.Not()
    if isinstance(node.op, ast.Not):
        node.operand = ast.UnaryOp(ast.Not(), node.operand)


def _replace_copy(node: ast.Call) -> None:
    node.args, node.keywords = [node.func.value], []
    node.func = ast.parse("lambda same: same", mode="eval").body


def copied() -> Path:
    """A copy of the project, in which changes can be planted."""
    folder = Path(tempfile.mkdtemp(prefix="minitl-mutants-"))
    shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(*LEFT_OUT), dirs_exist_ok=True)
    return folder


def noticed(folder: Path, chosen: list[str], seconds: int, **variables: str) -> bool:
    """Whether some tests fail, or do not end in time, under these variables."""
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *chosen]
    limit = functools.partial(resource.setrlimit, resource.RLIMIT_AS, (MEMORY, MEMORY))
    where = {"cwd": folder, "env": {**environment(folder), **variables}}
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    done = subprocess.Popen(command, preexec_fn=limit, start_new_session=True, **where, **streams)
    try:
        said, _ = done.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    finally:
        with contextlib.suppress(ProcessLookupError):  # with what the tests have started, which may have no end either
            os.killpg(done.pid, signal.SIGKILL)
        done.wait()
    missing, functions = "no match in any of" in said, list(dict.fromkeys(test.split("[")[0] for test in chosen))
    if missing and functions != chosen:  # of the cases some are drawn from the package: the change has taken one away
        return noticed(folder, functions, seconds, **variables)
    if done.returncode == 5 or missing:
        raise SystemExit(f"{' '.join(chosen)}: no test was collected:\n{said[-2000:]}")
    return done.returncode != 0


def main(options: argparse.Namespace) -> int:
    """Plant, run, count, module by module; the exit status is 1 when something was not noticed."""
    tests, folders = options.tests or ["tests"], [copied() for _ in range(options.jobs)]
    traced = None if options.whole else _traced(options.traced or Path(tempfile.mkdtemp()), folders[0], tests, options.jobs)

    def judge(change: Change) -> str:
        chosen = tests if traced is None else traced.selection(change.module, change.line)
        if not chosen:
            return "no test runs this line"
        folder = folders.pop()
        try:
            (folder / change.module).write_text(ast.unparse(change.changed()))
            compiles = change.module.startswith(("minitl/kernels/", "minitl/ops/"))
            if change.module.startswith("minitl/kernels/") and noticed(folder, PLAIN, COMPILING, NUMBA_DISABLE_JIT="1"):
                return ""  # as CI runs them too: no compiler to wait for, and an index beyond an array is an error
            return "" if noticed(folder, chosen, COMPILING if compiles else SECONDS) else "not noticed"
        finally:
            shutil.copy(ROOT / change.module, folder / change.module)
            folders.append(folder)

    planted = [change for module in options.modules for change in chosen_changes(str(Path(module)), options.sample, options.seed)]
    counts = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for module, group in itertools.groupby(zip(planted, pool.map(judge, planted), strict=True), lambda pair: pair[0].module):
            verdicts = []
            for change, verdict in group:
                verdicts.append(verdict)
                if verdict:
                    print(f"{module}:{change.line}: {change.what}: {verdict}\n    {change.text}", flush=True)
            counts.append((verdicts.count(""), len(verdicts)))
            print(_share(module, *counts[-1]), flush=True)
    for folder in folders:
        shutil.rmtree(folder)
    killed, of = map(sum, zip(*counts, strict=True))
    if len(counts) > 1:
        print(_share(f"{len(counts)} modules", killed, of))
    return 0 if killed == of else 1


def chosen_changes(module: str, sample: int | None, seed: int) -> list[Change]:
    """All changes of a module that are not known to be equivalent, or some that are drawn."""
    found = [change for change in changes_of(module) if not is_equivalent(change)]
    return random.Random(seed).sample(found, sample) if sample and sample < len(found) else found


def is_equivalent(change: Change) -> bool:
    """Whether it was proved that no result differs."""
    return (change.module, change.what, change.text) in EQUIVALENT


def changes_of(module: str) -> list[Change]:
    """All changes of a module."""
    source = (ROOT / module).read_text()
    lines = source.splitlines()
    return [
        Change(module, line, what, lines[line - 1].strip() if line else "", changed)
        for line, what, changed in mutants(ast.parse(source))
    ]


def _traced(folder: Path, project: Path, tests: list[str], jobs: int) -> Traced:
    if not (folder / "coverage").exists():
        record(project, folder, tests, jobs)
    traced = Traced(folder)
    if traced.failed:
        print(f"without a change fail, and are not used: {', '.join(traced.failed)}", flush=True)
    return traced


def _share(what: str, killed: int, planted: int) -> str:
    return f"{what}: {killed} of {planted} changes noticed, {100 * killed / planted:.1f} %"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("modules", nargs="+", help="files of the package, such as minitl/losses/formulas.py")
    parser.add_argument("--tests", nargs="+", help="test files; by default all; those that run the changed line are used")
    parser.add_argument("--whole", action="store_true", help="run the test files whole: compiled code cannot be traced")
    parser.add_argument("--traced", type=Path, help="folder that keeps which tests run which line; recorded there first if empty")
    parser.add_argument("--sample", type=int, help="plant only so many changes per module, drawn by --seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    sys.exit(main(parser.parse_args()))
