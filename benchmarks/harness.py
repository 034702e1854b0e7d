"""Measuring fairly: every engine in a process of its own, woken in turn, on the same weights and data.

Before anything is timed, loss and gradients are compared. Then rounds alternate between the engines; each round's time a
call is kept, and the median and the quartiles are reported. OPENBLAS_CORETYPE and OPENBLAS_L2_SIZE are unset for everyone.
"""

from __future__ import annotations

import io
import json
import math
import multiprocessing
import os
import platform
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import workloads
from engines import ENGINES
from single import SINGLE

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
THREADS = 2
AVX2 = {
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "+sse4.2,+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+popcnt",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "ATEN_CPU_CAPABILITY": "avx2",
}


class Worker:
    """An engine in its own process."""

    def __init__(self, name: str, layers: list[tuple], shape: tuple[int, ...], batch: int, single: bool):
        self.name = name
        self.pipe, other = multiprocessing.get_context("spawn").Pipe()
        process = multiprocessing.get_context("spawn").Process(
            target=_serve, args=(other, name, layers, shape, batch, single), daemon=True
        )
        process.start()
        self.process = process
        other.close()
        self.error = self.receive()

    def ask(self, what: str, argument: Any = None) -> Any:
        """Send a request and wait for the answer."""
        self.pipe.send((what, argument))
        return self.receive()

    def receive(self) -> Any:
        """An answer; what went wrong in there goes wrong here."""
        try:
            ok, value = self.pipe.recv()
        except EOFError:
            return "the process died"
        return value if ok else f"{value}"

    def close(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.join()


def _serve(pipe: Any, name: str, layers: list[tuple], shape: tuple[int, ...], batch: int, single: bool) -> None:
    try:
        engine = (SINGLE if single else ENGINES)[name](
            layers, shape, workloads.weights(layers, shape), *workloads.data(shape, batch)
        )
        pipe.send((True, None))
    except Exception as error:
        pipe.send((False, f"{type(error).__name__}: {error}"))
        return
    while True:
        what, argument = pipe.recv()
        try:
            if what == "check":
                pipe.send((True, engine.loss_and_gradients()))
                continue
            call = getattr(engine, what)
            started = time.perf_counter()
            for _ in range(argument):
                call()
            pipe.send((True, (time.perf_counter() - started) / argument))
        except Exception as error:
            pipe.send((False, f"{type(error).__name__}: {error}"))


def compare(
    title: str,
    layers: list[tuple],
    shape: tuple[int, ...],
    batch: int,
    what: str,
    names: list[str],
    rounds: int,
    single: bool = False,
) -> dict[str, Any]:
    """Time `step` or `infer` in several engines; print and return a row. `single` is for a layer without a network."""
    workers, failed = [], {}
    for name in names:
        worker = Worker(name, layers, shape, batch, single)
        if worker.error:
            worker.close()
            if name == "minitl":
                raise RuntimeError(f"{title}: minitl: {worker.error}")
            failed[name] = worker.error
        else:
            workers.append(worker)
    try:
        for worker in workers[1:]:
            _agree(workers[0].ask("check"), worker.ask("check"), worker.name)
        calls = {}
        for worker in list(workers):
            seconds = worker.ask(what, 3)
            if not isinstance(seconds, float):
                failed[worker.name] = seconds
                workers.remove(worker)
                worker.close()
                continue
            seconds = worker.ask(what, 3)
            calls[worker.name] = max(1, int(0.15 / seconds))
        times: dict[str, list[float]] = {worker.name: [] for worker in workers}
        for _ in range(rounds):
            for worker in workers:
                times[worker.name].append(worker.ask(what, calls[worker.name]) / batch * 1e6)
    finally:
        for worker in workers:
            worker.close()
    row = {"title": title, "batch": batch, "what": what, "microseconds": times, "failed": failed}
    _print(row)
    return row


def ratio(row: dict[str, Any], *peers: str) -> float:
    """Our median over the best of the peers' medians."""
    medians = {name: float(np.median(values)) for name, values in row["microseconds"].items()}
    there = [medians[name] for name in peers if name in medians]
    return medians["minitl"] / min(there) if there else float("nan")


def print_ratios(rows: list[dict[str, Any]], peers: dict[str, tuple[str, ...]]) -> None:
    """The table: ours over the best of each group of peers; below 1 we are ahead."""
    # A group of which nobody was asked for has no column.
    peers = {group: names for group, names in peers.items() if any(math.isfinite(ratio(row, *names)) for row in rows)}
    print(f"\n{'ours / theirs':<48}" + "".join(f"{group:>24}" for group in peers))
    for row in rows:
        title = f"{row['title']}, batch {row['batch']}"
        print(f"{title:<48}" + "".join(f"{ratio(row, *names):>24.2f}" for names in peers.values()))


def save(name: str, rows: list[dict[str, Any]]) -> None:
    """Write results and circumstances to results/name.json."""
    RESULTS.mkdir(exist_ok=True)
    record = {"machine": machine(), "rows": rows}
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1))
    print(f"\n{json.dumps(record['machine'])}\nwritten to benchmarks/results/{name}.json")


def machine() -> dict[str, Any]:
    """Processor, versions, threads, commit."""
    from importlib.metadata import PackageNotFoundError, version

    versions = {}
    for package in ("numpy", "numba", "torch", "keras", "tensorflow"):
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = None
    cpu = platform.processor()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines if ":" in line)
        fields = {key.strip(): value.strip() for key, value in fields.items()}
        cpu = " ".join(fields.get(key, "") for key in ("model name", "cpu family", "model"))
    commit = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, cwd=ROOT)
    return {"cpu": cpu, "python": platform.python_version(), "threads": THREADS, "commit": commit.stdout.strip(), **versions}


def _agree(ours: Any, theirs: Any, name: str) -> None:
    """The same loss and the same gradients, or nothing is timed."""
    if isinstance(ours, str) or isinstance(theirs, str):
        raise RuntimeError(f"{name}: {ours if isinstance(ours, str) else theirs}")
    assert np.isclose(ours[0], theirs[0], rtol=1e-4), (name, ours[0], theirs[0])
    for i, (a, b) in enumerate(zip(ours[1], theirs[1], strict=True)):
        # As a whole, and not to the last digit: in float32, one of millions of ReLUs that rounding moves to its other
        # side changes the gradients below it by about 1e-3 of their length. Without such a move it is about 1e-6.
        difference = float(np.linalg.norm(a - b) / np.linalg.norm(b))
        assert difference < 2e-2, f"{name}: gradient {i} {a.shape} differs by {difference:.1e}"


def _print(row: dict[str, Any]) -> None:
    ours = np.median(row["microseconds"]["minitl"])
    print(f"\n{row['title']}, batch {row['batch']}, {row['what']}: microseconds per image")
    for name, values in row["microseconds"].items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        against = "" if name == "minitl" else f"   ours / theirs {ours / middle:.2f}"
        print(f"  {name:<20} {middle:9.1f}   ({low:.1f} .. {high:.1f}){against}", flush=True)
    for name, reason in row["failed"].items():
        print(f"  {name:<20} not measured: {str(reason).splitlines()[0][:100]}")


def prepare() -> None:
    """Environment for this process and its workers."""
    for variable in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        os.environ.pop(variable, None)
    os.environ["NUMBA_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(THREADS)
    sys.path.insert(0, str(Path(__file__).parent))


def check_out(revision: str, folder: str) -> Path:
    """The tree of an earlier commit, in a folder."""
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return Path(folder)
