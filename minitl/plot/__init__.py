"""Figures: curves, filters, confusion, images. Each function returns the figure, and saves it when given a path.

Matplotlib is loaded at the first call, and no window is opened.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from minitl.plot.comparisons import comparison, interval, label_ends, panels
from minitl.plot.style import COLOURS, finish, note
from minitl.plot.style import figure as figure_of

__all__ = [
    "COLOURS", "augmentation", "comparison", "confusion", "dataset", "explanation", "features", "figure_of", "filters", "finish",
    "gradients", "history", "images", "interval", "label_ends", "model", "note", "panels", "rates", "reliability", "save",
]  # fmt: skip


def history(record: Any, path: str | os.PathLike | None = None) -> Any:
    """The curves of a History: a panel for every number, training and validation together."""
    names = [name for name in record.history if not name.startswith("val_")]
    figure, axes = figure_of(1, max(1, len(names)), 4.2, 3.2)
    for ax, name in zip(axes, names, strict=True):
        epochs = [epoch + 1 for epoch in record.epoch]
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            values = record.history.get(key, [])
            if values:
                ax.plot(epochs[-len(values) :], values, marker="o" if len(values) < 30 else None, ms=3, label=label)
        for phase, first in record.phases:
            ax.axvline(first + 0.5, color="0.6", lw=0.8, ls="--")
            ax.text(
                first + 0.6, 0.02, phase, transform=ax.get_xaxis_transform(), rotation=90, fontsize=7, color="0.4", va="bottom"
            )
        ax.set(xlabel="epoch", title=name.replace("_", " "))
        ax.grid(alpha=0.3)
        ax.legend(frameon=False)
    return finish(figure, path)


def confusion(matrix: np.ndarray, classes: Sequence[str] | None = None, path: str | os.PathLike | None = None) -> Any:
    """A confusion matrix: rows are the true classes, each shown as shares of its samples."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    names = list(classes) if classes is not None else [str(i) for i in range(len(matrix))]
    figure, (ax,) = figure_of(1, 1, 1.5 + 0.55 * len(matrix), 1.2 + 0.5 * len(matrix))
    image = ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    ax.set(xlabel="predicted", ylabel="true", xticks=range(len(names)), yticks=range(len(names)))
    ax.set_xticklabels(names, rotation=45, ha="right")
    ax.set_yticklabels(names)
    if len(matrix) <= 20:
        for i in range(len(matrix)):
            for j in range(len(matrix)):
                ink = "white" if share[i, j] > 0.5 else "black"
                ax.text(j, i, f"{100 * share[i, j]:.0f}", ha="center", va="center", color=ink, fontsize=8)
    figure.colorbar(image, ax=ax, shrink=0.8, label="share of the true class")
    return finish(figure, path)


def filters(kernel: np.ndarray, path: str | os.PathLike | None = None) -> Any:
    """A convolution's kernels as small images: in colour when it looks at three channels, else channel 0 in grey.

    Shapes: (K_h, K_w, C, F).
    Errors: ValueError for another number of axes.
    """
    if kernel.ndim != 4:
        raise ValueError(f"plot.filters: expected a kernel (K_h, K_w, C, F), got shape {kernel.shape}")
    colour = kernel.shape[2] == 3
    pictures = kernel.transpose(3, 0, 1, 2) if colour else kernel[:, :, 0].transpose(2, 0, 1)
    scale = np.abs(pictures).max(axis=tuple(range(1, pictures.ndim)), keepdims=True)
    return images(0.5 + 0.5 * pictures / np.maximum(scale, 1e-12), None, path, size=0.7)


def images(
    x: np.ndarray, titles: Sequence[str] | None = None, path: str | os.PathLike | None = None, columns: int = 8, size: float = 1.1
) -> Any:
    """A sheet of images with titles.

    Shapes: (N, H, W, 3), (N, H, W, 1) or (N, H, W); uint8, or floats in 0 .. 1.
    """
    rows = -(-len(x) // columns)
    figure, axes = figure_of(rows, columns, size * columns, (size + (0.25 if titles is not None else 0)) * rows)
    for ax in axes:
        ax.axis("off")
    for i, picture in enumerate(x):
        axes[i].imshow(picture.squeeze() if picture.shape[-1] == 1 else picture, cmap="gray", interpolation="nearest")
        if titles is not None:
            axes[i].set_title(str(titles[i]), fontsize=8, pad=2, loc="left")
    return finish(figure, path)


def augmentation(generator: Any, x: Any = None, draws: int = 16, path: str | os.PathLike | None = None, seed: int = 0) -> Any:
    """One image under many draws of an ImageDataGenerator, itself first.

    Shapes: x (H, W, C), 0 .. 255; without it, `generator` is an iterator (`flow`, `flow_from_directory`), whose first
    image is taken.
    Errors: TypeError for another kind of generator.
    """
    if x is None:
        if not hasattr(generator, "pictures"):
            raise TypeError("plot.augmentation: give an iterator over pictures, or an ImageDataGenerator and a picture")
        x = generator.pictures(np.array([0]))[0]
        generator = generator.image_data_generator
    x = np.asarray(x)
    drawn = [x, *(generator.random_transform(x, seed=seed + i) for i in range(draws - 1))]
    return images(np.clip(np.stack(drawn), 0, 255).astype(np.uint8), ["original"] + [""] * (draws - 1), path)


def dataset(
    x: np.ndarray,
    y: Any,
    classes: Sequence[str] | None = None,
    path: str | os.PathLike | None = None,
    count: int = 40,
    seed: int = 0,
) -> Any:
    """A contact sheet: some images of a data set, drawn by `seed`, with their labels.

    Shapes: x (N, H, W, C) or (N, H, W), y (N,), (N, 1) or one-hot.
    """
    labels = np.asarray(y)
    labels = labels.argmax(axis=1) if labels.ndim == 2 and labels.shape[1] > 1 else labels.reshape(-1)
    rows = np.sort(np.random.default_rng(seed).permutation(len(x))[:count])
    titles = [classes[int(labels[i])] if classes is not None else str(labels[i]) for i in rows]
    return images(np.asarray(x)[rows], titles, path)


def gradients(report: Any, target: Any, x: Any, *more: Any, path: str | os.PathLike | None = None, **how: Any) -> Any:
    """A gradient check in three panels: analytic against numeric, the error by step size, and where x's gradient is wrong.

    The middle one is a V: large steps suffer from truncation, small ones from rounding. A wrong gradient is a floor under it.
    `target`, `x`, `more` and `how` are what `check_gradients` got.
    Errors: as in `check_gradients`.
    """
    from minitl.gradcheck import step_errors

    figure, (scatter, steps, where) = figure_of(1, 3, 12.5, 3.6)
    for tensor in report.tensors:
        if tensor.comparison is not None:
            known = tensor.comparison.trusted
            scatter.plot(tensor.comparison.numeric[known], tensor.comparison.analytic[known], ".", ms=5, label=tensor.name)
    scatter.axline((0, 0), slope=1, color="0.7", lw=1, zorder=0)
    scatter.set(xlabel="numeric", ylabel="analytic", title=f"{report.target}: {'right' if report.ok else 'WRONG'}")
    scatter.legend(frameon=False, fontsize=7)
    sizes, errors = step_errors(target, x, *more, **how)
    steps.loglog(sizes, np.maximum(errors, 1e-16), marker="o", ms=3)
    steps.set(xlabel="step h", ylabel="median relative error", title="one central difference", ylim=(1e-13, 30))
    steps.grid(alpha=0.3)
    found = report.tensors[0].comparison if report.tensors else None
    if found is not None and len(found.shape) == 4:
        error = np.full(found.shape, np.nan)
        error.reshape(-1)[found.picked] = np.where(found.trusted, np.abs(found.analytic - found.numeric), np.nan)
        checked = np.isfinite(error).any(axis=(0, 3))
        error = np.where(checked, np.nanmax(np.where(np.isfinite(error), error, -1.0), axis=(0, 3)), np.nan)
        figure.colorbar(where.imshow(error, cmap="magma_r", vmin=0), ax=where, shrink=0.8)
        where.set(title="largest |analytic - numeric| by pixel", xlabel="column", ylabel="row")
    elif found is not None:
        where.plot(found.picked, np.abs(found.analytic - found.numeric), ".", ms=4)
        where.set(title="|analytic - numeric|", xlabel="coordinate of x", yscale="symlog")
    return finish(figure, path)


def save(figure: Any, path: str | os.PathLike) -> None:
    """Write a matplotlib figure to a file, whole or not at all.

    Errors: OSError from the file system.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    finish(figure, path)


def model(network: Any, path: str | os.PathLike | None = None) -> Any:
    """A network from bottom to top: layers, shapes, parameters, which are frozen, and, as arcs, what skips layers."""
    layers = list(network.named_layers())
    rows = {layer: i for i, (_, layer) in enumerate(layers)}
    skips = [
        (rows[value.node.layer], rows[node.layer])
        for node in network.graph.nodes
        for value in node.inputs
        if {node.layer, value.node.layer} <= set(rows) and abs(rows[node.layer] - rows[value.node.layer]) != 1
    ]
    figure, (ax,) = figure_of(1, 1, 6.4, 0.42 * len(layers) + 0.6)
    for i, (name, layer) in enumerate(layers):
        frozen = bool(layer.weights) and not layer.trainable
        colour = "#9ecae1" if frozen else "#fdd0a2" if layer.weights else "#eeeeee"
        ax.barh(i, 1, height=0.8, color=colour, edgecolor="0.4", lw=0.6)
        shape = "x".join(str(n) for n in (layer.output_shape or ())[1:])
        told = f"{layer.count_params():,} frozen" if frozen else f"{layer.count_params():,}" if layer.weights else ""
        ax.text(0.02, i, f"{name} ({type(layer).__name__})", va="center", fontsize=8)
        ax.text(0.7, i, shape, va="center", ha="center", fontsize=8)
        ax.text(0.98, i, told, va="center", ha="right", fontsize=8)
    for begin, end in skips:
        arrow = {"arrowstyle": "->", "color": "0.3", "lw": 0.8, "connectionstyle": "arc3,rad=0.35"}
        ax.annotate("", xy=(1, end), xytext=(1, begin), arrowprops=arrow)
    ax.set(xlim=(0, 1.25 if skips else 1), xticks=[], yticks=[], title="blue: frozen, orange: learns")
    for spine in ax.spines.values():
        spine.set_visible(False)
    return finish(figure, path)


def explanation(x: np.ndarray, maps: dict[str, np.ndarray], path: str | os.PathLike | None = None) -> Any:
    """Images, and maps of what their classes depend on, side by side: a row per image, a column per method.

    Shapes: x (N, H, W, 3), uint8 or floats in 0 .. 1; maps (N, H, W), each scaled to its largest value.
    """
    figure, axes = figure_of(len(x), 1 + len(maps), 2.1 * (1 + len(maps)), 2.3 * len(x))
    for row, image in enumerate(x):
        place = row * (1 + len(maps))
        axes[place].imshow(image)
        for column, (name, found) in enumerate(maps.items(), 1):
            ax, heat = axes[place + column], found[row]
            ax.imshow(np.asarray(image).mean(axis=-1), cmap="gray", alpha=0.6)
            ax.imshow(heat, cmap="magma", alpha=0.6, vmin=0, vmax=max(float(heat.max()), 1e-12))
            if row == 0:
                ax.set_title(name, fontsize=9)
    for ax in axes:
        ax.axis("off")
    return finish(figure, path)


def features(x: np.ndarray, labels: Any, classes: Sequence[str] | None = None, path: str | os.PathLike | None = None) -> Any:
    """Samples on the two directions in which their features differ most (PCA), coloured by class.

    Shapes: x (N, ...), labels (N,) or (N, 1).
    Errors: ValueError for fewer than two samples or features.
    """
    from minitl.components import pca

    points, labels = pca(x), np.asarray(labels).reshape(-1)
    figure, (ax,) = figure_of(1, 1, 5.0, 4.2)
    for c in np.unique(labels):
        name = classes[c] if classes is not None else str(c)
        ax.plot(*points[labels == c].T, ".", ms=4, alpha=0.7, label=name)
    ax.set(xlabel="first component", ylabel="second component")
    ax.legend(frameon=False, fontsize=7, markerscale=2)
    return finish(figure, path)


def reliability(table: Any, path: str | os.PathLike | None = None) -> Any:
    """What was said against what came true: `calibration.reliability`. On the diagonal, probabilities can be believed."""
    figure, (ax,) = figure_of(1, 1, 4.2, 4.2)
    some, bins = table.counts > 0, len(table.counts)
    ax.plot([0, 1], [0, 1], color="0.6", lw=1, ls="--")
    ax.bar((np.arange(bins) + 0.5) / bins, table.counts / table.counts.sum(), 0.9 / bins, color="0.85", label="share of samples")
    ax.plot(table.confidence[some], table.accuracy[some], marker="o", ms=5, label="accuracy")
    title = f"calibration error {100 * table.error:.1f} %"
    ax.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), title=title, aspect="equal")
    ax.legend(frameon=False, loc="upper left")
    return finish(figure, path)


def rates(found: Any, path: str | os.PathLike | None = None) -> Any:
    """The loss against a rising learning rate, with the suggestion: `rate_finder.find_learning_rate`."""
    figure, (ax,) = figure_of(1, 1, 5.6, 3.4)
    ax.plot(found.rates, found.losses)
    ax.axvline(found.suggestion, color="0.4", lw=1, ls="--")
    ax.text(found.suggestion, ax.get_ylim()[1], f" {found.suggestion:.1e}", va="top", color="0.3")
    ax.set(xscale="log", xlabel="learning rate", ylabel="loss, smoothed")
    ax.grid(alpha=0.3)
    return finish(figure, path)
