"""What a model does with data: compile, fit, evaluate, predict, and their siblings for single batches, as in Keras."""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from minitl import losses, objective, optimizers, training
from minitl.errors import no_loss
from minitl.history import History
from minitl.layers.base import Layer
from minitl.layers.variable import as_result
from minitl.legacy.arguments import of_fit
from minitl.models.closed_loss import with_target
from minitl.models.keys import Keys
from minitl.models.own_loss import with_own_loss
from minitl.preprocessing.record import Preprocessing


class Trainer(Layer):
    """A layer that can be trained: the loops are in `minitl.training`."""

    keys = Keys()  # of the dictionaries in which its inputs and outputs come, if they do

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        if isinstance(vars(cls).get("metrics"), property):
            raise TypeError(f"{cls.__name__}: metrics are what compile(metrics=...) gets; leave the property out")

    def _set_up_training(self) -> None:
        self.optimizer: optimizers.Optimizer | None = None
        self.loss: Any = None  # one per output, where there are several
        self.loss_weights: Any = None
        self.metrics: list[Any] = []
        self.learnt_when_compiled: list[Layer] = []
        self.with_target: Any = None  # the network that takes the target too, for a loss that uses values
        self._with_own_loss: dict[Any, Any] = {}  # such networks for a compute_loss of its own, by shapes of targets
        self._follows_loss = False  # whether that is being called
        self.stop_training = False
        self.history: History | None = None
        self.training_run: Any = None  # where training stands, for a fit that goes on
        self.checkpoint: dict[str, Any] | None = None  # the best that a ModelCheckpoint saved, for training that goes on
        self.onnx_orders: dict[str, Any] | None = None  # how axes stood in the ONNX file that it comes from
        self.torch_names: dict[str, str] | None = None  # what PyTorch's files call its layers, where that is known
        self.class_names: list[str] | None = None  # of the last layer's outputs, where the data told them
        self.origin: dict[str, str] | None = None  # where its weights come from: base and licence
        self.preprocessing: Preprocessing | None = None  # what its inputs went through; kept with the weights

    def _take_record(self, model: Trainer) -> None:
        """Keep what another model's inputs went through, and where its weights come from."""
        self.preprocessing, self.origin = model.preprocessing, model.origin

    def compile(
        self,
        optimizer: Any = "rmsprop",
        loss: Any = None,
        metrics: Any = None,
        loss_weights: Any = None,
        weighted_metrics: Any = None,
        run_eagerly: Any = None,
        **kwargs: Any,
    ) -> None:
        """Choose optimizer, losses and metrics, by name or as objects.

        For several outputs `loss`, `metrics` and `loss_weights` are lists, or dictionaries by the outputs' names; one loss
        serves all outputs. `weighted_metrics` take the sample weights into account. `run_eagerly`, `jit_compile` and
        `steps_per_execution` have no meaning here.
        Errors: ValueError for an output that is not there, or fewer losses than outputs; TypeError for other arguments.
        """
        ignored = {"jit_compile", "steps_per_execution", "auto_scale_loss", "sample_weight_mode", "class_mode"}
        if set(kwargs) - ignored:
            raise TypeError(f"compile: unknown arguments {', '.join(sorted(set(kwargs) - ignored))}")
        self.optimizer = optimizers.get(optimizer)
        self.loss = objective.per_output(self, "loss", loss, losses.to_train_with, one_for_all=True)
        self.loss_weights = objective.per_output(self, "loss_weights", loss_weights, float, one_for_all=False)
        self.metrics = objective.metrics_of(self, metrics, weighted_metrics)
        self.with_target = with_target(self, self.loss) if self.built and not self.has_own_loss else None
        self._with_own_loss.clear()
        self.learnt_when_compiled = [layer for _, layer in objective.trained_layers(self)] if self.built else []
        self.training_run = None

    @property
    def losses(self) -> list[float]:
        """What joins the loss beside the outputs'; nothing in a `compute_loss`, which need not add it."""
        return [] if self._follows_loss else super().losses

    @property
    def has_own_loss(self) -> bool:
        """Whether it is a class with a `compute_loss`, which is followed when there is a batch."""
        return type(self).compute_loss is not Trainer.compute_loss

    def need_loss(self) -> None:
        """Raise ValueError unless it is compiled with something to be judged by."""
        given = any(loss is not None for loss in objective.listed(self.loss)) or self.has_own_loss
        if self.optimizer is None or not (given or (self.built and self.adds_loss)):
            raise no_loss()

    @property
    def loss_is_the_program_s(self) -> bool:
        """Whether the loss is made of what the program has beside the model, so that no file can say it."""
        return self.has_own_loss or self.with_target is not None

    def judged_by_its_own(self, targets: list[Any], weights: list[Any]) -> tuple[Any, list[int]]:
        """The network that computes a `compute_loss` of the model's own; see `minitl.models.own_loss`."""
        given = [None if part is None else np.asarray(part) for part in (*targets, *weights)]
        key = self.graph, tuple(None if part is None else (part.shape[1:], part.dtype) for part in given)
        if key not in self._with_own_loss:
            self._follows_loss = True
            try:
                self._with_own_loss[key] = with_own_loss(self, targets, weights)
            finally:
                self._follows_loss = False
        return self._with_own_loss[key]

    def compute_loss(self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, **_: Any) -> Any:
        """The compiled loss, of arrays or of values, as a `compute_loss` of your own may ask for it with `super()`.

        Formula: the sum of loss_weight loss(y, y_pred) over the outputs. What is added beside it (`add_loss`, regularizers) joins
        the loss that is trained anyway.
        Errors: ValueError for a model that has no loss.
        """
        chosen = objective.listed(self.loss)
        if len(chosen) == 1:
            y, y_pred = [y], [y_pred]
        shares = self.loss_weights if isinstance(self.loss_weights, list) else [self.loss_weights] * len(chosen)
        weights = sample_weight if isinstance(sample_weight, list) else [sample_weight] * len(chosen)
        found = []
        for loss, share, true, predicted, weight in zip(chosen, shares, y, y_pred, weights, strict=True):
            if loss is not None:
                one = loss(true, predicted, weight)
                found.append(one if share is None else share * one)
        if not found:
            raise no_loss()
        return functools.reduce(operator.add, found)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: Any = "auto",
        callbacks: Any = None,
        validation_split: float = 0.0,
        validation_data: Any = None,
        shuffle: bool = True,
        class_weight: dict[int, float] | None = None,
        sample_weight: Any = None,
        initial_epoch: int = 0,
        steps_per_epoch: int | None = None,
        validation_steps: int | None = None,
        validation_batch_size: int | None = None,
        validation_freq: int = 1,
        accumulate: int = 1,
        **older: Any,
    ) -> History:
        """Train; see `minitl.training.fit`."""
        if older:  # nb_epoch, and settings for worker processes
            self._show_accuracy(older)
            return self.fit(
                x, y, batch_size, verbose=verbose, callbacks=callbacks, validation_split=validation_split,
                validation_data=validation_data, shuffle=shuffle, class_weight=class_weight, sample_weight=sample_weight,
                initial_epoch=initial_epoch, validation_batch_size=validation_batch_size, validation_freq=validation_freq,
                accumulate=accumulate,
                **{
                    "epochs": epochs, "steps_per_epoch": steps_per_epoch, "validation_steps": validation_steps,
                    **of_fit(older, _batch_size(x)),
                },
            )  # fmt: skip
        return training.fit(
            self, x, y, batch_size, epochs, verbose, callbacks, validation_split, validation_data, shuffle, class_weight,
            sample_weight, initial_epoch, steps_per_epoch, validation_steps, validation_batch_size, validation_freq, accumulate,
        )  # fmt: skip

    def _show_accuracy(self, older: dict[str, Any]) -> None:
        """What Keras 0 asked for in `fit` and `evaluate`, and later versions in `compile`."""
        if older.get("show_accuracy") and not self.metrics:
            self.metrics = objective.metrics_of(self, ["accuracy"], None)

    def fit_generator(self, generator: Any, steps_per_epoch: int | None = None, **kwargs: Any) -> History:
        """`fit` under the name that older programs use; their settings for worker processes have no meaning here."""
        return self.fit(generator, steps_per_epoch=steps_per_epoch, **kwargs)

    def evaluate_generator(self, generator: Any, steps: int | None = None, **kwargs: Any) -> Any:
        """`evaluate` under the name that older programs use."""
        verbose = kwargs.pop("verbose", 0)
        return self.evaluate(generator, verbose=verbose, **{"steps": steps, **of_fit(kwargs, _batch_size(generator))})

    def predict_generator(self, generator: Any, steps: int | None = None, **kwargs: Any) -> np.ndarray:
        """`predict` under the name that older programs use."""
        verbose = kwargs.pop("verbose", 0)
        return self.predict(generator, verbose=verbose, **{"steps": steps, **of_fit(kwargs, _batch_size(generator))})

    def predict_classes(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> np.ndarray:
        """The most probable class of every sample; for a single output, whether it is above 1/2."""
        p = self.predict(x, batch_size, verbose)
        return p.argmax(axis=-1) if p.shape[-1] > 1 else (p > 0.5).astype("int32")

    def predict_proba(self, x: Any, batch_size: int | None = None, verbose: Any = 0) -> np.ndarray:
        """`predict` under the name that older programs use."""
        return self.predict(x, batch_size, verbose)

    @property
    def metrics_names(self) -> list[str]:
        """The names of what `evaluate` gives, in its order."""
        return list(objective.Means(self).results())

    def evaluate(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        verbose: Any = "auto",
        sample_weight: Any = None,
        steps: int | None = None,
        return_dict: bool = False,
        callbacks: Any = None,
        **older: Any,
    ) -> Any:
        """The loss and the metrics on some data: [loss, metric...], or a dictionary."""
        if older:
            self._show_accuracy(older)
            steps = of_fit(older).get("steps", steps)
        return training.evaluate(self, x, y, batch_size, verbose, sample_weight, steps, return_dict, callbacks)

    def predict(
        self, x: Any, batch_size: int | None = None, verbose: Any = "auto", steps: int | None = None, callbacks: Any = None
    ) -> Any:
        """The outputs for some data, in their order; a list of arrays where there are several, or a dictionary of them."""
        outputs = training.predict(self, x, batch_size, verbose, steps, callbacks)
        return self.keys.packed(outputs)  # known by now, also of a call that was followed for these data

    def train_on_batch(
        self, x: Any, y: Any = None, sample_weight: Any = None, class_weight: Any = None, return_dict: bool = False
    ) -> Any:
        """One update; the loss before it, and the metrics."""
        return training.on_batch(self, x, y, sample_weight, class_weight, return_dict, train=True)

    def test_on_batch(self, x: Any, y: Any = None, sample_weight: Any = None, return_dict: bool = False) -> Any:
        """The loss and the metrics of one batch."""
        return training.on_batch(self, x, y, sample_weight, None, return_dict, train=False)

    def predict_on_batch(self, x: Any) -> Any:
        """The outputs for one batch."""
        training.check_inputs(self, x, "predict_on_batch")
        outputs = training.predict_batch(self, x)
        return as_result(self.keys.packed(outputs))


def _batch_size(source: Any) -> int | None:
    return getattr(source, "batch_size", None)
