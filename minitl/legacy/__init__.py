"""How older programs spell things: names, arguments and modules of Keras 1, Keras 2 and tf.keras, each in one table.

modules    where they import from: `minitl.layers.convolutional`, `minitl.utils.np_utils`
arguments  what they call arguments: nb_filter, border_mode, nb_epoch, output_dim
layers     layers and functions that are called otherwise today: Convolution2D(32, 3, 3), merge
backend    the functions of `keras.backend` that programs use
keras_ops, operations, keras_random    where Keras 3 has them

Each old spelling warns once, with the modern one. Nothing here is imported before it is asked for, but for two short tables.
"""

from __future__ import annotations

import functools
import warnings


@functools.cache
def warn_once(old: str, new: str) -> None:
    """Say what an old spelling is today; once per program."""
    warnings.warn(f"{old} is an old spelling of {new}; it works, and is not needed any more", FutureWarning, stacklevel=4)
