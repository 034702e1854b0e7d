"""California housing: 20,640 groups of blocks of the 1990 census with 8 attributes each, and the median value of their houses.

Source: R. Pace and R. Barry, Sparse spatial autoregressions, 1997; the file is Keras's.
"""

from __future__ import annotations

from minitl.datasets import houses
from minitl.errors import unknown

SHA256 = "sha256:1a2e3a52e0398de6463aebe6f4a8da34fb21fbb6b934cf88c3425e766f2a1a6f"
ROWS = {"small": 600, "large": None}


def load_data(
    version: str = "large", path: str = "california_housing.npz", test_split: float = 0.2, seed: int = 113
) -> tuple[houses.Arrays, houses.Arrays]:
    """((x, y), (x_test, y_test)), as in Keras; "small" has the first 600 rows.

    Shapes: x (16512, 8), x_test (4128, 8), y and y_test (N,), dollars, float32.
    Errors: OSError that says which file to put where; ValueError for another version or a damaged file.
    """
    if version not in ROWS:
        raise unknown("version", version, ROWS)
    return houses.load(path, SHA256, test_split, seed, ROWS[version])
