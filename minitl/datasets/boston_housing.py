"""Boston housing: 506 districts of the 1970s with 13 attributes each, and the median price of their houses.

One attribute (column 11) was made under the assumption that people pay to live apart by race; use the data only where that is
the point, and `california_housing` otherwise.

Source: D. Harrison and D. Rubinfeld, Hedonic housing prices and the demand for clean air, 1978; the file is Keras's.
"""

from __future__ import annotations

from minitl.datasets import houses

SHA256 = "sha256:f553886a1f8d56431e820c5b82552d9d95cfcb96d1e678153f8839538947dff5"


def load_data(path: str = "boston_housing.npz", test_split: float = 0.2, seed: int = 113) -> tuple[houses.Arrays, houses.Arrays]:
    """((x, y), (x_test, y_test)), as in Keras.

    Shapes: x (404, 13), x_test (102, 13), y and y_test (N,), thousands of dollars, float64.
    Errors: OSError that says which file to put where; ValueError for a damaged file.
    """
    return houses.load(path, SHA256, test_split, seed)
