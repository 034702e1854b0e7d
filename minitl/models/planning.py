"""How a model's graph becomes a plan: which layers run together, what models inside it are told, and what may be recorded."""

from __future__ import annotations

from collections.abc import Collection

from minitl.backend import get_backend
from minitl.graph import rules
from minitl.graph.graph import Graph
from minitl.graph.plan import Plan
from minitl.graph.replay import replays_of
from minitl.graph.training_replay import training_replays_of
from minitl.graph.value import Value
from minitl.models.step import ModelStep


def plan_of(
    graph: Graph, fuse: bool, fold: bool, keep: bool, need_dx: tuple[bool, ...], joint: Collection[Value], added_losses: bool
) -> Plan:
    """The plan for one kind of pass; `fold` is for inference, when no backward pass will follow."""
    fused = fuse and get_backend() == "numba"
    plan = Plan(graph, rules.steps(graph, fused, fold, joint, added_losses), keep, need_dx)
    for step in plan.steps:
        if isinstance(step, ModelStep):
            step.fuse, step.adds_loss = fuse, added_losses
    if fused and fold:
        plan.replays = replays_of(plan.steps)
    elif fused and keep:
        plan.replays = training_replays_of(plan.steps)
    return plan
