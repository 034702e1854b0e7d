"""What goes on when training goes on, in files: the optimizer's memory, and the state of the run; in a model's file or a backup.

A backup has no architecture, so that every model can have one: the program that goes on has built it already.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from minitl import weights as weight_files
from minitl.resume import EndedRun, checked_state, flatten, restore_layers, unflatten


def add_training(model: Any, arrays: dict[str, np.ndarray], config: dict[str, Any]) -> None:
    """Add a compiled model's optimizer memory, and where its training stands, to what goes into a file."""
    weights = dict(arrays)
    for path, memory in model.optimizer.memory.items():
        w = weights.get(path)
        if w is not None and all(model.optimizer.slot_fits(name, slot, w) for name, slot in memory.items()):
            arrays.update({f"{weight_files.OPTIMIZER}{path}/{name}": slot for name, slot in memory.items()})
    if model.training_run is not None:
        found: dict[str, np.ndarray] = {}
        config["training"] = flatten(model.training_run.get_state(), found, "run")
        arrays.update({f"{weight_files.TRAINING}{key}": array for key, array in found.items()})


def take_training(model: Any, arrays: dict[str, np.ndarray], config: dict[str, Any]) -> None:
    """Make a model's training stand where a file says.

    Errors: TypeError, ValueError or KeyError for a description that is damaged.
    """
    if config.get("training") is None:
        return
    prefix = weight_files.TRAINING
    kept = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
    state = checked_state(unflatten(config["training"], kept))
    restore_layers(model, state)
    model.training_run = EndedRun(state)


def take_memory(model: Any, arrays: dict[str, np.ndarray], where: str) -> None:
    """Give a model's optimizer the memory that a file holds.

    Errors: ValueError for memory that is not of a weight's shape, or not finite.
    """
    own, optimizer = weight_files.named_weights(model), model.optimizer
    for key, array in arrays.items():
        if key.startswith(weight_files.OPTIMIZER):
            path, _, slot = key.removeprefix(weight_files.OPTIMIZER).rpartition("/")
            if path not in own:
                continue  # of a parameter that is there no more
            if not optimizer.slot_fits(slot, array, own[path]):
                raise ValueError(
                    f"{where}: the optimizer's memory {slot!r} of {path} has shape {array.shape} for a weight of "
                    f"{own[path].shape}, or numbers that are not finite; load_model(..., compile=False) leaves it out"
                )
            optimizer.memory.setdefault(path, {})[slot] = array


def save_backup(model: Any, filepath: str | os.PathLike) -> None:
    """Write weights, optimizer and state of training to a file; all or nothing.

    Errors: OSError from the file system.
    """
    arrays, optimizer = weight_files.named_weights(model), model.optimizer
    rate = None if callable(optimizer.learning_rate) else float(optimizer.learning_rate)
    config: dict[str, Any] = {
        "backup": {"optimizer": type(optimizer).__name__, "iterations": optimizer.iterations, "learning_rate": rate},
        "checkpoint": model.checkpoint,
    }
    add_training(model, arrays, config)
    weight_files.write(filepath, arrays, config)


def restore_backup(model: Any, filepath: str | os.PathLike) -> None:
    """Bring a compiled model to where a backup stands.

    Errors: ValueError for a file that is no backup, or one of another network or optimizer; the model is unchanged then.
    """
    arrays, config = weight_files.read(filepath)
    saved, optimizer = (config or {}).get("backup"), model.optimizer
    if not isinstance(saved, dict) or not isinstance(saved.get("iterations"), int):
        raise ValueError(f"{filepath} is no backup of a training run; remove it to begin anew")
    if saved.get("optimizer") != type(optimizer).__name__:
        raise ValueError(
            f"{filepath}: the backup was trained with {saved.get('optimizer')}, the model is compiled with "
            f"{type(optimizer).__name__}; remove it to begin anew"
        )
    extra = (weight_files.OPTIMIZER, weight_files.TRAINING)
    own = {key: array for key, array in arrays.items() if not key.startswith(extra)}
    weight_files.load_into(model, own, str(filepath), missing_ok=False, shapes_ok=False)
    optimizer.forget()
    optimizer.iterations = saved["iterations"]
    if saved.get("learning_rate") is not None and not callable(optimizer.learning_rate):
        optimizer.learning_rate = float(saved["learning_rate"])
    take_memory(model, arrays, str(filepath))
    model.checkpoint = (config or {}).get("checkpoint")
    take_training(model, arrays, config or {})
