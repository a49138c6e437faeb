"""Multiple choice: a query, one correct answer and hard distractors. The first alternative of a cell is correct."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.contract import Choice, Source, UserError
from bindspace.data import Column, Manifest, Reader, evaluation_batches
from bindspace.metrics import scores, share_interval

if TYPE_CHECKING:
    from bindspace.space import Space


def measure_choices(space: Space, choices: Sequence[Choice], batch_size: int = 128) -> list[dict[str, Any]]:
    """Accuracy of each probe whose two modalities the space has: the correct answer scores above all distractors.

    A tie is a miss. Chance is the mean of 1 / alternatives. Raises `UserError` for a cell that cannot be read, or a row
    without alternatives.
    """
    return [
        _measure(space, choice, batch_size)
        for choice in choices
        if choice.query in space.modalities and choice.gallery in space.modalities
    ]


def _measure(space: Space, choice: Choice, batch_size: int) -> dict[str, Any]:
    names = [choice.query, choice.gallery]
    manifest = Manifest.load(Source(choice.path, where=choice.where), names)
    columns = [Column(manifest, name, space.configs[name]) for name in names]
    asked, offered = (_vectors(space, column, batch_size) for column in columns)
    first = columns[0].offsets[:-1]
    counts = torch.from_numpy(columns[1].counts)
    if not (columns[0].counts == 1).all() or not (counts >= 2).all():
        raise UserError(
            f"{manifest.path}: expected one {choice.query} and two or more of {choice.gallery} in each row, the "
            "correct one first"
        )
    score_NM = [
        scores(asked[query : query + 1], offered[start:stop])[0]
        for query, start, stop in zip(first, columns[1].offsets[:-1], columns[1].offsets[1:], strict=True)
    ]
    hits = torch.tensor([bool((row[0] > row[1:]).all()) for row in score_NM])
    groups = [str(row.get("group", row["id"])) for row in manifest.rows]
    clusters = torch.tensor([groups.index(group) for group in groups])
    return {
        "probe": choice.name,
        "query": choice.query,
        "gallery": choice.gallery,
        "n": len(hits),
        "accuracy": float(hits.double().mean()),
        "ci95": list(share_interval(hits, clusters)),
        "chance": float((1 / counts.double()).mean()),
    }


def _vectors(space: Space, column: Column, batch_size: int) -> Tensor:
    """Unit vectors of all cells of a column, in order."""
    reader = Reader()
    batches = evaluation_batches(column.manifest, column.config, column.name, batch_size, reader)
    parts = [space.encode(batch_size=batch_size, **{column.name: prepared})[column.name] for _, prepared in batches]
    if bad := reader.take_bad():
        raise UserError(f"{bad[0].source}: {bad[0].id}, {bad[0].modality}: {bad[0].reason}: fix that cell")
    return F.normalize(torch.cat(parts).float().cpu(), dim=-1)
