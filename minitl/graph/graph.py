"""A graph: the nodes between some inputs and some outputs, in an order in which each finds its inputs made."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

from minitl.graph.value import Node, Value


class Graph:
    """The part of a network that leads from `inputs` to `outputs`, and to `added_losses`, which join the loss and nothing else.

    Attributes: `nodes` in the order of a pass (a node's inputs are made before it; that order depends on the connections
    alone), `consumers` of every value, `layers` as Keras orders them: from the inputs to the outputs, by depth.
    Errors: ValueError for an output that needs a value which is no input, or an input that no output depends on.
    """

    settings: list[tuple[Callable[[Any], Any], Any]] | None = None  # how `rules` reads them, and of which layers, once it has
    marks: list[Any] | None = None  # who marks steps of the outputs as not there, once `masks` looked

    def __init__(
        self, inputs: Sequence[Value], outputs: Sequence[Value], label: str = "Model", added_losses: Sequence[Value] = ()
    ):
        self.inputs, self.outputs, self.added_losses = tuple(inputs), tuple(outputs), tuple(added_losses)
        for kind, values in (("inputs", inputs), ("outputs", outputs)):
            for value in values:
                if not isinstance(value, Value):
                    advice = "call layers on Input(...) and on what they return"
                    raise TypeError(f"{label}: {kind} must be values, got {type(value).__name__}; {advice}")
        if len(set(map(id, inputs))) != len(inputs):
            raise ValueError(f"{label}: an input is given twice")
        self.of_outputs = self._in_order(self.outputs, label)  # what `predict` needs
        self.nodes = self._in_order((*self.outputs, *self.added_losses), label) if self.added_losses else self.of_outputs
        self.consumers: dict[Value, list[Node]] = {value: [] for node in self.nodes for value in node.outputs}
        self.consumers.update({value: [] for value in self.inputs})
        for node in self.nodes:
            for value in node.inputs:
                self.consumers[value].append(node)
        for value in self.inputs:
            if not self.consumers[value] and value not in self.outputs:
                raise ValueError(f"{label}: no output depends on the input {value!r}; leave it out, or connect it")
        self.layers = self._by_depth()

    def described(self) -> dict[str, Any]:
        """The graph as lists: `entries` and `nodes` of it, which refer to values by number, inputs first."""
        numbers = {value: number for number, value in enumerate(self.inputs)}
        nodes = []
        for node in self.nodes:
            nodes.append((node.layer, [numbers[value] for value in node.inputs], node.training))
            for value in node.outputs:
                numbers[value] = len(numbers)
        entries = [(value.node.layer, value.shape, value.dtype) for value in self.inputs]
        ends = {"outputs": self.outputs, "added_losses": self.added_losses}
        return {"entries": entries, "nodes": nodes, **{key: [numbers[value] for value in values] for key, values in ends.items()}}

    def __getstate__(self) -> dict[str, Any]:
        # Lists, since following values from node to node would go as deep as the network.
        shapes = [[(value.shape, value.dtype) for value in node.outputs] for node in self.nodes]
        return {"described": self.described(), "shapes": shapes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        described, values = state["described"], []
        for layer, shape, dtype in described["entries"]:
            if hasattr(layer, "value"):
                values.append(layer.value)
            else:  # an input in the middle of another network
                node = Node(layer, (), [shape], [dtype], None)
                values.append(node.outputs[0])
        for (layer, takes, training), outputs in zip(described["nodes"], state["shapes"], strict=True):
            shapes, dtypes = map(list, zip(*outputs, strict=True))
            node = Node(layer, [values[number] for number in takes], shapes, dtypes, training)
            layer.remember(node)
            values += node.outputs
        outputs, added_losses = ([values[number] for number in described[key]] for key in ("outputs", "added_losses"))
        self.__init__(values[: len(described["entries"])], outputs, added_losses=added_losses)  # type: ignore[misc]

    def _in_order(self, values: Sequence[Value], label: str) -> tuple[Node, ...]:
        """Nodes behind their inputs: the outputs' in order, each after what it needs, first input first."""
        made, given = set(), set(self.inputs)
        order: list[Node] = []
        for output in values:
            stack = [] if output in given else [(output.node, iter(output.node.inputs))]
            while stack:
                node, rest = stack[-1]
                if node in made:
                    stack.pop()
                    continue
                for value in rest:
                    if value not in given and value.node not in made:
                        stack.append((value.node, iter(value.node.inputs)))
                        break
                else:
                    if not node.inputs:
                        known = ", ".join(repr(value) for value in self.inputs)
                        raise ValueError(
                            f"{label}: the outputs need {node.outputs[0]!r}, which is not among the inputs ({known}); "
                            "add it to inputs="
                        )
                    made.add(node)
                    order.append(node)
                    stack.pop()
        return tuple(order)

    def _by_depth(self) -> list[Any]:
        """Every layer once: those furthest from the outputs first, as Keras lists them."""
        depth: dict[Any, int] = {}
        of_node: dict[Node, int] = {}
        for node in reversed(self.nodes):
            below = [of_node[consumer] + 1 for value in node.outputs for consumer in self.consumers[value]]
            of_node[node] = max([0, *below])
            depth[node.layer] = max(depth.get(node.layer, 0), of_node[node])
        for node in reversed(self.nodes):  # a layer that is used at several depths counts where it is deepest
            of_node[node] = max(of_node[node], depth[node.layer])
        entries = [value for value in self.inputs if not value.node.inputs]  # a model may begin in the middle of another one
        for value in entries:
            below = [of_node[consumer] + 1 for consumer in self.consumers[value]]
            depth[value.node.layer] = max([depth.get(value.node.layer, 0), *below])
        seen = self._from_outputs()
        return sorted(depth, key=lambda layer: (-depth[layer], seen[layer]))

    def _from_outputs(self) -> dict[Any, int]:
        """When each layer is first met on the way back from the outputs: Keras's order of layers of one depth."""
        seen: dict[Any, int] = {}
        done: set[Node] = set()
        stack = [*self.outputs, *self.added_losses][::-1]
        while stack:
            value = stack.pop()
            seen.setdefault(value.node.layer, len(seen))
            if value.node not in done and value not in self.inputs:
                done.add(value.node)
                stack += value.node.inputs[::-1]
        return seen


def leading_to(value: Value, ends: Collection[Value] = ()) -> set[Value]:
    """The value and all that it depends on, no further than to values of `ends`."""
    found: set[Value] = set()
    waiting = [value]
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += [] if one in ends else one.node.inputs
    return found
