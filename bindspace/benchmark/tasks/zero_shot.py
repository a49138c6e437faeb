"""Zero-shot classification: a sample gets the class of the nearest prompts, even if it was never trained with text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.benchmark.prompting import prompts
from bindspace.benchmark.tasks.multi_label import present_of, rank_labels
from bindspace.contract import Cell, UserError, unknown
from bindspace.metrics import Permutations, central, scores, share_interval
from bindspace.settings import BenchmarkSettings

if TYPE_CHECKING:
    from bindspace.data import Pool
    from bindspace.space import Space

MOST_CLASSES = 100


def prompt_modality(space: Space, chosen: Sequence[str]) -> str | None:
    """The one modality whose cells hold values instead of paths; None where a space has none or several."""
    names = [name for name, config in space.configs.items() if config.cell is Cell.value]
    if len(names) > 1:
        names = [name for name in names if name in chosen]
    return names[0] if len(names) == 1 else None


def class_columns(pool: Pool, asked: Sequence[str] | None) -> list[str]:
    """The attribute columns to classify: those configured, or all with 2 to 100 repeated, discrete values.

    Raises `UserError` for a column that the pool does not have, or that has fewer than two values in it.
    """
    if asked is None:
        return [name for name, values in pool.attributes.items() if _is_class_column(values)]
    for name in asked:
        if name not in pool.attributes:
            raise UserError(unknown("attribute column", name, pool.attributes))
        if len(classes_of(pool.attributes[name])) < 2:
            raise UserError(
                f"benchmark.zero_shot: column {name!r} needs two values or more in the pool, got one or none"
            )
    return list(asked)


def is_multi_label(values: Sequence[Any]) -> bool:
    """Whether an event may have several labels: its cells are lists."""
    return any(isinstance(value, list) for value in values)


def classes_of(values: Sequence[Any]) -> list[str]:
    """The distinct labels of a column, sorted."""
    return sorted({str(label) for value in _known(values) for label in (value if isinstance(value, list) else [value])})


def _known(values: Sequence[Any]) -> list[Any]:
    return [value for value in values if value is not None]


def _is_class_column(values: Sequence[Any]) -> bool:
    known = _known(values)
    if is_multi_label(values):
        return len(classes_of(values)) >= 2
    if not known or not all(isinstance(value, (str, bool, int)) for value in known):
        return False
    return 2 <= len(set(known)) <= MOST_CLASSES and len(set(known)) < len(known)


def class_vectors(
    space: Space, modality: str, attribute: str, classes: Sequence[str], templates: Mapping[str, Sequence[str]]
) -> Tensor:
    """One unit vector (C, dim) per class: the normalised mean of its prompts' unit vectors (CLIP, section 3.1.4)."""
    written = [prompts(attribute, value, templates) for value in classes]
    flat = [prompt for each in written for prompt in each]
    items: dict[str, Any] = {modality: flat}
    vectors = space.embed(**items)[modality]
    split = vectors.split([len(each) for each in written])
    return F.normalize(torch.stack([each.mean(0) for each in split]), dim=-1)


def labels_of(events: Sequence[Sequence[int]], values: Sequence[Hashable]) -> tuple[list[int], list[str]]:
    """The items with one known value in all their events, and that value."""
    found = [
        (index, {str(values[event]) for event in each if values[event] is not None})
        for index, each in enumerate(events)
    ]
    single = [(index, next(iter(value))) for index, value in found if len(value) == 1]
    return [index for index, _ in single], [value for _, value in single]


def predict(score_NC: Tensor) -> Tensor:
    """Index of the nearest class (N,), or -1 where the two nearest tie: a tie is a miss."""
    top = score_NC.topk(2, dim=1)
    return torch.where(top.values[:, 0] > top.values[:, 1], top.indices[:, 0], -1)


def permuted_accuracy(predicted_N: Tensor, label_N: Tensor, permutations: Permutations) -> Tensor:
    """Accuracy of these predictions under permuted labels, one value per permutation."""
    drawn, label_N = permutations.of(len(label_N)), label_N.to(torch.int32)
    predicted = predicted_N.to(torch.int32)
    return torch.cat([(label_N[part.long()] == predicted).double().mean(1) for part in drawn.split(2000)])


def classify(
    score_NC: Tensor,
    labels: Sequence[str],
    classes: Sequence[str],
    clusters: Tensor,
    permutations: Permutations,
) -> dict[str, Any]:
    """Accuracy with its interval, chance, the majority class, and its range under permuted labels.

    `top5`: a class is right if fewer than five others score at least as much; None where there are no more than five.
    `balanced`: the mean of the per-class accuracies, which always predicting the majority class does not raise.
    """
    label_N = torch.tensor([classes.index(label) for label in labels])
    predicted = predict(score_NC)
    hits = predicted == label_N
    control = permuted_accuracy(predicted, label_N, permutations)
    own = score_NC.gather(1, label_N.unsqueeze(1))
    top5 = float(((score_NC >= own).sum(1) <= 5).double().mean()) if len(classes) > 5 else None
    return {
        "classes": len(classes),
        "n": len(labels),
        "accuracy": float(hits.double().mean()),
        "ci95": list(share_interval(hits, clusters, seed=permutations.seed)),
        "top5": top5,
        "balanced": float(torch.stack([hits[label_N == code].double().mean() for code in label_N.unique()]).mean()),
        "chance": 1 / len(classes),
        "majority": max(Counter(labels).values()) / len(labels),
        "control95": central(control, 0.95),
        "control999": central(control, 0.999),
    }


def measure_zero_shot(
    space: Space,
    pool: Pool,
    vectors: Mapping[str, Tensor],
    clusters: Mapping[str, Tensor],
    settings: BenchmarkSettings,
    permutations: Permutations,
) -> list[dict[str, Any]]:
    """Each measured modality on each attribute column, by prompts: the `zero_shot` part of a report."""
    prompted = prompt_modality(space, list(vectors))
    cells: list[dict[str, Any]] = []
    if prompted is None:
        return cells
    for attribute in class_columns(pool, settings.zero_shot):
        values = pool.attributes[attribute]
        classes = classes_of(values)
        class_CD = class_vectors(space, prompted, attribute, classes, settings.templates)
        for name in vectors:
            if name == prompted:
                continue
            events = [item.event for item in pool.items[name]]
            status = space.ledger.status(name, prompted) if space.ledger else "unknown"
            if is_multi_label(values):
                rows, present = present_of(events, values, classes)
                measured = rank_labels(scores(vectors[name][rows], class_CD), present, permutations)
            else:
                rows, labels = labels_of(events, values)
                if len(rows) < 2:
                    continue
                score_NC = scores(vectors[name][rows], class_CD)
                measured = classify(score_NC, labels, classes, clusters[name][rows], permutations)
            cells.append({"modality": name, "attribute": attribute, "status": status, **measured})
    return cells
