"""A training run that is interrupted and goes on is, bit for bit, the run that was not."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from rows import ROWS, TARGETS

import minitl
from minitl.batches import ArrayBatches
from minitl.callbacks import BackupAndRestore, Callback, EarlyStopping, ModelCheckpoint, ReduceLROnPlateau, TerminateOnNaN
from minitl.layers import (
    GRU,
    LSTM,
    RNN,
    BatchNormalization,
    Bidirectional,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    GRUCell,
    Input,
    RandomFlip,
    Reshape,
    TimeDistributed,
)
from minitl.models import Sequential, load_model
from minitl.optimizers import SGD
from minitl.preprocessing.image import ImageDataGenerator
from minitl.resume import checked_state
from minitl.schedules import CosineDecay

ROOT = Path(__file__).parent.parent
X = np.random.default_rng(0).random((60, 8, 8, 3)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 60)
EPOCHS = 5


class Interrupt(Callback):
    """Stops the program after some batches."""

    def __init__(self, batches):
        self.left = batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if not self.left:
            raise KeyboardInterrupt


def network(build=True):
    minitl.set_random_seed(3)
    model = Sequential([Input((8, 8, 3))] if build else [])
    for layer in (RandomFlip("horizontal"), Conv2D(4, 3, activation="relu"), Dropout(0.3), BatchNormalization(), Flatten()):
        model.add(layer)
    model.add(Dense(3, activation="softmax"))
    model.compile("adam", "sparse_categorical_crossentropy", ["accuracy"])
    return model


def stream():
    drawn = np.random.default_rng(5)
    while True:
        rows = drawn.integers(0, 60, 16)
        yield X[rows], Y[rows]


class Ordered:
    """A Sequence: batches by index."""

    def __len__(self):
        return 4

    def __getitem__(self, i):
        return X[i * 15 : i * 15 + 15], Y[i * 15 : i * 15 + 15]


DATA = {
    "arrays": lambda: {"x": X, "y": Y, "batch_size": 16},
    "passes of other lengths": lambda: {"x": X, "y": Y, "batch_size": 16, "steps_per_epoch": 3},
    "augmentation": lambda: {"x": ImageDataGenerator(rotation_range=20).flow(X, Y, batch_size=16)},
    "augmentation, other lengths": lambda: {"x": ImageDataGenerator().flow(X, Y, batch_size=16), "steps_per_epoch": 3},
    "a generator": lambda: {"x": stream(), "steps_per_epoch": 4},
    "a sequence": lambda: {"x": Ordered()},
    "a list": lambda: {"x": [(X[:20], Y[:20]), (X[20:], Y[20:])]},
}


def bits(model):
    optimizer = model.optimizer
    memory = [slot.tobytes() for _, slots in sorted(optimizer.memory.items()) for _, slot in sorted(slots.items())]
    return [w.tobytes() for w in model.weights], memory, optimizer.iterations, optimizer.learning_rate


def counters():
    return [
        ReduceLROnPlateau("loss", patience=1, factor=0.5, min_delta=0.05),
        EarlyStopping("val_loss", patience=4, restore_best_weights=True),
    ]


INSIDE = {
    "both ways": lambda: Bidirectional(LSTM(4, dropout=0.4)),
    "cells": lambda: RNN([GRUCell(4, dropout=0.4), GRUCell(3, recurrent_dropout=0.4)]),
    "every step": lambda: TimeDistributed(Dropout(0.4)),
    "stateful": lambda: GRU(4, stateful=True),
    "stateful cells": lambda: RNN(GRUCell(4), stateful=True),
}


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("batches", [7, 8])
def test_generators_and_states_inside_of_layers_go_on(name, batches, tmp_path):
    """In wrappers and cells, which have no path among the model's layers; the eighth batch ends an epoch."""

    def trained(*callbacks):
        minitl.set_random_seed(3)
        layers = (Reshape((8, 24)), INSIDE[name](), Flatten(), Dense(3, activation="softmax"))
        model = Sequential([Input((8, 8, 3)), *layers])
        model.compile("adam", "sparse_categorical_crossentropy")
        with contextlib.suppress(KeyboardInterrupt):
            model.fit(X, Y, 15, epochs=4, shuffle=False, verbose=0, callbacks=list(callbacks))
        return bits(model)

    trained(BackupAndRestore(tmp_path / "backup", save_freq=1), Interrupt(batches))
    assert trained(BackupAndRestore(tmp_path / "backup", save_freq=1)) == trained()


def train(model, data, callbacks, **kwargs):
    return model.fit(**data, epochs=EPOCHS, verbose=0, validation_data=(X, Y), callbacks=callbacks, **kwargs)


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("save_freq", ["epoch", 1, 3])
def test_interrupted_runs_go_on_from_their_backup(kind, save_freq, tmp_path):
    whole = network()
    history = train(whole, DATA[kind](), counters())
    assert whole.optimizer.learning_rate < 1e-3  # the plateau was seen: its counters matter
    for batches in (1, 2, 5, 9):
        with pytest.raises(KeyboardInterrupt):
            train(network(), DATA[kind](), [BackupAndRestore(tmp_path, save_freq), *counters(), Interrupt(batches)])
        model = network()
        resumed = train(model, DATA[kind](), [BackupAndRestore(tmp_path, save_freq), *counters(), Interrupt(0)])
        assert bits(model) == bits(whole)
        assert resumed.history == history.history and resumed.epoch == history.epoch
        assert not list(tmp_path.iterdir())  # a run that has ended leaves no backup


@pytest.mark.parametrize("kind", DATA)
def test_two_fits_give_the_bits_of_one(kind):
    whole = network()
    whole.fit(**DATA[kind](), epochs=4, verbose=0)
    parts = network()
    data = DATA[kind]()
    parts.fit(**data, epochs=1, verbose=0)
    parts.fit(**data, epochs=3, initial_epoch=1, verbose=0)
    if "other lengths" in kind:
        parts.fit(**data, epochs=4, initial_epoch=3, verbose=0)  # goes on in the middle of a pass
    else:
        parts.fit(**data, epochs=1, verbose=0)
    assert bits(parts) == bits(whole)
    parts.compile("adam", "sparse_categorical_crossentropy")
    assert parts.training_run is None


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("save_freq", ["epoch", 2])
def test_a_loaded_model_goes_on(kind, save_freq, tmp_path):
    path = str(tmp_path / "{epoch}-{batch}.npz")
    whole = network()
    train(whole, DATA[kind](), counters())
    saving = network()
    train(saving, DATA[kind](), [ModelCheckpoint(path, save_freq=save_freq), *counters()])
    assert bits(saving) == bits(whole)
    files = sorted(tmp_path.iterdir())
    assert len(files) > 2
    for file in files:
        done = load_model(file)
        if not (epoch := done.training_run.get_state()["epoch"]):
            continue  # initial_epoch=0 begins anew
        train(
            done,
            DATA[kind](),
            [ModelCheckpoint(str(tmp_path / "later.npz"), save_freq="epoch"), *counters()],
            initial_epoch=epoch,
        )
        assert bits(done) == bits(whole)


def test_saving_in_the_middle_changes_nothing_and_new_data_do_not_take_up_old_places(tmp_path):
    first = network()
    first.fit(X, Y, epochs=2, verbose=0)
    second = network()
    second.fit(X, Y, epochs=2, verbose=0, callbacks=[BackupAndRestore(tmp_path, 1), ModelCheckpoint(str(tmp_path / "m.npz"))])
    assert bits(first) == bits(second)
    first.fit(X[:50], Y[:50], epochs=4, initial_epoch=2, verbose=0)
    assert len(first.history.epoch) == 2


def test_a_network_without_a_shape_goes_on(tmp_path):
    whole = network(build=False)
    whole.fit(X, Y, epochs=3, verbose=0)
    with pytest.raises(KeyboardInterrupt):
        network(build=False).fit(X, Y, epochs=3, verbose=0, callbacks=[BackupAndRestore(tmp_path), Interrupt(5)])
    model = network(build=False)
    model.fit(X, Y, epochs=3, verbose=0, callbacks=[BackupAndRestore(tmp_path), Interrupt(0)])
    assert bits(model) == bits(whole)


def test_a_schedule_and_a_number_do_not_become_each_other(tmp_path):
    schedule = CosineDecay(0.1, 100)
    for k, (before, after) in enumerate(((schedule, 0.05), (0.05, schedule))):
        first, second = network(), network()
        for model, rate in ((first, before), (second, after)):
            model.compile(SGD(rate), "sparse_categorical_crossentropy")
        with pytest.raises(KeyboardInterrupt):
            first.fit(X, Y, epochs=3, verbose=0, callbacks=[BackupAndRestore(tmp_path / str(k), 1), Interrupt(5)])
        second.fit(X, Y, epochs=3, verbose=0, callbacks=[BackupAndRestore(tmp_path / str(k), 1)])
        assert second.optimizer.learning_rate == after and second.optimizer.iterations > 5


def test_a_backup_of_another_run_is_refused_and_the_model_stays(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        network().fit(X, Y, epochs=3, verbose=0, callbacks=[BackupAndRestore(tmp_path, 1), Interrupt(5)])

    def refused(model, message, data=(X, Y)):
        before = [w.copy() for w in model.weights]
        with pytest.raises(ValueError, match=message):
            model.fit(*data, epochs=3, verbose=0, callbacks=[BackupAndRestore(tmp_path, 1)])
        return before

    refused(network(), "other data", (X[:40], Y[:40]))
    other = network()
    other.compile("sgd", "sparse_categorical_crossentropy")
    for a, b in zip(refused(other, "trained with Adam"), other.weights, strict=True):
        np.testing.assert_array_equal(a, b)
    small = Sequential([Input((8, 8, 3)), Flatten(), Dense(3)])
    small.compile("adam", "mse")
    refused(small, "does not fit this model")
    (tmp_path / "backup.npz").write_bytes(b"PK damaged")
    refused(network(), "damaged")
    network().save(tmp_path / "backup.npz")
    refused(network(), "no backup of a training run")
    for wrong in (0, -1, 1.5, "batch"):
        for kind in (BackupAndRestore, ModelCheckpoint):
            with pytest.raises(ValueError, match="save_freq must be"):
                kind(str(tmp_path), save_freq=wrong)


PROGRAM = """
import hashlib, sys
sys.path.insert(0, "tests")
from test_resume import *
model = network()
callbacks = [*counters(), BackupAndRestore(sys.argv[1], 3)] if len(sys.argv) > 1 else counters()
history = model.fit(X, Y, batch_size=8, epochs=40, verbose=0, validation_data=(X, Y), callbacks=callbacks)
print(hashlib.sha256(repr((bits(model), history.history)).encode()).hexdigest())
"""


@pytest.mark.skipif(os.name == "nt", reason="kill -9 is POSIX's")
def test_kills_at_random_moments(tmp_path):
    # MINITL_KILLS=200 python -m pytest tests/test_resume.py -k kills
    kills = int(os.environ.get("MINITL_KILLS", "4"))
    moments = np.random.default_rng(int(os.environ.get("MINITL_SEED", "0"))).uniform(0.4, 2.0, kills)
    start = [sys.executable, "-c", PROGRAM]
    expected = subprocess.run(start, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for moment in moments:
        process = subprocess.Popen([*start, str(tmp_path)], stdout=subprocess.PIPE, text=True, cwd=ROOT)
        time.sleep(moment)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        done = subprocess.run([*start, str(tmp_path)], capture_output=True, text=True, cwd=ROOT, check=True).stdout
        assert done == expected


def state_of_a_run():
    model = Sequential([Input((4,)), Dropout(0.5), Dense(2)])
    model.compile(SGD(0.1, momentum=0.9), "mse")
    model.fit(ROWS, TARGETS, batch_size=4, verbose=0, callbacks=[TerminateOnNaN()])
    return model.training_run.get_state()


def test_a_state_of_training_that_fit_wrote_is_taken():
    state = state_of_a_run()
    assert checked_state(state) is state


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda state: 3, TypeError, "the state of training is not as fit writes it"),
        *((lambda state, name=name: {**state, name: "x"}, TypeError, "not as fit writes it") for name in
          ("epoch", "step", "source", "frozen", "layers", "callbacks", "history")),
        (lambda state: {**state, "source": {"taken": "x"}}, TypeError, "the state of the data is not as fit writes it"),
        (lambda state: {**state, "epoch": -1}, ValueError, "stands at epoch -1, batch"),
        (lambda state: {**state, "step": -1}, ValueError, "batch -1"),
        (lambda state: {**state, "step": 2, "means": None}, ValueError, "batch 2"),
        (lambda state: {**state, "callbacks": [["EarlyStopping"]]}, TypeError, "the callbacks' state is not as fit writes it"),
        (lambda state: {**state, "callbacks": [3]}, TypeError, "the callbacks' state is not as fit writes it"),
        (lambda state: {**state, "shuffling": {"bit_generator": "MT19937"}}, (ValueError, TypeError), ""),
        (lambda state: {**state, "layers": {"dropout/generator": {"state": 3}}}, (ValueError, TypeError, KeyError), ""),
    ],
)  # fmt: skip
def test_a_state_of_training_that_fit_did_not_write_is_refused(change, kind, message):
    with pytest.raises(kind, match=message or None):
        checked_state(change(state_of_a_run()))


def test_a_pass_over_arrays_goes_on_in_its_order():
    source = ArrayBatches(ROWS, TARGETS, batch_size=5, generator=np.random.default_rng(3))
    list(source)  # a pass before
    batches = iter(source)
    next(batches)
    state = source.get_state()
    other = ArrayBatches(ROWS, TARGETS, batch_size=5, generator=np.random.default_rng(9))
    other.set_state(state, True)
    rest, again = list(batches), list(other)
    assert len(rest) == len(again) == 2
    for (x, y, _), (x_again, y_again, _) in zip(rest, again, strict=True):
        np.testing.assert_array_equal(x, x_again)
        np.testing.assert_array_equal(y, y_again)
    for one, two in zip(source, other, strict=True):  # and so does the next one
        np.testing.assert_array_equal(one[0], two[0])


def test_compiling_begins_a_new_run():
    model = Sequential([Input((4,)), Dense(2)])
    model.compile(SGD(0.1), "mse")
    model.fit(ROWS, TARGETS, verbose=0)
    assert model.training_run is not None
    model.compile(SGD(0.1), "mse")
    assert model.training_run is None


def test_a_backup_from_before_the_first_step_leaves_nothing_of_later_ones(tmp_path):
    minitl.set_random_seed(0)
    model = Sequential([Input((4,)), Dense(3, activation="tanh"), Dense(2)])
    model.compile("adam", "mse")
    model.save_backup(tmp_path / "start.npz")
    ends = []
    for _ in range(2):
        model.fit(ROWS, TARGETS[:, :2], epochs=2, shuffle=False, verbose=0)
        ends.append([w.copy() for w in model.get_weights()])
        model.restore_backup(tmp_path / "start.npz")
    assert all(np.array_equal(a, b) for a, b in zip(*ends, strict=True))
