"""Several processes: one training over MPI, and many experiments at once."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minitl import parallel
from minitl.layers import BatchNormalization, Dense, Input
from minitl.models import Sequential
from minitl.utils import set_random_seed

HERE = Path(__file__).parent
PROGRAM = str(HERE / "training_together.py")
MPIRUN = shutil.which("mpirun", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")

needs_mpi = pytest.mark.skipif(MPIRUN is None or not __import__("importlib").util.find_spec("mpi4py"), reason="no MPI")


def run(ranks, *arguments, backend="numba", check=True):
    command = [sys.executable, PROGRAM, *map(str, arguments)]
    if ranks:
        command = [MPIRUN, "-n", str(ranks), *command]
    environment = {**os.environ, "MINITL_BACKEND": backend}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment)
    assert not check or done.returncode == 0, done.stderr
    return done


@needs_mpi
@pytest.mark.parametrize(("ranks", "backend"), [(1, "numba"), (2, "numba"), (3, "numba"), (4, "numba"), (3, "numpy")])
def test_processes_give_the_bits_of_one_that_accumulates(ranks, backend):
    together = run(ranks, 1, backend=backend).stdout.strip().splitlines()
    assert together == run(0, ranks, backend=backend).stdout.strip().splitlines()
    assert len(together) == 1  # only rank 0 prints


@needs_mpi
def test_a_killed_process_ends_the_others_and_the_backup_goes_on(tmp_path):
    started = time.monotonic()
    killed = run(2, 1, tmp_path, "dies", check=False)
    assert killed.returncode != 0
    assert time.monotonic() - started < 60
    assert "KILLED" in (killed.stdout + killed.stderr).upper()
    assert list(tmp_path.glob("*.npz"))
    assert run(2, 1, tmp_path).stdout == run(0, 2).stdout


def test_one_part_is_the_plain_step_and_parts_share_the_batch():
    x, y = np.random.default_rng(0).standard_normal((12, 5)).astype(np.float32), np.arange(12) % 3
    found = []
    for parts in (1, 2, 5, 40):
        set_random_seed(0)
        model = Sequential([Input((5,)), Dense(3, activation="softmax")])
        model.compile("sgd", "sparse_categorical_crossentropy")
        model.fit(x, y, batch_size=12, epochs=2, shuffle=False, verbose=0, accumulate=parts, sample_weight=np.arange(12.0))
        found.append(model.get_weights()[0])
    for other in found[1:]:  # more parts than samples are as many as samples
        np.testing.assert_allclose(other, found[0], rtol=1e-5, atol=1e-6)


def test_moving_statistics_are_the_mean_of_the_parts():
    x = np.random.default_rng(0).standard_normal((8, 3)).astype(np.float32) + np.repeat([0, 4], 4)[:, None].astype(np.float32)
    model = Sequential([Input((3,)), BatchNormalization(momentum=0.0), Dense(1)])
    model.compile("sgd", "mse")
    model.fit(x, np.zeros(8), batch_size=8, shuffle=False, verbose=0, accumulate=2)
    np.testing.assert_allclose(model.layers[0].state["moving_mean"], x.mean(axis=0), rtol=1e-5)
    within = (x[:4].var(axis=0) + x[4:].var(axis=0)) / 2  # each part's own, not the whole batch's
    np.testing.assert_allclose(model.layers[0].state["moving_variance"], within, rtol=1e-4)


def test_a_loss_that_is_not_finite_stops_before_the_update():
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse")
    before = model.get_weights()[0].copy()
    with pytest.raises(ValueError, match="NaN"):
        model.fit(np.full((4, 3), np.inf, np.float32), np.zeros(4), verbose=0, accumulate=2)
    assert np.array_equal(before, model.get_weights()[0])
    with pytest.raises(ValueError, match="accumulate"):
        model.fit(np.zeros((4, 3)), np.zeros(4), verbose=0, accumulate=0)


def square(k, folder=None, dies=False):
    """A task; counts how often it ran, and dies once."""
    if folder is not None:
        with open(Path(folder) / f"{k}-{os.getpid()}-{time.monotonic_ns()}", "w"):
            pass
        if dies and k == 2 and len(list(Path(folder).glob("2-*"))) == 1:
            os.kill(os.getpid(), signal.SIGKILL)
    return k * k


def test_results_come_in_order_and_are_kept(tmp_path):
    runs, keep = tmp_path / "runs", tmp_path / "kept"
    runs.mkdir()
    tasks = [(k, str(runs)) for k in range(5)]
    assert parallel.each(square, tasks[:3], keep=keep) == [0, 1, 4]
    assert parallel.each(square, tasks, workers=2, keep=keep) == [0, 1, 4, 9, 16]
    assert len(list(runs.iterdir())) == 5  # each ran once
    assert parallel.each(square, tasks) == [0, 1, 4, 9, 16]


def test_progress_is_shown_task_by_task(monkeypatch, tmp_path):
    class Bar:
        steps = closed = 0

        def update(self):
            self.steps += 1

        def close(self):
            self.closed += 1

    bar = Bar()
    monkeypatch.setattr(parallel, "_bar", lambda total, done: bar)
    parallel.each(square, [(k, str(tmp_path)) for k in range(3)])
    assert (bar.steps, bar.closed) == (3, 1)


def test_a_worker_that_dies_costs_a_repetition(tmp_path):
    assert parallel.each(square, [(k, str(tmp_path), True) for k in range(5)], workers=2) == [0, 1, 4, 9, 16]
    assert len(list(tmp_path.glob("2-*"))) > 1


def test_a_dask_cluster_gives_the_same_though_a_worker_is_killed(tmp_path):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster:
        tasks = [(k, str(tmp_path), True) for k in range(5)]
        assert parallel.each(square, tasks, dask=cluster.scheduler_address) == [0, 1, 4, 9, 16]
    assert len(list(tmp_path.glob("2-*"))) > 1


def test_missing_extras_are_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "joblib", None)
    with pytest.raises(ImportError, match=r"minitl\[parallel\]"):
        parallel.each(square, [(1,)], workers=2)
    from minitl import distributed

    distributed.world.cache_clear()
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(ImportError, match=r"minitl\[mpi\]"):
        distributed.world()
