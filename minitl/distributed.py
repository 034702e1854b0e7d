"""One training on several processes or machines, over MPI: `mpirun -n 4 python examples/cifar10.py`, with the ordinary `fit`.

Every process runs the same program. `fit` cuts each batch into as many parts as there are processes (`minitl.accumulation`); each
computes one, and gets the gradients of all, which travel while the backward pass goes on, and are added in the order of the
ranks. So all have the same weights, bit for bit those of `fit(accumulate=k)` in one process. Random numbers begin with rank 0's
seed. Only rank 0 prints and writes files; what it saves loads on any number of processes. Each gets its share of the
processor's cores as threads.

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

BLOCK = 1 << 20  # bytes of gradients that travel together


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


class Exchange:
    """The gradients of one step: sent while the backward pass goes on, received as the parts of all processes.

    Gradients are collected into blocks of some size, and each block's transfer begins when it is full, the last layers' first;
    meanwhile the backward pass computes the others. Processes send the same blocks in the same order, since they have the same
    graph. A batch with fewer samples than processes leaves some without a part: then all is sent at once, at the end.
    """

    def __init__(self) -> None:
        self.comm = world()
        self.waiting: list[tuple[str, np.ndarray]] = []
        self.sent: list[tuple[Any, bytes, np.ndarray, list[tuple[str, np.ndarray]]]] = []

    def together(self, finite: bool | None) -> bool:
        """Whether every process has a part; None says that this one has none.

        Errors: ValueError in all processes, when the loss of one is not finite.
        """
        states = self.comm.allgather(finite)
        if False in states:
            raise ValueError(f"the loss is not finite in process {states.index(False)}; run in one process to see where")
        return None not in states

    def take(self, path: str, gradient: np.ndarray) -> None:
        """Send a gradient, when enough have come together."""
        self.waiting.append((path, gradient))
        if sum(g.nbytes for _, g in self.waiting) >= BLOCK:
            self._send()
        for request, *_ in self.sent:
            request.Test()  # lets MPI move what is under way

    def parts(self, own: list[Part]) -> list[Part]:
        """The parts of all processes, in the order of the ranks."""
        if not self.sent and not self.waiting:
            return self._at_once(own)
        self._send()
        found: list[list[np.ndarray]] = [[] for _ in range(self.comm.size)]
        for request, _, block, gradients in self.sent:
            request.Wait()
            for row, received in zip(block, found, strict=True):
                at = 0
                for _, gradient in gradients:
                    received.append(row[at : at + gradient.nbytes].view(gradient.dtype).reshape(gradient.shape))
                    at += gradient.nbytes
        paths = [path for _, _, _, gradients in self.sent for path, _ in gradients]
        described = self.comm.allgather(own[0])
        return [one._replace(paths=paths, gradients=received) for one, received in zip(described, found, strict=True)]

    def _send(self) -> None:
        if self.waiting:
            mine = b"".join(np.ascontiguousarray(gradient).tobytes() for _, gradient in self.waiting)
            block = np.empty((self.comm.size, len(mine)), np.uint8)
            self.sent.append((self.comm.Iallgather(np.frombuffer(mine, np.uint8), block), mine, block, self.waiting))
            self.waiting = []

    def _at_once(self, own: list[Part]) -> list[Part]:
        return [one for one in self.comm.allgather(own[0] if own else None) if one is not None]
