"""MNIST: 70,000 handwritten digits of 28x28 grey pixels.

Source: Y. LeCun, C. Cortes and C. Burges, The MNIST database of handwritten digits, 1998; the four official files.
"""

from __future__ import annotations

from minitl.datasets import idx

FOLDER = "mnist"
URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
CHECKSUMS = (
    "md5:f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "md5:d53e105ee54ea40749a09fcbcd1e9432",
    "md5:9fb629c4189551a2d022fa330f9573f3",
    "md5:ec29112dd5afa0611ce80d1b7f02629c",
)


def load_data() -> tuple[idx.Arrays, idx.Arrays]:
    """((x, y), (x_test, y_test)), as in Keras.

    Shapes: x (60000, 28, 28) and x_test (10000, 28, 28), y and y_test (N,), uint8; a convolution wants x[..., None].
    Errors: OSError that says which file to put where; ValueError for a damaged file.
    """
    return idx.load(FOLDER, URL, CHECKSUMS)
