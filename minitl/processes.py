"""How many processes train together, as an MPI launcher tells them by environment variables; see `minitl.distributed`."""

from __future__ import annotations

import os

SIZES = ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE", "MV2_COMM_WORLD_SIZE")
RANKS = ("PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")


def size() -> int:
    """How many there are; 1 without a launcher."""
    return next((int(os.environ[name]) for name in SIZES if name in os.environ), 1)


def neighbours() -> int:
    """How many of them are on this machine."""
    here = ("MPI_LOCALNRANKS", "OMPI_COMM_WORLD_LOCAL_SIZE", "MV2_COMM_WORLD_LOCAL_SIZE")
    return next((int(os.environ[name]) for name in here if name in os.environ), size())


def rank() -> int:
    """Which of them this is, from 0. All but rank 0 print and write nothing."""
    return next((int(os.environ[name]) for name in RANKS if name in os.environ), 0)
