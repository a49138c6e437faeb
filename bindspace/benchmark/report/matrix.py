"""The retrieval matrix as a heat map: rows are query modalities, columns gallery modalities, cells are recall@k."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bindspace.benchmark.emergent import EMERGENT, TRAINED

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

FRAME = "#d9480f"  # of emergent cells: not a colour of the scale
PAPER = "#ffffff"
INK = "#1f2328"


def matrix_png(report: Mapping[str, Any]) -> bytes:
    """Recall of every ordered pair as a heat map: the bytes of a PNG file."""
    buffer = io.BytesIO()
    draw_matrix(report).savefig(buffer, format="png", dpi=150, facecolor=PAPER)
    return buffer.getvalue()


def draw_matrix(report: Mapping[str, Any]) -> Figure:
    """The heat map as a matplotlib figure, made without pyplot, so that no global state changes."""
    from matplotlib.figure import Figure

    names = list(report["protocol"]["modalities"])
    side = max(5.2, 2.4 + 0.95 * len(names))
    figure = Figure(figsize=(side + 0.9, side + 0.9), layout="constrained")
    axes = figure.add_subplot()
    _draw_cells(axes, report, names)
    _draw_axes(axes, names)
    _draw_words(figure, axes, report)
    return figure


def _draw_cells(axes: Axes, report: Mapping[str, Any], names: list[str]) -> None:
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    colours = colormaps["GnBu"]
    k = str(report["protocol"]["primary_k"])
    for i in range(len(names)):
        axes.add_patch(Rectangle((i - 0.5, i - 0.5), 1, 1, facecolor="#eceff1", edgecolor=PAPER))
    for cell in report["pairs"]:
        y, x = names.index(cell["query"]), names.index(cell["gallery"])
        value = cell["recall"][k]
        dark = value > 0.6
        colour = colours(0.05 + 0.9 * value)
        axes.add_patch(Rectangle((x - 0.5, y - 0.5), 1, 1, facecolor=colour, edgecolor=PAPER, linewidth=1.5, zorder=1))
        _mark(axes, x, y, cell["status"], dark)
        style: dict[str, Any] = {"ha": "center", "color": PAPER if dark else INK, "zorder": 4}
        axes.text(x, y - 0.02, f"{100 * value:.0f}", va="center", fontsize=15, fontweight="bold", **style)
        low, high = cell["ci95"][k]
        axes.text(x, y + 0.29, f"{100 * low:.0f}–{100 * high:.0f}", va="center", fontsize=8, **style)


def _mark(axes: Axes, x: int, y: int, status: str, dark: bool) -> None:
    """Emergent cells are framed, trained cells hatched; other cells are labelled with their status."""
    from matplotlib.patches import Rectangle

    inner = (x - 0.45, y - 0.45)
    if status in TRAINED:
        colour = (1, 1, 1, 0.35) if dark else (0, 0, 0, 0.13)
        axes.add_patch(
            Rectangle((x - 0.5, y - 0.5), 1, 1, fill=False, hatch="///", edgecolor=colour, linewidth=0, zorder=2)
        )
    elif status in EMERGENT:
        style = "-" if status == "emergent" else (0, (4, 2))
        frame = Rectangle(inner, 0.9, 0.9, fill=False, edgecolor=FRAME, linewidth=2.6, linestyle=style, zorder=3)
        axes.add_patch(frame)
    if status not in ("emergent", "trained"):
        axes.text(x, y - 0.31, status, ha="center", va="center", fontsize=6.5, color=PAPER if dark else INK, zorder=4)


def _draw_axes(axes: Axes, names: list[str]) -> None:
    axes.set_xlim(-0.5, len(names) - 0.5)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_aspect("equal")
    turned: dict[str, Any] = (
        {"rotation": 35, "ha": "left", "rotation_mode": "anchor"} if max(map(len, names)) > 9 else {}
    )
    axes.set_xticks(range(len(names)), names, fontsize=11, **turned)
    axes.set_yticks(range(len(names)), names, fontsize=11)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel("gallery modality", fontsize=10, color="#57606a", labelpad=8)
    axes.set_ylabel("query modality", fontsize=10, color="#57606a", labelpad=8)
    axes.tick_params(length=0, colors=INK)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _draw_words(figure: Figure, axes: Axes, report: Mapping[str, Any]) -> None:
    from matplotlib.patches import Patch

    k = report["protocol"]["primary_k"]
    levels = [cell["chance"][str(k)] for cell in report["pairs"]]
    low, high = (f"{100 * value:.2g}" for value in (min(levels), max(levels)))
    by_chance = low if low == high else f"{low}–{high}"
    figure.suptitle(
        f"Retrieval matrix: R@{k} in %\n{report['protocol']['pool']} events; chance {by_chance} %",
        fontsize=12,
        color=INK,
    )
    statuses = {cell["status"] for cell in report["pairs"]}
    handles = []
    if statuses & set(EMERGENT):
        dashed = " (dashed: see the label)" if statuses & set(EMERGENT[1:]) else ""
        solid = f"never trained together: emergent{dashed}"
        handles.append(Patch(facecolor="none", edgecolor=FRAME, linewidth=2.2, label=solid))
    if statuses & set(TRAINED):
        handles.append(
            Patch(facecolor="#d8eef0", edgecolor="#8a9aa0", hatch="///", linewidth=0, label="trained together")
        )
    handles.append(Patch(facecolor="none", edgecolor="none", label="small numbers: 95 % interval"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=3 if len(report["protocol"]["modalities"]) > 4 else 1,
        fontsize=9,
        frameon=False,
    )
