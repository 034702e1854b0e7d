"""Fine-tuning: after the head, the upper layers learn too, gently (LP-FT).

Source: A. Kumar et al., Fine-tuning can distort pretrained features, ICLR 2022.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minitl.callbacks import BackupAndRestore
from minitl.layers import BatchNormalization
from minitl.models import Model, clone_model
from minitl.optimizers import Adam
from minitl.photographs.images import Photographs
from minitl.schedules import LinearDecay
from minitl.transfer import batch_norm, freeze

BATCH, EPOCHS, RATE = 16, 4, 3e-5
LAYERS = 60  # from the top, that may change


def fine_tuned(
    model: Model,
    paths: list[str],
    labels: np.ndarray,
    say: Callable[[str], Any] = print,
    backup: Path | None = None,
    resume: bool = False,
) -> Model | None:
    """A copy of a model whose head has learnt, with its upper layers fine-tuned; normalisations keep their statistics.

    The photographs and their mirror images are shown, decoded as they are needed. `backup` is a folder from which an
    interrupted run goes on with `resume`, bit for bit.
    Returns: the copy; None if it was interrupted.
    """
    other = clone_model(model)
    other.set_weights(model.get_weights())
    other._take_record(model)
    other.class_names = model.class_names
    if any(isinstance(layer, BatchNormalization) for _, layer in other.named_layers()):
        batch_norm(other, "frozen")
    freeze(other, [path for path, _ in other.named_layers()][:-LAYERS])
    shown = Photographs(paths, labels, model.input_shape[1], other.preprocessing, BATCH, seed=0)
    say("fine-tuning the upper layers ...")
    if backup is not None and not resume:
        shutil.rmtree(backup, ignore_errors=True)
    other.compile(Adam(LinearDecay(RATE, EPOCHS * len(shown))), "sparse_categorical_crossentropy")
    try:
        other.fit(shown, epochs=EPOCHS, verbose=0, callbacks=[] if backup is None else [BackupAndRestore(backup)])
    except KeyboardInterrupt:
        say("stopped: the model without fine-tuning is kept" + ("; --resume goes on from here" if backup is not None else ""))
        return None
    if backup is not None:
        shutil.rmtree(backup, ignore_errors=True)
    return other
