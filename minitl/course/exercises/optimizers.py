"""Exercise: momentum, and Adam.

    momentum:  v = m v - rate g;  w = w + v
    Adam:      m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
               w = w - rate m_hat / (sqrt(v_hat) + eps),  m_hat = m / (1 - b1^t),  v_hat = v / (1 - b2^t),  t = 1, 2, ...

The two divisions undo the start from zero. Chapter: 8 (training).
"""

import numpy as np


def momentum(w, g, v, rate=0.1, m=0.9):
    """New w and v."""
    v = m * v - rate * g
    return w + v, v


def adam(w, g, m, v, t, rate=0.1, b1=0.9, b2=0.999, eps=1e-7):
    """New w, m and v after step number t, from 1."""
    # your turn
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    return w - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b2**t)) + eps), m, v
    # end


def probe(module):
    """Five steps down a parabola."""
    w, m, v = np.array([1.0, -3.0]), np.zeros(2), np.zeros(2)
    found = []
    for t in range(1, 6):
        w, m, v = module.adam(w, w * [1.0, 10.0], m, v, t)
        found.append(w)
    return found


MISTAKES = {
    "no correction": (
        """m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    return w - rate * m / (np.sqrt(v) + eps), m, v""",
        "m and v begin at zero and are too small at first; divide by 1 - b1^t and 1 - b2^t.",
    ),
    "the square root forgotten": (
        """m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * g * g
    return w - rate * (m / (1 - b1**t)) / (v / (1 - b2**t) + eps), m, v""",
        "v is a mean of squares: its root has the size of a gradient.",
    ),
    "b1 for b2": (
        """m = b1 * m + (1 - b1) * g
    v = b1 * v + (1 - b1) * g * g
    return w - rate * (m / (1 - b1**t)) / (np.sqrt(v / (1 - b1**t)) + eps), m, v""",
        "The mean of squares has its own, longer memory: b2.",
    ),
}
