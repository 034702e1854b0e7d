"""What callbacks decide, on made-up numbers: each sees the logs of an epoch, and the model that it changes is a stand-in."""

import math
import sys
import types
import warnings

import numpy as np
import pytest
from rows import ROWS, TARGETS, small

from minitl.callbacks import (
    BackupAndRestore,
    Callback,
    EarlyStopping,
    LearningRateScheduler,
    ModelCheckpoint,
    ReduceLROnPlateau,
    TensorBoard,
    TerminateOnNaN,
)
from minitl.layers import Dense, Input
from minitl.models import Sequential
from minitl.optimizers import SGD


class Model:
    """As much of a model as callbacks use."""

    def __init__(self):
        self.stop_training, self.checkpoint, self.saved = False, None, []
        self.optimizer = SGD(1.0)
        self.value = 0

    def get_weights(self):
        return self.value

    def set_weights(self, value):
        self.value = value

    def save(self, path):
        self.saved.append(path)


def run(callback, numbers, name="val_loss", model=None):
    """The epochs after which the run would go on, and the model."""
    model = model or Model()
    callback.set_model(model)
    callback.on_train_begin()
    done = 0
    for epoch, number in enumerate(numbers):
        model.value = epoch  # the weights of the epoch
        callback.on_epoch_end(epoch, {name: number})
        done += 1
        if model.stop_training:
            break
    callback.on_train_end()
    return done, model


@pytest.mark.parametrize(("settings", "numbers", "epochs"), [
    ({"patience": 2}, [3, 2, 2.5, 2.5, 9], 4),
    ({"patience": 2}, [3, 2, 2.5, 1, 2, 2, 9], 6),
    ({}, [3, 3, 2], 2),  # the same is no progress
    ({"patience": 1, "min_delta": 0.5}, [3, 2.6, 2.7], 2),  # too little is none either
    ({"patience": 1, "min_delta": -0.5}, [3, 2.6, 2.7], 2),
    ({"patience": 1, "min_delta": 0.5}, [3, 2.5, 1.9, 1.8], 2),  # exactly min_delta is too little
    ({"patience": 1, "min_delta": 0.5}, [3, 2.4, 1.8, 1.7], 4),
    ({"patience": 1, "baseline": 2.0}, [3, 2.5, 2.6, 1], 3),  # better than before, but not than the baseline: it is waited on
    ({"patience": 1, "baseline": 2.0}, [3, 2.5, 1.5, 1.6], 4),
    ({"patience": 0}, [float("nan"), float("nan"), 1], 2),  # the first epoch is never the last
    ({"patience": 2, "baseline": 2.0}, [3, 1.9, 2.5, 2.5, 0], 4),
    ({"patience": 1, "start_from_epoch": 2}, [1, 2, 3, 4, 5], 4),
    ({"patience": 1, "mode": "max"}, [1, 2, 3, 2], 4),
    ({"patience": 1, "mode": "max"}, [3, 2], 2),
    ({"patience": 1, "mode": "min"}, [3, 2], 2),
])  # fmt: skip
def test_early_stopping(settings, numbers, epochs):
    assert run(EarlyStopping(**settings), numbers)[0] == epochs


def test_accuracies_go_up_and_losses_down():
    for name in ("val_accuracy", "val_acc", "val_auc", "val_precision", "recall_1", "val_f1_score", "mean_io_u", "val_r2_score"):
        assert run(EarlyStopping(name, patience=1), [0.1, 0.2, 0.3, 0.2, 0.9], name)[0] == 4
    for name in ("loss", "val_mae", "false_positives"):
        assert run(EarlyStopping(name, patience=1), [0.1, 0.2], name)[0] == 2


def test_what_is_watched_and_not_there_is_said_once():
    stopping = EarlyStopping("val_loss", patience=1)
    stopping.set_model(Model())
    stopping.on_train_begin()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for epoch in range(3):
            stopping.on_epoch_end(epoch, {"loss": 1.0, "accuracy": 0.5})
    assert [str(warning.message).split(";")[0] for warning in said] == [
        "EarlyStopping: no 'val_loss' in this run, only accuracy, loss"
    ]
    assert not stopping.model.stop_training


@pytest.mark.parametrize(
    "wrong", [{"patience": -1}, {"start_from_epoch": -1}, {"patience": float("nan")}, {"baseline": "low"}, {"min_delta": np.inf}]
)
def test_settings_of_early_stopping_are_checked(wrong):
    with pytest.raises((ValueError, TypeError), match=f"EarlyStopping: {next(iter(wrong))}"):
        EarlyStopping(**wrong)


@pytest.mark.parametrize(
    ("settings", "numbers", "epochs"),
    [
        ({"patience": 1, "baseline": 2.0, "min_delta": 0.5}, [1.4, 1.4], 2),  # 1.4 beats 2 by more than 0.5: it begins anew
        ({"patience": 2, "baseline": 2.0, "min_delta": 0.5}, [1.6, 1.6, 1.0], 2),  # 1.6 does not, though it is below 2
        ({"patience": 2, "baseline": 2.0, "min_delta": 0.5}, [1.5, 1.5, 0.9], 2),  # nor exactly as much
        ({"patience": 2, "baseline": 2.0, "min_delta": 0.5}, [1.4, 1.4, 1.4, 0.0], 3),
    ],
)
def test_the_baseline_is_beaten_by_more_than_min_delta(settings, numbers, epochs):
    assert run(EarlyStopping(**settings), numbers)[0] == epochs


def test_early_stopping_is_quiet_unless_asked(capsys):
    run(EarlyStopping(patience=1, restore_best_weights=True), [1, 2, 3])
    assert capsys.readouterr().out == ""


def test_the_best_weights_come_back_when_the_baseline_was_never_reached():
    stopping = EarlyStopping(patience=2, baseline=0.5, restore_best_weights=True)
    done, model = run(stopping, [3, 1, 2, 2, 9])
    assert (done, model.value, stopping.best_epoch) == (3, 1, 1)


def test_the_best_weights_come_back_and_nothing_is_kept_for_the_next_run(capsys):
    stopping = EarlyStopping(patience=2, restore_best_weights=True, verbose=1)
    done, model = run(stopping, [3, 1, 2, 2, 9])
    assert (done, model.value, stopping.stopped_epoch, stopping.best_epoch) == (4, 1, 3, 1)
    assert capsys.readouterr().out == "restored the weights of epoch 2\n"
    assert stopping.best_weights is None  # their memory is free again
    done, model = run(stopping, [5, 4, 4.5])  # worse numbers than in the first run
    assert (done, model.value, stopping.best_epoch, stopping.stopped_epoch) == (3, 1, 1, 0)
    quiet = EarlyStopping(patience=2)
    assert run(quiet, [3, 1, 2, 2, 9])[1].value == 3
    assert capsys.readouterr().out == "restored the weights of epoch 2\n"
    with pytest.raises(ValueError, match="unknown mode 'up'"):
        EarlyStopping(mode="up")


def rates(callback, numbers, start=1.0):
    model = Model()
    model.optimizer.learning_rate = start
    seen = []
    callback.set_model(model)
    callback.on_train_begin()
    for epoch, number in enumerate(numbers):
        logs = {"val_loss": number}
        callback.on_epoch_end(epoch, logs)
        assert logs["learning_rate"] == (seen[-1] if seen else start)  # the rate of the epoch that has ended
        seen.append(model.optimizer.learning_rate)
    return seen


@pytest.mark.parametrize(("settings", "numbers", "expected"), [
    ({"patience": 2, "factor": 0.5}, [3, 3, 3, 3, 3], [1, 1, 0.5, 0.5, 0.25]),
    ({"patience": 2, "factor": 0.5}, [3, 3, 2, 2, 2], [1, 1, 1, 1, 0.5]),
    ({"patience": 1, "factor": 0.5, "cooldown": 2}, [3, 3, 3, 3, 3, 3], [1, 0.5, 0.5, 0.25, 0.25, 0.125]),
    ({"patience": 1, "factor": 0.1, "min_lr": 0.05}, [3, 3, 3, 3], [1, 0.1, 0.05, 0.05]),
    ({"patience": 1, "factor": 0.5, "min_delta": 0.5}, [3, 2.6, 2.2, 2.1], [1, 0.5, 0.5, 0.25]),
    ({"patience": 1, "factor": 0.5, "mode": "max"}, [1, 2, 3, 2], [1, 1, 1, 0.5]),
])  # fmt: skip
def test_reduce_on_plateau(settings, numbers, expected):
    callback = ReduceLROnPlateau(**settings)
    if "min_delta" in settings:
        assert rates(callback, numbers)[:2] == expected[:2]
    else:
        np.testing.assert_allclose(rates(callback, numbers), expected)
        np.testing.assert_allclose(rates(callback, numbers), expected)  # begins anew


def test_reducing_says_what_it_does_and_checks_its_factor(capsys):
    rates(ReduceLROnPlateau(patience=1, factor=0.5, verbose=1), [1, 1])
    assert capsys.readouterr().out == "epoch 2: learning rate 0.5\n"
    rates(ReduceLROnPlateau(patience=1, factor=0.5), [1, 1])
    assert capsys.readouterr().out == ""
    for factor in (0, 1, 1.5, -0.5):
        with pytest.raises(ValueError, match=r"factor must be a number in \(0, 1\)"):
            ReduceLROnPlateau(factor=factor)
    callback = ReduceLROnPlateau()
    callback.set_model(Model())
    callback.model.optimizer.learning_rate = lambda step: 1.0
    callback.on_train_begin()
    with pytest.raises(TypeError, match="follows a schedule"):
        callback.on_epoch_end(0, {"val_loss": 1})


def test_scheduler(capsys):
    model = Model()
    for schedule, verbose in ((lambda epoch: 0.5 / (epoch + 1), 1), (lambda epoch, rate: rate / 2, 0)):
        callback = LearningRateScheduler(schedule, verbose)
        callback.set_model(model)
        model.optimizer.learning_rate = 1.0
        logs = {}
        callback.on_epoch_begin(0)
        callback.on_epoch_end(0, logs)
        assert model.optimizer.learning_rate == 0.5 and logs == {"learning_rate": 0.5}
    assert capsys.readouterr().out == "epoch 1: learning rate 0.5\n"


class Count(Callback):
    """Which batches were seen when files were written."""

    def __init__(self, folder):
        self.folder, self.seen = folder, []

    def on_train_batch_begin(self, batch, logs=None):
        self.seen.append(sorted(path.name for path in self.folder.iterdir()))


def trained(callbacks, epochs=2, folder=None):
    model = Sequential([Input((3,)), Dense(2)])
    model.compile("sgd", "mse")
    return model, model.fit(np.ones((12, 3)), np.ones((12, 2)), batch_size=4, epochs=epochs, verbose=0, callbacks=callbacks)


def test_checkpoints_are_written_after_the_batches_and_epochs_that_were_asked_for(tmp_path, capsys):
    trained([ModelCheckpoint(str(tmp_path / "{epoch}-{batch}.npz"), save_freq=2, verbose=1)])
    assert sorted(p.name for p in tmp_path.iterdir()) == ["1-2.npz", "2-1.npz", "2-3.npz"]
    assert capsys.readouterr().out.splitlines()[0] == f"epoch 1: saved {tmp_path / '1-2.npz'}"
    for path in tmp_path.iterdir():
        path.unlink()
    trained([ModelCheckpoint(str(tmp_path / "{epoch}-{loss:.0f}.npz"), period=2)], epochs=5)
    assert [p.name[0] for p in sorted(tmp_path.iterdir())] == ["2", "4"]
    assert capsys.readouterr().out == ""
    with pytest.raises(ValueError, match="no 'val_loss' in this run"):
        trained([ModelCheckpoint(str(tmp_path / "{val_loss}.npz"))])
    trained([ModelCheckpoint(str(tmp_path / "new" / "{epoch}" / "m.npz"))])  # folders are made, as by Keras's
    assert (tmp_path / "new" / "1" / "m.npz").is_file()


def test_only_what_beats_the_best_is_written(tmp_path):
    for settings, numbers, saved in (
        ({}, [3, 2, 2.5, 1], [1, 2, 4]),
        ({"mode": "max"}, [3, 2, 4], [1, 3]),
        ({"initial_value_threshold": 2.2}, [3, 2, 2.1, 1], [2, 4]),
        ({"initial_value_threshold": 2.2, "mode": "max"}, [2, 3], [2]),
    ):
        _, model = run(ModelCheckpoint("{epoch}", save_best_only=True, **settings), numbers)
        assert model.saved == [str(n) for n in saved]
        assert model.checkpoint["best"] == numbers[saved[-1] - 1]
    _, model = run(ModelCheckpoint("{epoch}"), [3, 4])
    assert model.saved == ["1", "2"] and model.checkpoint is None


def test_backups_are_written_when_they_should_be(tmp_path):
    for save_freq, there in ((2, [0, 0, 1, 1, 1, 1]), ("epoch", [0, 0, 0, 1, 1, 1])):
        folder = tmp_path / str(save_freq)
        folder.mkdir()
        count = Count(folder)
        trained([BackupAndRestore(folder, save_freq), count])
        assert [len(names) for names in count.seen] == there
        assert not list(folder.iterdir())
    kept = BackupAndRestore(tmp_path / "kept", delete_checkpoint=False)
    trained([kept])
    assert [p.name for p in (tmp_path / "kept").iterdir()] == ["backup.npz"]
    model, history = trained([BackupAndRestore(tmp_path / "kept", delete_checkpoint=False)], epochs=3)
    assert history.epoch == [0, 1, 2] and model.optimizer.iterations == 9
    assert math.isfinite(history.history["loss"][-1])


def test_callbacks_are_told_of_evaluations_and_predictions_and_always_get_logs():
    told = []

    class All(Callback):
        pass

    for name in [name for name in dir(Callback) if name.startswith("on_")]:

        def tell(self, *arguments, name=name):
            assert isinstance(arguments[-1], dict) and self.model is model
            told.append((name, sorted(arguments[-1])))

        setattr(All, name, tell)
    model = Sequential([Input((3,)), Dense(1)])
    model.compile("sgd", "mse", metrics=["mae"])
    x, y = np.ones((6, 3)), np.ones((6, 1))
    model.fit(x, y, batch_size=3, epochs=1, validation_data=(x, y), callbacks=[All()], verbose=0)
    names = [name for name, _ in told]
    assert names == [
        "on_train_begin", "on_epoch_begin", *["on_train_batch_begin", "on_train_batch_end"] * 2, "on_test_begin",
        *["on_test_batch_begin", "on_test_batch_end"] * 2, "on_test_end", "on_epoch_end", "on_train_end",
    ]  # fmt: skip
    assert dict(told)["on_train_end"] == ["loss", "mae", "val_loss", "val_mae"] and dict(told)["on_test_end"] == ["loss", "mae"]
    told.clear()
    seen = []

    class Reads(Callback):
        def on_epoch_end(self, epoch, logs=None):
            seen.append([part.shape for part in self.validation_data])

    model.fit(x, y, validation_data=(x, y), callbacks=[Reads()], verbose=0)
    model.fit(x, y, validation_split=0.5, callbacks=[Reads()], verbose=0)
    assert seen == [[(6, 3), (6, 1)], [(3, 3), (3, 1)]]
    model.evaluate(x, y, verbose=0, callbacks=[All()])
    assert [name for name, _ in told] == ["on_test_begin", "on_test_batch_begin", "on_test_batch_end", "on_test_end"]
    told.clear()
    model.predict(x, verbose=0, callbacks=All())
    assert [name for name, _ in told] == ["on_predict_begin", "on_predict_batch_begin", "on_predict_batch_end", "on_predict_end"]
    assert dict(told)["on_predict_batch_end"] == ["outputs"]


@pytest.mark.parametrize("wrong", [EarlyStopping, lambda epoch: 0.1, "EarlyStopping"])
def test_what_is_no_callback_is_said(wrong):
    model = Sequential([Input((2,)), Dense(2, activation="softmax")])
    model.compile("sgd", "sparse_categorical_crossentropy")
    with pytest.raises(TypeError, match=r"callbacks: expected a Callback, got .*; is it a class"):
        model.fit(np.zeros((4, 2)), np.zeros(4), verbose=0, callbacks=[wrong])


class Events:
    """What a writer of event files was told."""

    def __init__(self, folder):
        self.folder, self.told, self.closed = folder, [], 0
        Events.last = self

    def add_scalar(self, name, value, step):
        self.told.append((name, value, step))

    def close(self):
        self.closed += 1


def test_event_files(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", types.SimpleNamespace(SummaryWriter=Events))
    model = small()
    model.compile(SGD(0.1), "mse")
    callback = TensorBoard("here")
    history = model.fit(ROWS, TARGETS, epochs=2, verbose=0, callbacks=[callback])
    told = Events.last
    assert told.folder == "here" and told.closed == 1 and callback.writer is None
    assert told.told == [("epoch_loss", loss, epoch) for epoch, loss in enumerate(history.history["loss"])]


def test_event_files_without_a_writer(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    model = small()
    model.compile(SGD(0.1), "mse")
    with pytest.warns(UserWarning, match="TensorBoard: nothing is written, since tensorboardX is not installed"):
        model.fit(ROWS, TARGETS, epochs=1, verbose=0, callbacks=[TensorBoard("here")])


def test_a_run_ends_at_a_loss_that_is_no_number():
    callback = TerminateOnNaN(raise_error=False)
    for loss, stops in ((1.0, False), (None, False), (np.nan, True), (np.inf, True)):
        callback.model = types.SimpleNamespace(stop_training=False)
        callback.on_train_batch_end(0, {} if loss is None else {"loss": loss})
        assert callback.model.stop_training == stops
