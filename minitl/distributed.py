"""One training on several processes or machines, over MPI: `mpirun -n 4 python examples/cifar10.py`, with the ordinary `fit`.

Every process runs the same program. `fit` cuts each batch into as many parts as there are processes (`minitl.accumulation`); each
computes one, and gets the gradients of all, which it adds in the order of the ranks. So all have the same weights, bit for bit
those of `fit(accumulate=k)` in one process. Random numbers begin with rank 0's seed. Only rank 0 prints and writes files; what
it saves loads on any number of processes. Each gets its share of the processor's cores as threads.

Needs mpi4py and an MPI: `pip install minitl[mpi]`. Without `mpirun` nothing of this is used.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

import numpy as np

from minitl import random
from minitl.accumulation import Part
from minitl.processes import rank, size


@functools.cache
def world() -> Any:
    """The processes' communicator.

    Errors: ImportError with the install line, when mpi4py or its MPI is not there.
    """
    try:
        from mpi4py import MPI
    except (ImportError, RuntimeError) as error:
        raise ImportError(f"training on {size()} processes needs mpi4py and an MPI: pip install minitl[mpi] ({error})") from error
    return MPI.COMM_WORLD


def begin() -> None:
    """At the import of minitl: one seed for all, and silence in all processes but the first."""
    if size() == 1:
        return
    entropy: Any = np.random.SeedSequence().entropy
    random.set_start(world().bcast(entropy if rank() == 0 else None))
    if rank():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (until the process ends)


def gather(parts: list[Part]) -> list[Part]:
    """The parts of all processes, in the order of the ranks; gradients go as one block of numbers."""
    comm = world()
    own = parts[0] if parts else None
    shapes: Any = [] if own is None else [(g.shape, g.dtype.str) for g in own.gradients]
    light = None if own is None else own._replace(gradients=shapes)
    described = comm.allgather(light)
    counts = [0 if one is None else sum(int(np.prod(s)) * np.dtype(k).itemsize for s, k in one.gradients) for one in described]
    mine = b"" if own is None else b"".join(np.ascontiguousarray(g).tobytes() for g in own.gradients)
    blocks = np.empty(sum(counts), np.uint8)
    comm.Allgatherv(np.frombuffer(mine, np.uint8), (blocks, counts))
    found, at = [], 0
    for one in described:
        if one is None:
            continue
        gradients = []
        for shape, kind in one.gradients:
            end = at + int(np.prod(shape)) * np.dtype(kind).itemsize
            gradients.append(blocks[at:end].view(kind).reshape(shape))
            at = end
        found.append(one._replace(gradients=gradients))
    return found
