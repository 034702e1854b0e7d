"""What a machine does to a program: other processes, a missing home, interrupts, and long runs."""

import os
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minitl.layers import Dense, Input
from minitl.models import Sequential

ROOT = Path(__file__).parent.parent
STEPS = 20_000

TRAIN = """
import numpy as np, minitl
from minitl.layers import Conv2D, Dense, Flatten, Input, MaxPooling2D
from minitl.models import Sequential
minitl.set_random_seed(0)
model = Sequential([Input((12, 12, 3)), Conv2D(16, 3, activation="relu"), MaxPooling2D(), Flatten(), Dense(4, "softmax")])
model.compile("adam", "sparse_categorical_crossentropy")
x, y = np.random.default_rng(0).standard_normal((64, 12, 12, 3)), np.arange(64) % 4
"""


def start(program, **environment):
    return subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
        env={name: value for name, value in {**os.environ, **environment}.items() if value is not None},
    )  # fmt: skip


def test_processes_that_compile_into_the_same_cold_cache(tmp_path):
    program = TRAIN + "print(model.fit(x, y, epochs=2, verbose=0).history['loss'])"
    started = [start(program, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(3)]
    printed = [process.communicate(timeout=300) for process in started]
    assert len({out for out, _ in printed}) == 1 and printed[0][0].startswith("["), printed
    again = start(program, NUMBA_CACHE_DIR=str(tmp_path)).communicate(timeout=100)
    assert again == (printed[0][0], "")


def test_compiling_is_announced_once(tmp_path):
    told = start(TRAIN + "model.fit(x, y, verbose=0)", NUMBA_CACHE_DIR=str(tmp_path), MINITL_QUIET=None)
    lines = told.communicate(timeout=100)[0].splitlines()
    assert re.fullmatch(rf"compiling kernels, once; they are kept in {tmp_path}/kernels-\w+", lines[0])
    assert lines[1:] and all(re.fullmatch(r"compiling kernels: \d+ so far", line) for line in lines[1:])
    again = start(TRAIN + "model.fit(x, y, verbose=0)", NUMBA_CACHE_DIR=str(tmp_path), MINITL_QUIET=None)
    assert again.communicate(timeout=100) == ("", "")


def test_compiling_where_nothing_can_be_kept_is_announced_too(tmp_path):
    (blocked := tmp_path / "file").touch()
    folders = {"NUMBA_CACHE_DIR": str(blocked), "XDG_CACHE_HOME": str(blocked), "MINITL_QUIET": None}
    out, _ = start(TRAIN + "model.fit(x, y, verbose=0)", **folders).communicate(timeout=100)
    assert out.splitlines()[0] == "compiling kernels, for this run: no folder to keep them in can be written"


def test_without_a_home(tmp_path):
    program = "import numpy as np; from minitl.kernels import relu; print(relu.forward(np.array([-1.0, 2.0]))[0])"
    for home in (None, "/nonexistent", ""):
        out, err = start(program, HOME=home, XDG_CACHE_HOME=None, NUMBA_CACHE_DIR=None).communicate(timeout=100)
        assert out == "[0. 2.]\n", err


INTERRUPTED = """
import signal
model.fit(x, y, verbose=0)  # an import that is interrupted is Python's matter
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
try:
    print("training", flush=True)
    model.fit(x, y, epochs=100000, verbose=0)
except KeyboardInterrupt:
    assert all(np.isfinite(w).all() for w in model.weights)
    model.fit(x, y, epochs=2, verbose=0)  # and it goes on
    print("stopped")
"""


@pytest.mark.skipif(os.name == "nt", reason="signals are POSIX's")
@pytest.mark.parametrize("moment", [0.05, 0.3, 0.9])
def test_an_interrupt_stops_training_at_once(moment):
    process = start(TRAIN + INTERRUPTED)
    assert process.stdout.readline() == "training\n"
    time.sleep(moment)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert out == "stopped\n", err
    assert "Traceback" not in err


def test_long_runs_do_not_grow():
    model = Sequential([Input((8,)), Dense(8, activation="relu"), Dense(3, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = np.random.default_rng(0).standard_normal((16, 8)).astype(np.float32), np.arange(16) % 3
    for _ in range(STEPS // 4):
        model.train_on_batch(x, y)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for step in range(STEPS):
        model.train_on_batch(x, y)
        if step % 100 == 0:
            model.predict(x, verbose=0)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    assert grown < 2, f"{grown:.1f} MB more after {STEPS:,} steps"


def test_tests_that_compare_times_have_a_marker():
    for path in (ROOT / "tests").glob("test_*.py"):
        text = path.read_text()
        for name, body in re.findall(r"^def (test_\w+)[^\n]*\n((?:    .*\n|\n)+)", text, re.M):
            if re.search(r"perf_counter\(\)|fastest\(", body):
                assert re.search(rf"timing[^\n]*\n(?:@.*\n)*def {name}\b|^pytestmark = .*timing", text, re.M), (
                    f"{path.name}: {name}"
                )
