"""The house stands: mirrored folders, imports in one direction, nothing heavy at import."""

import ast
import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from cases import CASES

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "minitl"
ENGINE_ONLY = {
    "jit": "how kernels are compiled",
    "launch": "how a kernel's body runs on all threads",
    "matrix_product": "the product of matrices, which dense and conv2d share",
    "matrix_gradient": "the gradient of a matrix that many rows are multiplied by",
    "convolution": "convolution without groups, which conv2d, conv2d_transpose and fused share",
    "window_product": "the product of every window with a kernel",
    "input_gradient": "the gradient of such a convolution's input",
    "pool": "the threads that share a launch",
    "processor": "what is known of the processor",
    "places": "where rows of a product begin",
    "elementwise": "how numbers are cut into tasks",
    "arrays": "arrays of one dtype, contiguous, and zero where sums begin",
    "memory": "where arrays come from",
    "batch_sums": "sums over a batch, channel by channel",
    "padding": "zeros around images and behind rows",
    "folding": "what a batch normalisation comes to behind a linear layer",
    "recording": "launches that are written down, and run again",
    "row_sums": "sums over rows, in a fixed order",
    "updates": "the rules of minitl.optimizers",
    "recurrent": "how sequences are cut into tasks, which recurrent operations share",
    "normal": "GELU and its slope, which gated and batch_norm share",
    "slices": "what sums over slices of a batch come to",
    "separable": "depthwise_conv2d and a 1x1 conv2d one after another",
    "fused": "conv2d, relu and max_pool2d one after another",
    "warp": "an affine warp, whose definition is minitl.preprocessing.image.transforms; nothing is differentiated",
}
BOOK_ONLY = {"window": "arithmetic of shapes, which kernels import", "winograd": "F(2x2, 3x3); the engine has a folder of it"}

# The order of the house: a part may import those before it and itself.
FLOORS = (
    "ops", "channels errors functions processes", "random", "autodiff serialization", "kernels",
    "backend rare_activations activations",
    "initializers regularizers constraints schedules",
    "batches weights prefetch preprocessing", "graph layers legacy",
)  # fmt: skip


def names(folder):
    return {path.stem for path in (PACKAGE / folder).glob("*.py")} - {"__init__"}


def test_every_operation_has_its_twin_and_its_cases():
    assert names("ops") - set(BOOK_ONLY) == names("kernels") - set(ENGINE_ONLY) == set(CASES)


@pytest.mark.parametrize("name", sorted(CASES))
def test_twins_have_the_same_functions_and_signatures(name):
    import inspect

    book, engine = (importlib.import_module(f"minitl.{folder}.{name}") for folder in ("ops", "kernels"))
    for function in ("forward", "backward"):
        two = [inspect.signature(getattr(house, function)).parameters.values() for house in (book, engine)]
        assert [(p.name, p.kind, p.default) for p in two[0]] == [(p.name, p.kind, p.default) for p in two[1]]


def module_of(path):
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_of(path): path for path in PACKAGE.rglob("*.py")}


def imports(path, source=None):
    """The modules of the package that a file imports, inside functions too; a package counts as what is taken from it."""
    for node in ast.walk(ast.parse(source or path.read_text())):
        if isinstance(node, ast.Import):
            found = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in found:
            if name.split(".")[0] == "minitl":
                while name not in MODULES:
                    name = name.rpartition(".")[0]
                yield name


def circles(edges):
    """Groups of modules that reach one another."""
    reach = {}

    def reached(start):
        seen, stack = set(), [start]
        while stack:
            for other in edges.get(stack.pop(), ()):
                if other not in seen:
                    seen.add(other)
                    stack.append(other)
        return seen

    for module in edges:
        reach[module] = reached(module)
    return {module for module in edges if module in reach[module]}


def test_no_module_is_part_of_an_import_circle():
    edges = {name: set(imports(path)) - {name} for name, path in MODULES.items()}
    # What a package's __init__ collects for users is no dependency of those who import the package's modules.
    assert circles(edges) == set()
    edges["minitl.errors"].add("minitl.models.model")  # a test that would say so
    assert {"minitl.errors", "minitl.models.model", "minitl.graph.steps"} <= circles(edges)


def test_lazy_imports_count():
    assert list(imports(None, "def f():\n    from minitl.models import Sequential\n    import minitl.plot")) == [
        "minitl.models", "minitl.plot",
    ]  # fmt: skip


def test_the_floors_of_the_house():
    floor = {part: number for number, parts in enumerate(FLOORS) for part in parts.split()}
    for name, path in MODULES.items():
        part = name.split(".")[1] if "." in name else ""
        if part in floor:
            for other in imports(path):
                below = other.split(".")[1] if "." in other else ""
                assert floor.get(below, 99) <= floor[part], f"{name} imports {other}"


OF_SEQUENCES = {"crf", "gated", "gru", "lstm", "simple_rnn"}  # chapters on recurrence, and on labels that depend on one another


def test_the_book_is_short_and_needs_numpy_only():
    lines, of_sequences = 0, 0
    for path in (PACKAGE / "ops").glob("*.py"):
        length = len(path.read_text().splitlines())
        lines, of_sequences = lines + length, of_sequences + length * (path.stem in OF_SEQUENCES)
        for node in ast.walk(ast.parse(path.read_text())):
            found = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                found = [node.module]
            assert all(
                name.split(".")[0] in ("__future__", "functools", "math", "numpy", "minitl", "typing") for name in found
            ), path
    assert lines - of_sequences < 1400 and of_sequences < 400


def test_no_file_is_too_long():
    for path in PACKAGE.rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 350, path


def test_only_simd_speaks_llvm():
    for path in PACKAGE.rglob("*.py"):
        if path.parent.name != "simd":
            assert "llvmlite.ir" not in path.read_text() and "from llvmlite import ir" not in path.read_text(), path


def test_import_brings_nothing_heavy():
    heavy = "numba llvmlite matplotlib PIL pooch tqdm numpy.random zipfile tempfile shutil json csv difflib hashlib random"
    program = (
        f"import sys, numpy; before = set(sys.modules); import minitl; print({set(heavy.split())} & set(sys.modules) - before)"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "set()"


def test_every_public_function_says_what_it_does():
    for path in PACKAGE.rglob("*.py"):
        assert not list(without_docstring(ast.parse(path.read_text()), str(path)))
    assert list(without_docstring(ast.parse('"""A."""\nclass B:\n  """B."""\n  def c(self): pass\ndef _d(): pass'), "m")) == [
        "m.B.c"
    ]


def without_docstring(node, path):
    """The public modules, classes and functions that have no docstring; methods with magic names say what they do."""
    if not ast.get_docstring(node):
        yield path
    for inner in node.body:
        if isinstance(inner, (ast.ClassDef, ast.FunctionDef)) and not inner.name.startswith("_"):
            if isinstance(inner, ast.ClassDef):
                yield from without_docstring(inner, f"{path}.{inner.name}")
            elif not ast.get_docstring(inner) and not any("setter" in ast.dump(d) for d in inner.decorator_list):
                yield f"{path}.{inner.name}"


def run(program, **environment):
    full = {**os.environ, **environment}
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=full, cwd=ROOT)


def test_the_compile_cache_is_named_by_the_kernels_sources(tmp_path):
    import shutil

    shutil.copytree(PACKAGE, tmp_path / "minitl")
    program = "from minitl.kernels import jit; print(jit.__file__, jit.SOURCES_HASH)"
    hashes = []
    for _ in range(2):
        result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path, check=True)
        path, digest = result.stdout.split()
        assert path.startswith(str(tmp_path))
        hashes.append(digest)
        with open(tmp_path / "minitl" / "kernels" / "relu.py", "a") as file:
            file.write("# edited\n")
    assert hashes[0] != hashes[1]


def test_kernels_work_where_nothing_can_be_cached(tmp_path):
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    program = "import numpy as np; from minitl.kernels import relu; print(relu.forward(np.ones(2))[0].sum())"
    result = run(program, NUMBA_CACHE_DIR=str(blocked), XDG_CACHE_HOME=str(blocked))
    assert result.stdout.strip() == "2.0", result.stderr


@pytest.mark.timing
def test_import_costs_little_more_than_numpy():
    program = """
import time, numpy
started = time.perf_counter()
import minitl
print(time.perf_counter() - started)
"""
    fastest = min(float(run(program).stdout) for _ in range(3))
    numpy_alone = "import time; started = time.perf_counter(); import numpy; print(time.perf_counter() - started)"
    assert fastest < 3 * min(float(run(numpy_alone).stdout) for _ in range(3))
