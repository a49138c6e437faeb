"""report.html: one page that opens offline, with the matrix, each cell's best and worst queries, and the map.

Nothing is fetched: style, script, pictures and sounds are embedded, and a content security policy enforces it.
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from bindspace.benchmark.cell import Kept, Side
from bindspace.contract import Cell, ModalityConfig
from bindspace.metrics import match, scores

if TYPE_CHECKING:
    from torch import Tensor

    from bindspace.data import Pool

PAGE = Path(__file__).parent / "page"
EXAMPLES = 2  # best and worst queries of each cell
FOUND = 3  # results shown for each query
POINTS = 200  # items per modality on the map
SIDE = 160  # pixels of a picture, at most
TEXT = 300  # characters of a value
WORDS = {
    "unknown": "There is no ledger for these weights: it is unknown which pairs were trained.",
    "trained": "The pair contributed to the loss, in this run or in an ancestor.",
    "declared-trained": "The source of the pretrained weights declares that the pair was trained.",
    "unlinked": "No path of trained pairs connects the two modalities: chance level is expected.",
    "bridged": "The pair was never trained, but some media of a third modality were trained with both.",
    "emergent": "The pair was never trained, according to the ledger.",
    "declared-emergent": "The pair was never trained, according to declarations for the pretrained weights.",
}


class Gallery:
    """Collects in `items` what the page shows of a pool, each item once under a short id: picture, sound or text."""

    def __init__(self, name: str, pool: Pool, items: dict[str, dict[str, str]]) -> None:
        self.name, self.pool, self.items = name, pool, items

    def add(self, name: str, index: int) -> str:
        """The id of an item; a new item is rendered first."""
        key = f"{self.name}/{name}/{index}"
        if key not in self.items:
            config, sample = self.pool.configs[name], self.pool.shown(name, index)
            label = " ".join(self.pool.ids[event] for event in self.pool.items[name][index].event[:3])
            shown = {"name": f"{name} of {label}"}
            if config.cell is Cell.value:
                item = self.pool.items[name][index]
                shown["words"] = str(self.pool.columns[item.source][name].cells[item.cell])[:TEXT]
            elif type(config).show is not ModalityConfig.show:  # `show` is optional in a plugin
                shown["picture"] = _picture(config.show(sample))
            if (sound := config.play(sample)) is not None:
                shown["sound"] = f"data:{sound[1]};base64,{base64.b64encode(sound[0]).decode()}"
            self.items[key] = shown
        return key


def examples(kept: Kept, gallery: Gallery) -> dict[str, list[dict[str, Any]]]:
    """The queries with the best and worst ranks of each `query>gallery`, with their first results."""
    return {
        f"{a}>{b}": _of_cell(kept.sides[a], kept.sides[b], kept.ranks[f"{a}>{b}"][0], gallery)
        for a, b in permutations(kept.sides, 2)
    }


def _of_cell(query: Side, other: Side, rank: Tensor, gallery: Gallery) -> list[dict[str, Any]]:
    positives = match(query.events, other.events)
    order = rank.argsort(stable=True).tolist()
    chosen = dict.fromkeys([*order[:EXAMPLES], *order[-EXAMPLES:]])
    rows = []
    for index in chosen:
        score = scores(query.vectors[index : index + 1], other.vectors)[0]
        right = positives.gallery_P[positives.query_P == index]
        first = score.topk(min(FOUND, len(score))).indices.tolist()
        best = int(right[score[right].argmax()])
        rows.append(
            {
                "query": gallery.add(query.name, index),
                "rank": int(rank[index]),
                "found": [[gallery.add(other.name, each), each in right.tolist()] for each in first],
                "right": None if best in first else gallery.add(other.name, best),
            }
        )
    return rows


def space_map(sides: Mapping[str, Side], pool: Pool, method: str = "pca") -> dict[str, Any]:
    """Points of up to 200 items per modality in the plane: the first two principal components, or openTSNE's layout.

    Raises `UserError` if openTSNE is requested but not installed.
    """
    vectors, owner, labels = [], [], []
    for number, side in enumerate(sides.values()):
        vectors.append(side.vectors[:POINTS])
        owner += [number] * len(vectors[-1])
        labels += [" ".join(pool.ids[event] for event in each[:3]) for each in side.events[:POINTS]]
    stacked = torch.cat(vectors)
    plane, words = _tsne(stacked) if method == "tsne" else _pca(stacked)
    low, high = plane.min(0).values, plane.max(0).values
    placed = ((plane - low) / (high - low).clamp(min=1e-9)).tolist()
    points = [
        [round(x, 4), round(y, 4), each, label] for (x, y), each, label in zip(placed, owner, labels, strict=True)
    ]
    return {"modalities": list(sides), "words": f"{words} Up to {POINTS} items per modality.", "points": points}


def _pca(vectors_ND: Tensor) -> tuple[Tensor, str]:
    centred = (vectors_ND - vectors_ND.mean(0)).double()
    u, s, _ = torch.linalg.svd(centred, full_matrices=False)
    share = float(s[:2].square().sum() / s.square().sum().clamp(min=1e-12))
    plane = u[:, :2] * s[:2]
    if plane.shape[1] < 2:
        plane = torch.cat([plane, torch.zeros(len(plane), 2 - plane.shape[1], dtype=plane.dtype)], 1)
    return plane.float(), f"The first two principal components (PCA), {100 * share:.0f} % of the variance."


def _tsne(vectors_ND: Tensor) -> tuple[Tensor, str]:
    from bindspace.contract import UserError

    try:
        from openTSNE import TSNE
    except ImportError as error:
        raise UserError("benchmark.map=tsne needs openTSNE: pip install 'bindspace[map]', or map=pca") from error
    perplexity = min(30.0, (len(vectors_ND) - 1) / 3)
    plane = TSNE(perplexity=perplexity, metric="cosine", random_state=0).fit(vectors_ND.numpy())
    return torch.tensor(plane[:].copy()).float(), "t-SNE (cosine): neighbourhoods are meaningful, distances are not."


class Page:
    """Content of report.html beside the results: examples of every cell, and a map of every pool."""

    def __init__(self, method: str = "pca") -> None:
        self.method = method
        self.items: dict[str, dict[str, str]] = {}
        self.examples: dict[str, dict[str, list[dict[str, Any]]]] = {}
        self.maps: dict[str, dict[str, Any]] = {}

    def add(self, name: str, pool: Pool, kept: Kept) -> None:
        """Adds a measured pool; its ranks decide which items are shown."""
        self.examples[name] = examples(kept, Gallery(name, pool, self.items))
        self.maps[name] = space_map(kept.sides, pool, self.method)

    def render(self, reports: Mapping[str, Mapping[str, Any]]) -> str:
        """The page for these reports, keyed by the pool's name."""
        pools = {
            name: {key: value for key, value in report.items() if key != "pools"}
            | {"examples": self.examples.get(name, {})}
            for name, report in reports.items()
        }
        data = json.dumps({"pools": pools, "items": self.items, "maps": self.maps, "words": WORDS}, ensure_ascii=False)
        parts = {
            "/*CSS*/": (PAGE / "report.css").read_text(encoding="utf-8"),
            "/*JS*/": (PAGE / "report.js").read_text(encoding="utf-8"),
            "/*DATA*/": data.replace("<", "\\u003c"),  # so that no value ends the script element
        }
        page = (PAGE / "report.html").read_text(encoding="utf-8")
        for mark, text in parts.items():
            page = page.replace(mark, text, 1)
        return page


def _picture(image: Any) -> str:
    image = image.convert("RGB")
    if max(image.size) > SIDE:
        image.thumbnail((SIDE, SIDE))
    buffer = io.BytesIO()
    image.save(buffer, "WEBP", quality=80)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"
