"""Many experiments at once: joblib's processes on one machine, or a Dask cluster.

    results = each(run, [(seed,) for seed in range(5)], workers=2, keep="results")

Every task is one call of a function that can be pickled; its result must not depend on who computes it, or with how many
threads, which minitl's does not. With `keep`, every result is written as it comes, and a run that was killed goes on where it
was. A worker that dies costs the repetition of its tasks, not the run.
"""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from minitl.weights import atomic_file

REPETITIONS = 3  # how often dying workers are replaced


def each(
    function: Callable[..., Any],
    tasks: Sequence[tuple[Any, ...]],
    workers: int = 1,
    keep: str | Path | None = None,
    dask: str | None = None,
) -> list[Any]:
    """function(*task) for every task, in their order.

    `workers` counts processes, each with one thread; 1 runs everything here, with all threads. `dask` is the address of a
    cluster's scheduler. `keep` is a folder for results; a file there counts for the same function, module and arguments.
    Errors: ImportError with the install line, when joblib or Dask is not there; what a task raises.
    """
    results: dict[int, Any] = {}
    files = [None if keep is None else Path(keep) / f"{_key(function, task)}.pkl" for task in tasks]
    if keep is not None:
        Path(keep).mkdir(parents=True, exist_ok=True)
    for number, file in enumerate(files):
        if file is not None and file.exists():
            results[number] = _joblib().load(file)
    bar = _bar(len(tasks), len(results))

    def take(number: int, result: Any) -> None:
        results[number] = result
        file = files[number]
        if file is not None:
            with atomic_file(file) as out:
                _joblib().dump(result, out)
        bar.update()

    open_tasks = [number for number in range(len(tasks)) if number not in results]
    if workers == 1 and dask is None:
        for number in open_tasks:
            take(number, function(*tasks[number]))
    elif open_tasks:
        _in_processes(function, tasks, open_tasks, workers, dask, results, take)
    bar.close()
    return [results[number] for number in range(len(tasks))]


def _in_processes(
    function: Any, tasks: Any, numbers: list[int], workers: int, dask: str | None, results: dict[int, Any], take: Any
) -> None:
    joblib = _joblib()
    if dask is not None:
        try:
            from distributed import Client
        except ImportError as error:
            raise ImportError(f"a Dask cluster needs Dask: pip install minitl[parallel] ({error})") from error
        _carry_along()
        with Client(dask) as client:
            futures = {client.submit(_numbered, function, number, tasks[number], pure=False): number for number in numbers}
            from distributed import as_completed

            for future in as_completed(futures):
                take(*future.result())
        return
    from joblib.externals.loky.process_executor import TerminatedWorkerError

    for attempt in range(REPETITIONS + 1):
        try:
            with joblib.parallel_config("loky", inner_max_num_threads=1):
                rest = [number for number in numbers if number not in results]
                calls = (joblib.delayed(_numbered)(function, number, tasks[number]) for number in rest)
                for number, result in joblib.Parallel(n_jobs=workers, return_as="generator_unordered")(calls):
                    take(number, result)
            return
        except TerminatedWorkerError:
            if attempt == REPETITIONS:
                raise


def _carry_along() -> None:
    """Send the modules that lie beside the program with the tasks: a cluster's processes cannot import them."""
    import cloudpickle

    main = getattr(sys.modules["__main__"], "__file__", None)
    folder = Path(main or ".").resolve().parent
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file is not None and module.__name__ != "__main__" and Path(file).resolve().parent == folder:
            cloudpickle.register_pickle_by_value(module)


def _numbered(function: Any, number: int, task: tuple[Any, ...]) -> tuple[int, Any]:
    return number, function(*task)


def _key(function: Any, task: tuple[Any, ...]) -> str:
    """What a result belongs to: the function by name, and its arguments as they print."""
    return hashlib.sha256(f"{function.__module__}.{function.__qualname__}{task!r}".encode()).hexdigest()[:24]


def _joblib() -> Any:
    try:
        import joblib
    except ImportError as error:
        raise ImportError(f"several workers and kept results need joblib: pip install minitl[parallel] ({error})") from error
    return joblib


def _bar(total: int, done: int) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, initial=done, disable=None if os.isatty(2) else True, unit="task", leave=False)
