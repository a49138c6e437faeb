"""Plots of the results: the effect of each option, and the effect of the pivot."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt
from plan import Recipe

Groups = dict[str, list[dict[str, Any]]]
FIGURE = "val/audio-text/r10"
PIVOT = "val/image-text/r10"
UNSEEN = "audio-text/r10"


def draw_levers(explored: Groups, recipes: dict[str, Recipe], path: Path) -> None:
    """Each recipe's R@10 between audio and text on validation, a dot a seed; the band is the default's range.

    A cross is the same with held-out combinations.
    """
    shown = {name: [line["val"][FIGURE] for line in group] for name, group in explored.items() if _has(group, FIGURE)}
    shown = {name: values for name, values in shown.items() if recipes[name].group != "pivot"}
    if len(shown) < 2:
        return
    order = sorted(shown, key=lambda name: statistics.fmean(shown[name]))
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.28 * len(order)), layout="constrained")
    for row, name in enumerate(order):
        unseen = [line["new_combinations"][UNSEEN] for line in explored[name]]
        for values, marker in ((shown[name], "o"), (unseen, "x")):
            axes.plot([100 * value for value in values], [row] * len(values), marker, color=_colour(recipes[name]))
    if "default" in shown:
        axes.axvspan(100 * min(shown["default"]), 100 * max(shown["default"]), alpha=0.15, color="grey")
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel("R@10 between audio and text, % (dots: validation; crosses: held-out combinations)")
    axes.grid(axis="x", alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def draw_pivot(explored: Groups, recipes: dict[str, Recipe], path: Path) -> None:
    """Emergent recall against the pivot's recall of text: the same recipe on pivots trained for different lengths."""
    points = []
    for name, group in explored.items():
        parent = recipes[name].extends
        if parent is None or recipes[name].train != recipes["default"].train:
            continue
        pivots = {line["seed"]: line["val"].get(PIVOT) for line in explored.get(parent.name, [])}
        points += [(pivots[line["seed"]], line["val"][FIGURE]) for line in group if pivots.get(line["seed"])]
    if len(points) < 2:
        return
    figure, axes = plt.subplots(figsize=(5, 4), layout="constrained")
    axes.plot([100 * x for x, _ in points], [100 * y for _, y in points], "o")
    axes.set_xlabel("pivot: R@10 between image and text, %")
    axes.set_ylabel("emergent: R@10 between audio and text, %")
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _has(group: list[dict[str, Any]], figure: str) -> bool:
    return all(figure in line["val"] for line in group)


def _colour(recipe: Recipe) -> str:
    return {"reference": "tab:red", "joint": "tab:green"}.get(recipe.group, "tab:blue")
