"""Where the time of a small batch goes: into the kernels, or into Python between them.

    python benchmarks/overhead.py [--network classic] [--rounds 300]

Every launch of `minitl.kernels.launch` is timed; what is left of a step or a prediction is Python, with the few kernels that are
launched otherwise (the loss, the optimizer). Medians of single calls, two threads.
"""

from __future__ import annotations

import argparse
import time
from unittest import mock

import harness

CASES = (("infer", 1), ("infer", 32), ("step", 32), ("step", 128))

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--network", default="classic")
    parser.add_argument("--rounds", type=int, default=300)
    arguments = parser.parse_args()
    harness.prepare()

    import numpy as np
    import workloads
    from engines import Minitl

    from minitl.kernels import launch

    spent: list[float] = []
    run = launch._launch

    def timed(*task: object) -> None:
        """The launch, and how long it took."""
        started = time.perf_counter()
        run(*task)
        spent.append(time.perf_counter() - started)

    layers, shape = workloads.NETWORKS[arguments.network]
    rows = []
    print(f"{arguments.network}, microseconds a call")
    for what, batch in CASES:
        engine = Minitl(layers, shape, workloads.weights(layers, shape), *workloads.data(shape, batch))
        call = getattr(engine, what)
        whole, kernels = [], []
        with mock.patch.object(launch, "_launch", timed):
            for _ in range(arguments.rounds):
                spent.clear()
                started = time.perf_counter()
                call()
                whole.append(time.perf_counter() - started)
                kernels.append(sum(spent))
        total, inside = (1e6 * float(np.median(times)) for times in (whole, kernels))
        rows.append({"what": what, "batch": batch, "total": total, "kernels": inside, "launches": len(spent)})
        rest = total - inside
        print(f"  {what}, batch {batch:<4}{total:9.0f}: {inside:7.0f} in {len(spent)} launches, {rest:5.0f} Python and the rest")
    harness.save("overhead", rows)
