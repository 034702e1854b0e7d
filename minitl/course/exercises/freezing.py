"""Exercise: which gradients a frozen network still has to compute.

`learns` says of each layer, from the input on, whether it is trained. A layer must be asked for its parameters' gradients if it
learns, and for dx if something below it learns. Chapter: 9 (transfer).
"""

import numpy as np


def needs(learns):
    """Per layer the pair (needs dx, needs parameters' gradients)."""
    # your turn
    return [(any(learns[:k]), learns[k]) for k in range(len(learns))]
    # end


def probe(module):
    """Some networks."""
    networks = ([True, True], [False, False, True], [True, False, True, False], [False, True, False])
    return [np.array(module.needs(list(network)), int) for network in networks]


MISTAKES = {
    "everything": (
        "return [(True, True) for _ in learns]",
        "A frozen layer's parameters need no gradient, and where nothing below learns, dx is for nobody.",
    ),
    "dx where it learns": (
        "return [(one, one) for one in learns]",
        "dx is needed by what lies below: a frozen layer in the middle must pass it on, the lowest that learns need not make it.",
    ),
    "itself counted": (
        "return [(any(learns[: k + 1]), learns[k]) for k in range(len(learns))]",
        "Below means strictly below: the lowest layer that learns has nobody to pass dx to.",
    ),
}
