"""Few-shot linear probe: how well a linear classifier on frozen vectors predicts an attribute.

Shape suffixes: R draws, N training items, M test items, D dims, C classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.benchmark.cell import Side
from bindspace.benchmark.tasks.zero_shot import labels_of
from bindspace.metrics import share_interval
from bindspace.settings import BenchmarkSettings

if TYPE_CHECKING:
    from bindspace.data import Pool

DECAY = 1e-3  # L2 on the weights, relative to the mean loss of an item
SCALE = 10.0  # unit vectors are short: logistic regression with weight decay would underfit them
ITERATIONS = 60


def linear_probe(
    vectors_ND: Tensor,
    label_N: Tensor,
    cluster_N: Tensor,
    shots: Sequence[int],
    *,
    draws: int = 5,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Accuracy of multinomial logistic regression on frozen vectors, one entry for each number of shots (0: all).

    Half of the clusters (groups or events) are trained on and the other half is tested, by the seed; few shots are
    drawn `draws` times from the training half. `ci95` is over test items for the first draw, `spread` the standard
    deviation over draws. A number of shots that some class does not have is left out.
    """
    train, test = _halves(cluster_N, seed)
    classes = label_N.unique()
    code_N = torch.searchsorted(classes, label_N)
    counts = torch.bincount(code_N[train], minlength=len(classes))
    cells = []
    for shot in shots:
        if shot > int(counts.min()) or (shot == 0 and int(counts.min()) == 0):
            continue
        chosen = [train] if shot == 0 else [_few(train, code_N, shot, seed + draw) for draw in range(draws)]
        hits = fit_and_test(vectors_ND, code_N, torch.stack(chosen), test, len(classes))
        shares = hits.double().mean(1)
        cells.append(
            {
                "shots": shot,
                "n": len(test),
                "classes": len(classes),
                "accuracy": float(shares.mean()),
                "spread": float(shares.std()) if len(shares) > 1 else None,
                "ci95": list(share_interval(hits[0], cluster_N[test], seed=seed)),
                "chance": 1 / len(classes),
                "majority": float(torch.bincount(code_N[test]).max()) / len(test),
            }
        )
    return cells


def fit_and_test(vectors_ND: Tensor, code_N: Tensor, train_RN: Tensor, test_M: Tensor, classes: int) -> Tensor:
    """The test items that each draw's regression classifies correctly: bool (R, M). L-BFGS fits all draws at once."""
    x_RND = SCALE * vectors_ND[train_RN]
    y_RN = code_N[train_RN]
    weight = torch.zeros(len(train_RN), vectors_ND.shape[1], classes, requires_grad=True)
    bias = torch.zeros(len(train_RN), 1, classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=ITERATIONS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        logits = torch.baddbmm(bias, x_RND, weight)
        total = F.cross_entropy(logits.flatten(0, 1), y_RN.flatten()) * len(train_RN)
        total = total + DECAY * weight.square().sum()
        total.backward()
        return total

    with torch.enable_grad():
        solver.step(loss)
    scores = torch.baddbmm(bias, (SCALE * vectors_ND[test_M]).expand(len(train_RN), -1, -1), weight)
    return scores.argmax(2) == code_N[test_M]


def _halves(cluster_N: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of the items whose cluster is in the first and in the second half of a random order."""
    clusters, index = cluster_N.unique(return_inverse=True)
    order = torch.randperm(len(clusters), generator=torch.Generator().manual_seed(seed))
    first = torch.zeros(len(clusters), dtype=torch.bool)
    first[order[: len(clusters) // 2]] = True
    return first[index].nonzero()[:, 0], (~first[index]).nonzero()[:, 0]


def _few(train: Tensor, code_N: Tensor, shot: int, seed: int) -> Tensor:
    """`shot` items of each class, by class."""
    order = train[torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))]
    codes = code_N[order]
    return torch.cat([order[codes == code][:shot] for code in codes.unique().tolist()])


def probes(
    sides: Mapping[str, Side], pool: Pool, columns: Sequence[str], settings: BenchmarkSettings
) -> list[dict[str, Any]]:
    """Few-shot linear probes of each modality on each single-label attribute column."""
    cells = []
    for column in columns:
        for name, side in sides.items():
            rows, labels = labels_of(side.events, pool.attributes[column])
            classes = sorted(set(labels))
            if len(classes) < 2:
                continue
            code = torch.tensor([classes.index(label) for label in labels])
            found = linear_probe(side.vectors[rows], code, side.clusters[rows], settings.shots, seed=settings.seed)
            cells += [{"modality": name, "attribute": column, **cell} for cell in found]
    return cells
