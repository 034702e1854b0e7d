"""Embedding: every word number has a row of the table.

    y[n, t] = table[x[n, t]]              dtable[k] = sum of dy[n, t] where x[n, t] = k

It is a dense layer on one-hot rows, without the multiplications by zero. Whole numbers have no gradient.
Shapes: x (...) whole numbers, table (words, units), y (..., units). The cache is x and the table's shape.
Errors: ValueError for a number outside the table.
Source: Y. Bengio et al., A neural probabilistic language model, JMLR 2003.
"""

import numpy as np

from minitl.ops.window import check_shape


def forward(table: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, tuple]:
    """y = the rows of the table."""
    outside = x[(x < 0) | (x >= len(table))]
    if outside.size:
        raise ValueError(f"embedding: number {outside.flat[0]} is outside the table's {len(table)} rows; enlarge input_dim")
    return table[x], (x, table.shape)


def backward(dy: np.ndarray, cache: tuple) -> np.ndarray:
    """dtable: each row gets the sum of its gradients, in the order of the samples."""
    x, shape = cache
    check_shape("embedding", "dy", dy.shape, (*x.shape, shape[1]))
    dtable = np.zeros(shape, dy.dtype)
    np.add.at(dtable, x.reshape(-1), dy.reshape(-1, shape[1]))
    return dtable
