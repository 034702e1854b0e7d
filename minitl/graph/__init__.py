"""The network as a graph: what is connected with what (`value`, `graph`), and what one pass through it computed (`run`).

    value.py    Value, what a layer called on a value returns; Node, one use of a layer
    graph.py    Graph: the nodes between some inputs and outputs, in the order in which they can run
    plan.py     Plan: the steps of a graph, which of them keep a cache, and which gradients are asked for
    run.py      Run: one forward and backward pass; it owns every cache

Layers describe, a run computes: nothing here is stored on a layer, so that any number of runs of one model may be under way.
"""
