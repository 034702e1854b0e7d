"""What older programs say of losses."""

from __future__ import annotations


class Reduction:
    """Names of what is done with the losses of the rows: see `minitl.losses.reduction`."""

    AUTO, NONE, SUM, SUM_OVER_BATCH_SIZE = "auto", "none", "sum", "sum_over_batch_size"
