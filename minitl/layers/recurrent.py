"""Recurrent layers: LSTM, GRU and SimpleRNN."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from minitl import initializers, regularizers
from minitl.backend import op
from minitl.errors import check_numbers, positive
from minitl.graph.plan import Need
from minitl.layers.activations import chosen
from minitl.layers.any_activation import StepByStep
from minitl.layers.base import Layer
from minitl.layers.linear import named
from minitl.layers.stepwise import Stepwise
from minitl.random import new_generator
from minitl.serialization import constructor_arguments


class Recurrent(Stepwise):
    """What recurrent layers share: sums of the inputs for all steps at once, then one step after another.

    Behind an `Embedding(mask_zero=True)` or a `Masking`, with layers between that treat each step alone, the steps that these
    mark are left out: they change nothing. With `return_sequences`, such a step gives zeros, or, if `zero_output_for_mask=False`,
    Keras's default, the output of the step before; the layers behind leave it out, too.
    `dropout` drops inputs, `recurrent_dropout` what comes from the step before, the same ones in all steps of a sequence.

    The first step finds a state of zeros, or `layer(x, initial_state=[h])`, with `[h, c]` for an LSTM; `return_state` gives the
    state behind the last step too: y, h, (c). With `stateful` a batch begins where the one before ended, sample by sample, until
    `reset_states()`; gradients end at the batch.
    Other activations than tanh and sigmoid, by names, or functions of your own, are computed step by step, and slower.
    Errors: ValueError for an unknown activation; a state of another shape, or at some calls only; a `stateful` batch of another
    size than the one before.
    """

    operation: str
    gates: int
    states = 1  # arrays of a state
    known_activations: tuple[str, ...] = ("tanh",)  # by the operation
    constrained: ClassVar[dict[str, str]] = {"kernel": "kernel", "recurrent": "recurrent_kernel", "bias": "bias"}

    def __init__(
        self,
        units: int,
        activation: Any = "tanh",
        recurrent_activation: Any = "sigmoid",
        use_bias: bool = True,
        kernel_initializer: Any = "glorot_uniform",
        recurrent_initializer: Any = "orthogonal",
        bias_initializer: Any = "zeros",
        kernel_regularizer: Any = None,
        recurrent_regularizer: Any = None,
        bias_regularizer: Any = None,
        dropout: float = 0.0,
        recurrent_dropout: float = 0.0,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        implementation: int = 2,
        input_length: int | None = None,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ):
        if "input_dim" in kwargs and input_length is not None:
            kwargs["input_shape"] = (input_length, kwargs.pop("input_dim"))
        elif "input_dim" in kwargs:
            kwargs["input_shape"] = (None, kwargs.pop("input_dim"))
        super().__init__(**kwargs)
        self.activation, self.recurrent_activation = chosen(activation), chosen(recurrent_activation)
        if return_state and self.activity_regularizer is not None:
            advice = "leave out return_state"
            raise ValueError(f"{type(self).__name__}: an activity_regularizer has no meaning for several outputs; {advice}")
        check_numbers(self, "[0, 1)", dropout=dropout, recurrent_dropout=recurrent_dropout)
        self.units, self.use_bias = positive("units", units), use_bias
        self.kernel_initializer = initializers.get(kernel_initializer)
        self.recurrent_initializer = initializers.get(recurrent_initializer)
        self.bias_initializer = initializers.get(bias_initializer)
        self.kernel_regularizer = regularizers.get(kernel_regularizer)
        self.recurrent_regularizer = regularizers.get(recurrent_regularizer)
        self.bias_regularizer = regularizers.get(bias_regularizer)
        self.dropout, self.recurrent_dropout = dropout, recurrent_dropout
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful = go_backwards, stateful
        self.zero_output_for_mask = zero_output_for_mask

    @property
    def state_sizes(self) -> list[int]:
        """One array, or two, of as many numbers as there are units."""
        return [self.units] * self.states

    @property
    def draws(self) -> bool:
        """If it drops something."""
        return self.dropout > 0 or self.recurrent_dropout > 0

    def build(self, input_shape: Any, prefix: str = "", owner: Layer | None = None) -> None:
        """Create kernel, recurrent kernel and bias, under names of its own or in another layer."""
        channels = self.shape_of_sequences(input_shape)[2]
        layer, columns = owner or self, self.gates * self.units
        # Constraints by name, since `layer` may be another one.
        layer.add_weight(
            prefix + "kernel", (channels, columns), self.kernel_initializer, self.kernel_regularizer,
            constraint=self.kernel_constraint,
        )  # fmt: skip
        layer.add_weight(
            prefix + "recurrent_kernel", (self.units, columns), self.recurrent_initializer, self.recurrent_regularizer,
            constraint=self.recurrent_constraint,
        )  # fmt: skip
        if self.use_bias:
            self.add_bias(layer, prefix + "bias")
        if self.draws:
            self.generator = new_generator()

    def add_bias(self, layer: Layer, name: str) -> None:
        """Create the bias."""
        bias = (self.gates * self.units,)
        layer.add_weight(name, bias, self.bias_initializer, self.bias_regularizer, constraint=self.bias_constraint)

    @property
    def is_operation(self) -> bool:
        """Whether the operation knows the activations."""
        return self.activation in self.known_activations and self.recurrent_activation == "sigmoid"

    @property
    def way(self) -> Any:
        """What goes through the steps: the layer by its operation, or a record of each step."""
        return self if self.is_operation else StepByStep(self)

    def steps(self, sums: np.ndarray, weights: dict[str, Any], start: Any, mask: Any, drop: Any) -> tuple[np.ndarray, Any]:
        """h of all steps from the inputs' sums and the state before."""
        raise NotImplementedError

    def steps_backward(self, dh: np.ndarray, dcell: Any, cache: Any, need: Need) -> tuple[Any, dict[str, Any], Any]:
        """The gradients of the sums; of the recurrent kernel and what belongs to it; of the state before."""
        raise NotImplementedError

    def last_state(self, h: np.ndarray, cache: Any) -> list[np.ndarray]:
        """The state behind the last step."""
        return [np.ascontiguousarray(h[:, -1])]

    def input_bias(self, weights: dict[str, Any]) -> np.ndarray | None:
        """The bias of the inputs' sums."""
        return weights.get("bias")

    def run(self, x: Any, weights: dict[str, Any], training: bool) -> tuple[Any, Any]:
        """y, or y and the state, with some weights, and the cache."""
        if self.takes_several:
            x, *given = x
            start: np.ndarray | None = np.concatenate(given, axis=1)
        else:
            start = self.carried_for(len(x))
        if self.go_backwards:
            x = x[:, ::-1]
        mask: np.ndarray | None = np.any(x, axis=-1) if self.masked else None
        drop_x = drop_h = None
        if training and self.dropout:
            ones = np.ones((len(x), 1, x.shape[2]), x.dtype)
            drop_x = op("dropout").forward(ones, self.dropout, self.generator)[0]
            x = x * drop_x
        if training and self.recurrent_dropout:
            drop_h = op("dropout").forward(np.ones((len(x), self.units), x.dtype), self.recurrent_dropout, self.generator)[0]
        sums, of_sums = op("dense").forward(np.ascontiguousarray(x), weights["kernel"], self.input_bias(weights))
        h, of_steps = self.way.steps(sums, weights, start, mask, drop_h)
        y = h if self.return_sequences else np.ascontiguousarray(h[:, -1])
        if self.passes_mask and mask is not None:
            y = y * mask[:, :, None]
        state = self.way.last_state(h, of_steps) if self.stateful or self.return_state else []
        if self.stateful:
            self.carried = np.concatenate(state, axis=1)
        return ([y, *state] if self.return_state else y), (h.shape, of_sums, of_steps, mask, drop_x)

    def back(self, dy: Any, cache: Any, need: Need) -> tuple[Any, dict[str, Any]]:
        """dx, or dx and the gradients of the state before, and the gradients by name."""
        shape, of_sums, of_steps, mask, drop_x = cache
        dy, *dlast = dy if self.return_state else [dy]
        if self.return_sequences and dy is not None:
            dh = dy * mask[:, :, None] if self.passes_mask and mask is not None else dy
        else:
            dh = np.zeros(shape, next(part.dtype for part in (dy, *dlast) if part is not None))
            if dy is not None:
                dh[:, -1] = dy
        if dlast and dlast[0] is not None:
            dh = dh if dh is not dy else dh.copy()
            dh[:, -1] += dlast[0]
        wanted = any(need.dx) if isinstance(need.dx, tuple) else need.dx
        need = need._replace(dx=wanted)
        dsums, gradients, dstart = self.way.steps_backward(dh, dlast[1] if len(dlast) > 1 else None, of_steps, need)
        dx, dkernel, dbias = op("dense").backward(dsums, of_sums, *need)
        gradients["kernel"] = dkernel
        if self.use_bias and need.parameters:
            gradients["bias"] = dbias if "bias" not in gradients else np.stack([dbias, gradients["bias"]])
        if dx is not None and drop_x is not None:
            dx = dx * drop_x
        dx = dx[:, ::-1] if dx is not None and self.go_backwards else dx
        return [dx, *np.split(dstart, self.states, axis=1)] if self.takes_several else dx, gradients

    def compute(self, x: Any, training: bool) -> tuple[Any, Any]:
        """The last h, or all of them; and the state."""
        return self.run(x, self.parameters, training)

    def backpropagate(self, dy: Any, cache: Any, need: Need) -> tuple[Any, dict[str, np.ndarray]]:
        """dx, and the parameters' gradients."""
        dx, gradients = self.back(dy, cache, need)
        return dx, named(**gradients)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(N, units), or (N, T, units); with the state, a list."""
        n, steps = (input_shape[0] if self.takes_several else input_shape)[:2]
        y = (n, steps, self.units) if self.return_sequences else (n, self.units)
        return [y, *[(n, self.units)] * self.states] if self.return_state else y

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        accepted = ("unroll", "implementation", "input_length")
        return {**constructor_arguments(self, skip=("input_shape", "input_dim", *accepted)), **self.constraint_arguments}


class LSTM(Recurrent):
    """A memory with gates that write, keep and read it.

    Formula: a = x[t] W + b + h[t-1] R;  c[t] = sigmoid(a_f) c[t-1] + sigmoid(a_i) tanh(a_g);  h[t] = sigmoid(a_o) tanh(c[t]);
    `activation` stands for tanh, `recurrent_activation` for sigmoid.
    Shapes: x (N, T, C), kernel (C, 4 units), recurrent_kernel (units, 4 units), bias (4 units,), in the order i, f, g, o;
    y (N, units), or (N, T, units) with `return_sequences`.
    Source: `minitl.ops.lstm`.
    """

    operation, gates, states = "lstm", 4, 2

    def __init__(self, units: int, *args: Any, unit_forget_bias: bool = True, **kwargs: Any):
        super().__init__(units, *args, **kwargs)
        self.unit_forget_bias = unit_forget_bias

    def add_bias(self, layer: Layer, name: str) -> None:
        """Create the bias; the gate that keeps begins open."""
        super().add_bias(layer, name)
        if self.unit_forget_bias:
            layer.parameters[name][self.units : 2 * self.units] = 1

    def steps(self, sums: np.ndarray, weights: dict[str, Any], start: Any, mask: Any, drop: Any) -> tuple[np.ndarray, Any]:
        """h of all steps."""
        return op("lstm").forward(sums, weights["recurrent_kernel"], start, mask, drop)

    def steps_backward(self, dh: np.ndarray, dcell: Any, cache: Any, need: Need) -> tuple[Any, dict[str, Any], Any]:
        """Back through all steps."""
        dsums, drecurrent, dstart = op("lstm").backward(dh, cache, True, need.parameters, dcell)
        return dsums, {"recurrent_kernel": drecurrent}, dstart

    def last_state(self, h: np.ndarray, cache: Any) -> list[np.ndarray]:
        """h and c."""
        return [*super().last_state(h, cache), np.ascontiguousarray(op("lstm").cells(cache)[:, -1])]


class GRU(Recurrent):
    """Two gates, and no memory beside the output.

    Formula: a = h[t-1] R + e;  z, r = sigmoid(x[t] W + b + a);  g = tanh(x_g + r a_g);  h[t] = z h[t-1] + (1 - z) g; with
    `reset_after=False`, the older form, which is slower here, e = 0 and g = tanh(x_g + (r h[t-1]) R_g);
    `activation` stands for tanh, `recurrent_activation` for sigmoid.
    Shapes: x (N, T, C), kernel (C, 3 units), recurrent_kernel (units, 3 units), bias (2, 3 units): b and e, in the order z, r, g,
    or (3 units,) in the older form; y (N, units), or (N, T, units) with `return_sequences`.
    Source: `minitl.ops.gru`.
    """

    operation, gates = "gru", 3

    def __init__(self, units: int, *args: Any, reset_after: bool = True, **kwargs: Any):
        super().__init__(units, *args, **kwargs)
        self.reset_after = reset_after

    def add_bias(self, layer: Layer, name: str) -> None:
        """Create both biases, or the one of the older form."""
        shape = (2, 3 * self.units) if self.reset_after else (3 * self.units,)
        layer.add_weight(name, shape, self.bias_initializer, self.bias_regularizer, constraint=self.bias_constraint)

    def input_bias(self, weights: dict[str, Any]) -> np.ndarray | None:
        """The first of the two, or the only one."""
        return weights["bias"].reshape(-1, 3 * self.units)[0] if self.use_bias else None

    @property
    def is_operation(self) -> bool:
        """Whether the operation knows the activations, and the form."""
        return self.reset_after and super().is_operation

    def steps(self, sums: np.ndarray, weights: dict[str, Any], start: Any, mask: Any, drop: Any) -> tuple[np.ndarray, Any]:
        """h of all steps."""
        bias = weights["bias"][1] if self.use_bias else None
        return op("gru").forward(sums, weights["recurrent_kernel"], bias, start, mask, drop)

    def steps_backward(self, dh: np.ndarray, dcell: Any, cache: Any, need: Need) -> tuple[Any, dict[str, Any], Any]:
        """Back through all steps."""
        dsums, drecurrent, dbias, dstart = op("gru").backward(dh, cache, True, need.parameters)
        return dsums, {"recurrent_kernel": drecurrent, **({"bias": dbias} if dbias is not None else {})}, dstart


class SimpleRNN(Recurrent):
    """The output of a step goes into the next one; no gates, so that it forgets quickly.

    Formula: h[t] = f(x[t] W + b + h[t-1] R), f = tanh or another activation.
    Shapes: x (N, T, C), kernel (C, units), recurrent_kernel (units, units), bias (units,); y (N, units), or (N, T, units) with
    `return_sequences`.
    Errors: ValueError for a recurrent_activation: there are no gates.
    Source: `minitl.ops.simple_rnn`.
    """

    operation, gates = "simple_rnn", 1
    known_activations = ("tanh", "relu")

    def __init__(self, units: int, activation: Any = "tanh", *args: Any, recurrent_activation: Any = "sigmoid", **kwargs: Any):
        if recurrent_activation != "sigmoid":
            raise ValueError(f"SimpleRNN: has no gates for a recurrent_activation, got {recurrent_activation!r}")
        super().__init__(units, activation, recurrent_activation, *args, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {name: value for name, value in super().get_config().items() if name != "recurrent_activation"}

    def steps(self, sums: np.ndarray, weights: dict[str, Any], start: Any, mask: Any, drop: Any) -> tuple[np.ndarray, Any]:
        """h of all steps."""
        rectified = self.activation == "relu"
        return op("simple_rnn").forward(sums, weights["recurrent_kernel"], start, rectified, mask, drop)

    def steps_backward(self, dh: np.ndarray, dcell: Any, cache: Any, need: Need) -> tuple[Any, dict[str, Any], Any]:
        """Back through all steps."""
        dsums, drecurrent, dstart = op("simple_rnn").backward(dh, cache, True, need.parameters)
        return dsums, {"recurrent_kernel": drecurrent}, dstart
