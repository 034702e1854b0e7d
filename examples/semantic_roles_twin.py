"""The tagger of semantic_roles.py in PyTorch, to know what its network and data give in another engine's hands."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from semantic_roles import BATCH, DILATIONS, FAR, joined, prepare
from tagging import Batches
from torch import nn

from minitl.metrics.spans import span_scores, spans_of
from minitl.ops import crf


class Tagger(nn.Module):
    """The same layers; the transitions between labels are a matrix, as in `minitl.layers.Transitions`."""

    def __init__(self, rows: np.ndarray, trainable: bool, speech: int, labels: int, width: int):
        super().__init__()
        self.words = nn.Embedding.from_pretrained(torch.tensor(rows, dtype=torch.float32), freeze=not trainable)
        self.others = nn.ModuleList([nn.Embedding(speech, 16), nn.Embedding(2 * FAR + 2, 20), nn.Embedding(8, 4)])
        for one in self.others:
            nn.init.uniform_(one.weight, -0.05, 0.05)  # type: ignore[union-attr,arg-type]
        self.first = nn.Conv1d(rows.shape[1] + 40, width, 3, padding=1)
        self.convolutions = nn.ModuleList([nn.Conv1d(width, width, 3, padding=d, dilation=d) for d in DILATIONS])
        self.dense = nn.Linear(width, labels)
        self.transitions, self.start = nn.Parameter(torch.zeros(labels, labels)), nn.Parameter(torch.zeros(labels))
        for one in [self.first, *self.convolutions, self.dense]:
            nn.init.xavier_uniform_(one.weight)  # type: ignore[union-attr,arg-type]
            nn.init.zeros_(one.bias)  # type: ignore[union-attr,arg-type]

    def forward(self, inputs: list[torch.Tensor]) -> torch.Tensor:
        """Scores (N, T, labels)."""
        vectors = [self.words(inputs[0]), *(one(x) for one, x in zip(self.others, inputs[1:], strict=True))]
        x = nn.functional.dropout(torch.cat(vectors, -1), 0.3, self.training) * (inputs[0] != 0)[..., None]
        x = torch.relu(self.first(x.transpose(1, 2)))
        for one in self.convolutions:
            x = x + torch.relu(one(nn.functional.dropout(x, 0.2, self.training)))
        scores = self.dense(nn.functional.dropout(x.transpose(1, 2), 0.3, self.training))
        return torch.cat([scores[:, :1] + self.start, scores[:, 1:]], 1)


def chain_loss(scores: torch.Tensor, transitions: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Minus the mean log probability of the right sequences: log Z by the forward algorithm, less the score of the labels."""
    valid = labels >= 0
    safe = labels.clamp(min=0)
    right = (scores.gather(2, safe[..., None])[..., 0] * valid).sum(1)
    right = right + (transitions[safe[:, :-1], safe[:, 1:]] * valid[:, 1:]).sum(1)
    alpha = scores[:, 0]
    for step in range(1, scores.shape[1]):
        new = torch.logsumexp(alpha[:, :, None] + transitions, 1) + scores[:, step]
        alpha = torch.where(valid[:, step, None], new, alpha)
    return (torch.logsumexp(alpha, 1) - right).mean()


def run(sets: list, vectors: list, way: str, seed: int, epochs: int, width: int) -> tuple[float, float]:
    """F1 on dev and on test, at the epoch that was best on dev."""
    torch.manual_seed(seed)
    torch.set_num_threads(2)
    (train, dev, test), rows, speech, names = prepare(sets, vectors, way, seed)
    model = Tagger(rows, way != "static", len(speech) + 2, len(names), width)
    batches = Batches(train.inputs, train.labels, BATCH, seed)
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], 1e-3, eps=1e-7)
    total = epochs * len(batches)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / total))
    best = (-1.0, -1.0)
    for _ in range(epochs):
        model.train()
        for k in range(len(batches)):
            x, y = batches[k]
            loss = chain_loss(model([torch.tensor(one) for one in x]), model.transitions, torch.tensor(y))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 5.0)
            optimizer.step()
            schedule.step()
        batches.on_epoch_end()
        best = max(best, (f1(model, dev, names), f1(model, test, names)))
    return best


def f1(model: Tagger, data: Any, names: list[str]) -> float:
    """Of whole arguments, in per cent; minitl's Viterbi decodes."""
    model.eval()
    batches, found = Batches(data.inputs, data.labels, 64, shuffle=False), [[""]] * len(data.labels)
    with torch.no_grad():
        for rows, k in zip(batches.rows, range(len(batches)), strict=True):
            x, y = batches[k]
            scores = model([torch.tensor(one) for one in x]).numpy()
            chain = scores[:, :, None] + model.transitions.numpy()
            chain[:, 0] = scores[:, 0, None]
            for row, numbers in zip(rows, crf.decode(chain, (y >= 0).sum(axis=1)), strict=True):
                found[row] = [names[number] for number in numbers if number >= 0]
    return 100 * span_scores(data.arguments, (joined(spans_of(tags)) for tags in found))["f1"]
