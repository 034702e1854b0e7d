"""Fashion-MNIST: 70,000 images of clothes, 28x28 grey pixels, ten classes.

Source: H. Xiao, K. Rasul and R. Vollgraf, arXiv 1708.07747; the four official files.
"""

from __future__ import annotations

from minitl.datasets import idx

CLASSES = ("T-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
FOLDER = "fashion-mnist"
URL = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
CHECKSUMS = (
    "md5:8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "md5:25c81989df183df01b3e8a0aad5dffbe",
    "md5:bef4ecab320f06d8554ea6380940ec79",
    "md5:bb300cfdad3c16e7a12a480ee83cd310",
)


def load_data() -> tuple[idx.Arrays, idx.Arrays]:
    """((x, y), (x_test, y_test)), as in Keras.

    Shapes: x (60000, 28, 28) and x_test (10000, 28, 28), y and y_test (N,), uint8; a convolution wants x[..., None].
    Errors: OSError that says which file to put where; ValueError for a damaged file.
    """
    return idx.load(FOLDER, URL, CHECKSUMS)
