"""Recurrent layers of cells: what one step does is a layer of your own, or one of those here.

class Leaky(Layer):
    def __init__(self, units):
        super().__init__()
        self.state_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight("kernel", (input_shape[-1], self.state_size))

    def call(self, inputs, states):
        h = 0.9 * states[0] + inputs @ self.kernel
        return h, [h]

RNN(Leaky(16), return_sequences=True)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minitl.autodiff import Traced, gradients, plain
from minitl.graph.plan import Need
from minitl.graph.steps import takes_training
from minitl.layers.base import Layer
from minitl.layers.known import layer_classes
from minitl.layers.recorded import end_of, recording, twin_of
from minitl.layers.recurrent import GRU, LSTM, Recurrent, SimpleRNN
from minitl.layers.stepwise import Stepwise
from minitl.serialization import constructor_arguments, decode


class RNN(Stepwise):
    """One step after another by a cell, or by several cells, each of which gets the outputs of the one before.

    Formula: y[t], states = cell(x[t], states), from states of zeros, or from `layer(x, initial_state=[...])`.
    Parameters: `cell` is a layer with `state_size`, a number or several, and `call(inputs, states)`, which gives an output and
    the states behind it; `LSTMCell`, `GRUCell`, `SimpleRNNCell`; or a list of cells. The rest as `minitl.layers.LSTM`'s.
    Shapes: x (N, T, C), states (N, size) each; y (N, outputs), or (N, T, outputs) with `return_sequences`.
    Errors: TypeError for what is no cell; ValueError for a state of another shape.
    """

    def __init__(
        self,
        cell: Any,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        **kwargs: Any,
    ):
        super().__init__(**kwargs)
        if self.activity_regularizer is not None:
            raise ValueError("RNN: has no activity_regularizer here; put an ActivityRegularization behind it")
        self.cells = _cells_of(cell)
        self.return_sequences, self.return_state = return_sequences, return_state
        self.go_backwards, self.stateful = go_backwards, stateful
        self.zero_output_for_mask = zero_output_for_mask

    @property
    def cell(self) -> Any:
        """The cell, or all of them."""
        return self.cells[0] if len(self.cells) == 1 else StackedRNNCells(self.cells)

    @property
    def state_sizes(self) -> list[int]:
        """The lengths of the states of all cells."""
        return [size for cell in self.cells for size in _sizes(cell)]

    @property
    def draws(self) -> bool:
        """If a cell drops something."""
        return any(isinstance(cell, Cell) and cell.layer.draws for cell in self.cells)

    def build(self, input_shape: Any) -> None:
        """Build the cells, each for the outputs of the one before."""
        width: int = self.shape_of_sequences(input_shape)[2]  # type: ignore[assignment]
        for cell in self.cells:
            cell.dtype = self.dtype
            if not cell.built:
                cell.build((None, width))
                cell.built = True
            if not isinstance(cell, Cell):  # one step of zeros builds the layers in it
                states = [np.zeros((1, size), self.dtype) for size in _sizes(cell)]
                width = _run_own(cell, np.zeros((1, 1, width), self.dtype), states, None, True, False).y.shape[-1]
            else:
                width = cell.units
        self.width = width

    def forward(self, x: Any, training: bool = False) -> Any:
        """y, or y and the states."""
        x, *given = x if self.takes_several else [x]
        states = given or self._states_before(x)
        y = x[:, ::-1] if self.go_backwards else x
        mask = np.any(y, axis=-1) if self.masked else None
        last, self._uses = y[:, -1], []
        ended: list[np.ndarray] = []
        for cell in self.cells:
            here, states = states[: len(_sizes(cell))], states[len(_sizes(cell)) :]
            run = _run_built_in if isinstance(cell, Cell) else _run_own
            zeros = self.zero_output_for_mask or cell is not self.cells[-1]  # the next cell knows by them what is left out
            use = run(cell, y, here, mask, zeros, training)
            self._uses.append(use)
            y, last, ended = use.y, use.last, [*ended, *use.states]
        if self.stateful:
            self.carried = np.concatenate(ended, axis=1)
        y = y if self.return_sequences else np.ascontiguousarray(last)
        return [y, *ended] if self.return_state else y

    def backward(self, dy: Any, need_dx: bool = True) -> Any:
        """dx, and the gradients of given states; fills the cells' `gradients`."""
        dy, *dended = dy if self.return_state else [dy]
        shape = self._uses[-1].y.shape
        dsteps = dy if self.return_sequences else None
        dlast = None if self.return_sequences else dy
        dstates: list[np.ndarray] = []
        for use in reversed(self._uses):
            count = len(use.states)
            own = dended[len(dended) - count :] if dended else [None] * count
            dended = dended[: len(dended) - count]
            dsteps, dstarts = use.back(np.zeros(shape, self.dtype) if dsteps is None else dsteps, dlast, own)
            dlast, shape, dstates = None, dsteps.shape, [*dstarts, *dstates]
        assert dsteps is not None
        dx = np.ascontiguousarray(dsteps[:, ::-1]) if self.go_backwards else dsteps
        return [dx, *dstates] if self.takes_several else dx

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return constructor_arguments(self, skip=("input_shape", "input_dim", "activity_regularizer", "unroll"))

    def _states_before(self, x: np.ndarray) -> list[np.ndarray]:
        carried = self.carried_for(len(x))
        if carried is None:
            return [np.zeros((len(x), size), x.dtype) for size in self.state_sizes]
        return np.split(carried, np.cumsum(self.state_sizes)[:-1], axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        """(N, outputs), or (N, T, outputs); with the states, a list."""
        n, steps = (input_shape[0] if self.takes_several else input_shape)[:2]
        y = (n, steps, self.width) if self.return_sequences else (n, self.width)
        return [y, *((n, size) for size in self.state_sizes)] if self.return_state else y


class StackedRNNCells(Layer):
    """Several cells in one `RNN`, the first one first."""

    def __init__(self, cells: Any, **kwargs: Any):
        super().__init__(**kwargs)
        self.cells = [_cell(cell) for cell in cells]


class Cell(Layer):
    """One step of a recurrent layer that is here: in an `RNN` that layer does it, for all steps together.

    Parameters: those of the layer, as far as they mean a step.
    """

    layer_class: type[Recurrent]

    def __init__(self, units: int, *args: Any, name: str | None = None, trainable: bool = True, **kwargs: Any):
        super().__init__(name=name, trainable=trainable)
        self.layer = self.layer_class(units, *args, **{**kwargs, "return_sequences": True, "return_state": True})
        self.layer.takes_several = True
        self.units = units
        self.state_size: Any = [units] * self.layer.states if self.layer.states > 1 else units

    def build(self, input_shape: Any) -> None:
        """Create the weights."""
        self.layer.build([(None, None, input_shape[-1]), *[(None, self.units)] * self.layer.states], "", self)

    def __call__(self, x: Any, training: bool | None = None) -> Any:
        """Nothing: an RNN asks the layer for all steps."""
        advice = f"give it to RNN, or call {self.layer_class.__name__}(return_state=True) on a sequence of one step"
        raise ValueError(f"{self.label}: is no layer for a single step here; {advice}")

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        of_sequences = ("return_sequences", "return_state", "go_backwards", "stateful", "zero_output_for_mask")
        return {name: value for name, value in self.layer.get_config().items() if name not in of_sequences}


class LSTMCell(Cell):
    """A step of `minitl.layers.LSTM`."""

    layer_class = LSTM


class GRUCell(Cell):
    """A step of `minitl.layers.GRU`."""

    layer_class = GRU


class SimpleRNNCell(Cell):
    """A step of `minitl.layers.SimpleRNN`."""

    layer_class = SimpleRNN


class _Use(NamedTuple):
    """One cell on a whole sequence: y (N, T, outputs), its last step that counts, the states behind it, and the way back.

    `back(dy, dlast, dstates)` gives the gradients of the sequence and of the states before it; the last two may be None.
    """

    y: np.ndarray
    last: np.ndarray
    states: list[np.ndarray]
    back: Callable[[np.ndarray, Any, list[Any]], tuple[np.ndarray, list[np.ndarray]]]


def _run_built_in(
    cell: Cell, x: np.ndarray, states: list[np.ndarray], mask: np.ndarray | None, zeros: bool, training: bool
) -> _Use:
    layer = cell.layer
    layer.masked, layer.zero_output_for_mask = mask is not None, zeros
    if mask is not None and (silent := mask & ~x.any(axis=-1)).any():  # steps that count, and happen to be zeros
        x = x.copy()
        x[silent, 0] = np.finfo(x.dtype).tiny
    (y, *ended), cache = layer.run([np.ascontiguousarray(x), *states], cell.parameters, training)

    def back(dy: np.ndarray, dlast: Any, dstates: list[Any]) -> tuple[np.ndarray, list[np.ndarray]]:
        if dlast is not None:  # the last output is the first state
            dstates = [dlast if dstates[0] is None else dlast + dstates[0], *dstates[1:]]
        need = Need((True,) * (1 + len(states)), cell.trainable)
        (dx, *dstarts), cell.gradients = layer.back([dy, *dstates], cache, need)
        return dx, dstarts

    return _Use(y, ended[0], ended, back)


def _run_own(cell: Any, x: np.ndarray, states: list[np.ndarray], mask: np.ndarray | None, zeros: bool, training: bool) -> _Use:
    twin, weights = twin_of(cell)
    steps, starts = [Traced(x[:, t]) for t in range(x.shape[1])], [Traced(state) for state in states]
    settings: dict[str, Any] = {"training": training} if takes_training(type(cell).call) else {}
    outputs: list[Any] = []
    last, now = None, list(starts)
    with recording(training):
        for t, step in enumerate(steps):
            output, after = twin.call(step, now, **settings)
            after = list(after) if isinstance(after, (list, tuple)) else [after]
            if [np.shape(state) for state in after] != [np.shape(state) for state in now]:
                wanted = [np.shape(state) for state in now]
                raise ValueError(f"{cell.label}: gave states of shapes {[np.shape(s) for s in after]}; state_size says {wanted}")
            if mask is not None:  # a step that is left out changes nothing
                counts = mask[:, t, None]
                after = [np.where(counts, new, old) for new, old in zip(after, now, strict=True)]
                output = output * counts if last is None else np.where(counts, output, last)
            outputs.append(output)
            last, now = output, after
    y = np.stack([plain(output) for output in outputs], axis=1)
    counted = mask[:, :, None] if mask is not None and zeros else None
    if counted is not None:
        y = y * counted

    def back(dy: np.ndarray, dlast: Any, dstates: list[Any]) -> tuple[np.ndarray, list[np.ndarray]]:
        dy = dy if counted is None else dy * counted
        pairs = [*zip(outputs, np.moveaxis(dy, 1, 0), strict=True), (last, dlast), *zip(now, dstates, strict=True)]
        found = gradients(end_of(cell, pairs), [*weights.values(), *steps, *starts])
        cell.gradients = dict(zip(weights, found, strict=False))
        dx = np.stack(found[len(weights) : len(weights) + len(steps)], axis=1)
        return dx, found[len(weights) + len(steps) :]

    return _Use(y, plain(last), [plain(state) for state in now], back)


def _cells_of(cell: Any) -> list[Any]:
    cells = list(cell) if isinstance(cell, (list, tuple)) else [_cell(cell)]
    if len(cells) == 1 and isinstance(cells[0], StackedRNNCells):
        cells = cells[0].cells
    cells = [_cell(one) for one in cells]
    if not cells or len(set(map(id, cells))) < len(cells):
        raise ValueError(f"RNN: needs cells, each of them once, got {cells}")
    return cells


def _cell(cell: Any) -> Any:
    cell = decode("layer", cell, layer_classes())
    if isinstance(cell, StackedRNNCells):
        return cell
    if not (isinstance(cell, Layer) and hasattr(cell, "state_size") and (cell.has_call or isinstance(cell, Cell))):
        wanted = "a layer with state_size and call(inputs, states), LSTMCell, GRUCell, SimpleRNNCell, or a list of them"
        raise TypeError(f"RNN: a cell is {wanted}; got {cell!r}")
    return cell


def _sizes(cell: Any) -> list[int]:
    sizes = cell.state_size if isinstance(cell.state_size, (list, tuple)) else [cell.state_size]
    return [int(size[-1] if isinstance(size, (list, tuple)) else size) for size in sizes]
