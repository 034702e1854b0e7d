"""Exercise: linear probing, then fine-tuning (LP-FT).

A new head on a pretrained base begins with random weights, and its first gradients would wash the base out. So the head is
trained alone first, with the base frozen, and then everything with a smaller rate. Chapter: 9 (transfer).

A. Kumar et al., arXiv 2202.10054.
"""

from minitl.optimizers import Adam


def lp_ft(base, head, fit, rate=1e-3):
    """Train in two phases. `base` and `head` are lists of layers; fit(optimizer) trains what is not frozen."""
    # your turn
    for layer in base:
        layer.trainable = False
    fit(Adam(10 * rate))
    for layer in base:
        layer.trainable = True
    fit(Adam(rate))
    # end


def probe(module):
    """What was frozen, and at which rate, in each phase."""
    from minitl.layers import Dense

    base, head, phases = [Dense(2), Dense(2)], [Dense(1)], []

    def fit(optimizer):
        phases.append([*(float(layer.trainable) for layer in base + head), float(optimizer.learning_rate)])

    module.lp_ft(base, head, fit)
    return phases


MISTAKES = {
    "never unfrozen": (
        "for layer in base:\n        layer.trainable = False\n    fit(Adam(10 * rate))\n    fit(Adam(rate))",
        "Unfreeze the base before the second phase, or only the head is trained twice.",
    ),
    "one rate": (
        """for layer in base:
        layer.trainable = False
    fit(Adam(rate))
    for layer in base:
        layer.trainable = True
    fit(Adam(rate))""",
        "The head, which knows nothing, takes larger steps (10 rate) than the base that knows a lot (rate).",
    ),
    "everything at once": ("fit(Adam(rate))", "That is plain fine-tuning: the random head's gradients reach the base at once."),
}
