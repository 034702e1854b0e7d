"""Training steps on text against PyTorch: Kim's sentence network, the tagger with a chain, GRU and LSTM.

    python benchmarks/text.py [--rounds 7] [--only GRU]

Each engine has a process of its own with two threads; rounds alternate; the median of the rounds' times per step is printed.
Both do the same: forward, backward, one step of Adam. Embeddings learn in the sentence network and are frozen in the tagger.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Callable
from typing import Any

import numpy as np

CASES = {
    "Kim's sentence network, batch 50, 40 words": ("kim", 50, 40),
    "tagger, two convolutions and a chain, batch 16, 25 words": ("tagger", 16, 25),
    "tagger, dilations of 1, 2, 4 and 8, batch 32, 25 words": ("dilated", 32, 25),
    "GRU, 128 units, batch 32, 50 steps": ("gru", 32, 50),
    "LSTM, 128 units, batch 32, 50 steps": ("lstm", 32, 50),
}
WORDS, UNITS, LABELS = 15000, 100, 9
CONVOLUTIONS = {"tagger": ((5, 1), (3, 1)), "dilated": ((3, 1), (3, 2), (3, 4), (3, 8))}  # taps and dilation, of taggers


def data(kind: str, batch: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """A batch of word numbers, or of vectors, and its labels."""
    random = np.random.default_rng(0)
    if kind in ("gru", "lstm"):
        return random.normal(size=(batch, length, UNITS)).astype(np.float32), random.integers(0, 2, batch)
    x = random.integers(2, WORDS, (batch, length))
    return x, random.integers(0, LABELS, x.shape) if kind in CONVOLUTIONS else random.integers(0, 2, batch)


def ours(kind: str, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    """A step of minitl."""
    from minitl.layers import GRU, LSTM, Concatenate, Conv1D, Dense, Dropout, Embedding, GlobalMaxPooling1D, Input, Transitions
    from minitl.models import Model
    from minitl.optimizers import Adam

    if kind in ("gru", "lstm"):
        inputs = Input(x.shape[1:])
        outputs = Dense(2, activation="softmax")((GRU if kind == "gru" else LSTM)(128)(inputs))
    else:
        inputs = Input((None,), dtype="int32")
        v = Embedding(WORDS, UNITS, trainable=kind == "kim")(inputs)
        if kind == "kim":
            found = [GlobalMaxPooling1D()(Conv1D(100, k, activation="relu")(v)) for k in (3, 4, 5)]
            outputs = Dense(2, activation="softmax")(Dropout(0.5)(Concatenate()(found)))
        else:
            for k, d in CONVOLUTIONS[kind]:
                v = Dropout(0.5)(Conv1D(200, k, padding="same", dilation_rate=d, activation="relu")(v))
            outputs = Transitions()(Dense(LABELS)(v))
    model = Model(inputs, outputs)
    model.compile(Adam(1e-3), "chain_crossentropy" if kind in CONVOLUTIONS else "sparse_categorical_crossentropy")
    return lambda: model.train_on_batch(x, y)


def theirs(kind: str, x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    """A step of PyTorch."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(2)

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(WORDS, UNITS)
            self.words.weight.requires_grad_(kind == "kim")
            same, sizes = kind != "kim", CONVOLUTIONS.get(kind, ((3, 1), (4, 1), (5, 1)))
            inputs, filters = ((UNITS, *[200] * (len(sizes) - 1)), 200) if same else ((UNITS,) * 3, 100)
            self.convolutions = nn.ModuleList(
                [
                    nn.Conv1d(c, filters, k, padding=same * d * (k // 2), dilation=d)
                    for c, (k, d) in zip(inputs, sizes, strict=True)
                ]
            )
            self.recurrent = (nn.GRU if kind == "gru" else nn.LSTM)(UNITS, 128, batch_first=True)
            self.dense = nn.Linear({"kim": 300, "gru": 128, "lstm": 128}.get(kind, 200), LABELS if kind in CONVOLUTIONS else 2)
            self.transitions = nn.Parameter(torch.zeros(LABELS, LABELS))

        def forward(self, x: Any) -> Any:
            if kind in ("gru", "lstm"):
                return self.dense(self.recurrent(x)[0][:, -1])
            v = self.words(x).transpose(1, 2)
            if kind == "kim":
                found = [torch.relu(one(v)).amax(2) for one in self.convolutions]
                return self.dense(functional.dropout(torch.cat(found, 1), 0.5))
            for one in self.convolutions:
                v = functional.dropout(torch.relu(one(v)), 0.5)
            return self.dense(v.transpose(1, 2))

    network = Network()
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], 1e-3)
    a, b = torch.tensor(x), torch.tensor(y)

    def chain(scores: Any) -> Any:
        right = scores.gather(2, b[..., None]).sum((1, 2)) + network.transitions[b[:, :-1], b[:, 1:]].sum(1)
        alpha = scores[:, 0]
        for step in range(1, scores.shape[1]):
            alpha = torch.logsumexp(alpha[:, :, None] + network.transitions, 1) + scores[:, step]
        return (torch.logsumexp(alpha, 1) - right).mean()

    def step() -> float:
        scores = network(a)
        loss = chain(scores) if kind in CONVOLUTIONS else functional.cross_entropy(scores, b)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def serve(pipe: Any, engine: str, case: tuple[str, int, int]) -> None:
    """Answer requests for so many steps with the seconds per step."""
    kind, batch, length = case
    step = (ours if engine == "minitl" else theirs)(kind, *data(kind, batch, length))
    for _ in range(5):
        step()
    pipe.send(0.0)
    while count := pipe.recv():
        started = time.perf_counter()
        for _ in range(count):
            step()
        pipe.send((time.perf_counter() - started) / count)


def compare(case: tuple[str, int, int], rounds: int) -> dict[str, float]:
    """The median seconds per step of both engines."""
    context = multiprocessing.get_context("spawn")
    pipes = {}
    for engine in ("minitl", "PyTorch"):
        pipes[engine], other = context.Pipe()
        context.Process(target=serve, args=(other, engine, case), daemon=True).start()
        pipes[engine].recv()
    times: dict[str, list[float]] = {engine: [] for engine in pipes}
    for _ in range(rounds):
        for engine, pipe in pipes.items():
            pipe.send(30)
            times[engine].append(pipe.recv())
    for pipe in pipes.values():
        pipe.send(0)
    return {engine: float(np.median(found)) for engine, found in times.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", nargs="+", default=[""], help="parts of titles")
    arguments = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "2")
    print(f"{'':<60}{'minitl ms':>10}{'PyTorch ms':>12}{'ratio':>8}")
    for title, case in CASES.items():
        if any(part in title for part in arguments.only):
            found = compare(case, arguments.rounds)
            ratio = found["minitl"] / found["PyTorch"]
            print(f"{title:<60}{1e3 * found['minitl']:>10.2f}{1e3 * found['PyTorch']:>12.2f}{ratio:>8.2f}", flush=True)
