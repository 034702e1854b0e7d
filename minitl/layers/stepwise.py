"""What layers share that go through sequences step by step, from a state that may be given, and carried on."""

from __future__ import annotations

from typing import Any

import numpy as np

from minitl.graph.value import values_in
from minitl.layers.base import Shape
from minitl.layers.masking import LeavesOut


class Stepwise(LeavesOut):
    """What layers share that go through sequences with a state.

    Attributes: `state_sizes`, the lengths of a state's arrays; `return_sequences`, `return_state`, `go_backwards`, `stateful` and
    `zero_output_for_mask` as the constructors say; `carried`, the state behind the last batch of a stateful layer.
    """

    return_sequences = return_state = go_backwards = stateful = False
    zero_output_for_mask = False
    carried: np.ndarray | None = None
    state_sizes: Any

    @property
    def supports_masking(self) -> bool:  # type: ignore[override]
        """If it gives all steps."""
        return self.return_sequences

    @property
    def passes_mask(self) -> bool:
        """Whether steps that it leaves out are left out behind it, too."""
        return self.return_sequences and self.masked and self.zero_output_for_mask

    def __call__(  # type: ignore[override]
        self, x: Any, training: bool | None = None, initial_state: Any = None, mask: Any = None,
    ) -> Any:  # fmt: skip
        """y, or the list of y and the state; on arrays or on values. Steps where `mask` (N, T) is false are left out."""
        if initial_state is not None:
            x = [x, *(initial_state if isinstance(initial_state, (list, tuple)) else [initial_state])]
        given = isinstance(x, (list, tuple)) and np.ndim(x[0]) == 3
        if given and len(x) != 1 + len(self.state_sizes):
            wanted = f"{len(self.state_sizes)} array(s) {self._shapes_of_a_state()}"
            raise ValueError(f"{self.label}: a state is {wanted}, got {len(x) - 1}")
        if given and self.stateful:
            raise ValueError(f"{self.label}: a stateful layer goes on from its own state; give initial_state to another one")
        if not self.built:
            self.takes_several = given
            first = x[0] if given else x
            if values_in(x) is None and np.ndim(first) == 3:  # arrays, of which the next may have another number of steps
                steps = (None, None, np.shape(first)[2])
                self.ensure_built([steps, *((None, *np.shape(state)[1:]) for state in x[1:])] if given else steps)
        elif given != self.takes_several:
            missing = "without" if given else "with"
            raise ValueError(f"{self.label}: was first called {missing} initial_state; give one at every call, or at none")
        return super().__call__(x, training, mask)

    def reset_states(self) -> None:
        """Let the next batch begin with zeros, if the layer is stateful."""
        self.carried = None

    reset_state = reset_states

    def shape_of_sequences(self, input_shape: Any) -> Shape:
        """The shape of the sequences alone.

        Errors: ValueError for something else than sequences, or states of other lengths.
        """
        if self.takes_several:
            input_shape, *states = input_shape
            if [tuple(state[1:]) for state in states] != [(size,) for size in self.state_sizes]:
                sizes = ", ".join(map(str, dict.fromkeys(self.state_sizes)))
                raise ValueError(f"initial_state must be {self._shapes_of_a_state()} for {sizes} units, got {states}")
        if len(input_shape) != 3 or input_shape[2] is None:
            raise ValueError(f"needs sequences (N, T, C) with known C, got {input_shape}")
        return input_shape

    def carried_for(self, n: int) -> np.ndarray | None:
        """The state in which a batch of so many sequences begins, side by side; None for zeros.

        Errors: ValueError for another number of sequences than that of the batch before.
        """
        if self.carried is not None and len(self.carried) != n:
            raise ValueError(
                f"{self.label}: a stateful layer goes on with {len(self.carried)} sequences, got {n}; give batches of one size, "
                "or call reset_states() between them"
            )
        return self.carried

    def _shapes_of_a_state(self) -> str:
        return ", ".join(dict.fromkeys(f"(N, {size})" for size in self.state_sizes))
