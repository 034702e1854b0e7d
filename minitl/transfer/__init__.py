"""Transfer: keep what a network has learnt, and teach it something else.

The base is what is kept, the head the layers on top that belong to the old task. Freezing a layer is its own flag,
`layer.trainable = False`, and takes effect on the next batch.
"""

from minitl.components import pca
from minitl.transfer.features import extract_features
from minitl.transfer.freezing import freeze, frozen, unfreeze
from minitl.transfer.measures import gradient_norms, layer_similarity, linear_cka, weight_distance
from minitl.transfer.strategies import STRATEGIES, batch_norm, draw_again, fine_tune
from minitl.transfer.surgery import feature_extractor, replace_head, truncate

__all__ = [
    "STRATEGIES",
    "batch_norm",
    "draw_again",
    "extract_features",
    "feature_extractor",
    "fine_tune",
    "freeze",
    "frozen",
    "gradient_norms",
    "layer_similarity",
    "linear_cka",
    "pca",
    "replace_head",
    "truncate",
    "unfreeze",
    "weight_distance",
]
