"""Exact retrieval ranks both ways, against the bare matrix product, the whole matrix, and a sort of it.

usage: python benchmarks/retrieval_eval.py [--sizes 10000,50000] [--rounds 1] [--quick]

One JSON line per case, on random rows (chance: nearly every score lies near some positive's) and on aligned ones (a
trained space): seconds of CPU time of one thread taken in turns, ratios, extra peak memory in a fresh process, and the
share of ranks that equal those of float64, for a thousand queries each way.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

import torch
from measure import begin, emit, interleaved, peak_mb
from torch import Tensor
from torch.nn import functional as F

from bindspace.metrics.retrieval import TILE_M, TILE_N, match, positions_both_ways

DIM = 512
MATRIX_MOST = 10000  # rows up to which the whole matrix is made, and sorted
CHECKED = 1000


def main() -> None:
    """Prints the machine, then a line for each size and kind of rows."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", default="10000,50000")
    parser.add_argument("--data", default="aligned,random")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="3,000 rows, no child process")
    asked = parser.parse_args()
    begin()
    for rows in [3000] if asked.quick else [int(size) for size in asked.sizes.split(",")]:
        for data in asked.data.split(","):
            emit("ranks both ways", **measure(rows, data, asked.rounds, not asked.quick))


def measure(rows: int, data: str, rounds: int, memory: bool) -> dict[str, Any]:
    """One case."""
    a, b = unit_rows(rows, data)
    cases = {"ranks": lambda: tiled(a, b), "product": lambda: bare_product(a, b)}
    if rows <= MATRIX_MOST:
        cases |= {"matrix": lambda: by_matrix(a, b), "argsort": lambda: by_argsort(a, b)}
    taken = interleaved(cases, rounds, int(rounds > 1))
    line: dict[str, Any] = {"rows": rows, "data": data, "rounds": rounds}
    line |= {f"{name}_s": taken.median(name) for name in cases}
    line |= {f"ranks_over_{name}": taken.ratio("ranks", name) for name in cases if name != "ranks"}
    if memory:
        line["ranks_mb"] = peak_mb(warm_ranks, rows, data)
    found, exact = tiled(a, b), float64_ranks(a, b)
    line["equal_float64"] = min(float((x[:CHECKED] == y).double().mean()) for x, y in zip(found, exact, strict=True))
    line["recall10"] = float((found[0] <= 10).double().mean())
    return line


def unit_rows(rows: int, data: str) -> tuple[Tensor, Tensor]:
    """Two sides; aligned: partners have a cosine of about 0.3, which others of 512 dims seldom reach."""
    generator = torch.Generator().manual_seed(rows)
    a, b = (torch.randn(rows, DIM, generator=generator) for _ in range(2))
    return F.normalize(a, dim=1), F.normalize(b + 0.3 * a if data == "aligned" else b, dim=1)


def tiled(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """The benchmark's own ranks."""
    pairs = match([[i] for i in range(len(a))], [[i] for i in range(len(b))])
    forth, back = positions_both_ways(a, b, pairs, pairs, keep=1)
    return forth[:, 0], back[:, 0]


def bare_product(a: Tensor, b: Tensor) -> None:
    """Every tile of similarities, and nothing done with it."""
    room = torch.empty(TILE_N, TILE_M)
    for rows in range(0, len(a), TILE_N):
        for columns in range(0, len(b), TILE_M):
            left, right = a[rows : rows + TILE_N], b[columns : columns + TILE_M]
            torch.mm(left, right.T, out=room[: len(left), : len(right)])


def by_matrix(a: Tensor, b: Tensor) -> list[Tensor]:
    """Float32 ranks from the whole matrix: one comparison with the own partner's score each way."""
    scores = a @ b.T
    return [(each >= scores.diagonal()[:, None]).sum(1) for each in (scores, scores.T)]


def by_argsort(a: Tensor, b: Tensor) -> list[Tensor]:
    """Float32 ranks from the whole matrix, sorted, as many evaluation scripts do it."""
    scores, own = a @ b.T, torch.arange(len(a))[:, None]
    return [(each.argsort(dim=1, descending=True) == own).int().argmax(1) + 1 for each in (scores, scores.T)]


def float64_ranks(a: Tensor, b: Tensor) -> list[Tensor]:
    """Of the first queries each way, by the definition: scores in float64, rounded to float32 once."""
    found = []
    for query, gallery in ((a, b), (b, a)):
        scores = torch.cat([(query[:CHECKED].double() @ part.double().T).float() for part in gallery.split(TILE_M)], 1)
        found.append((scores >= scores.diagonal()[:, None]).sum(1))
    return found


def warm_ranks(rows: int, data: str) -> Callable[[], object]:
    """The ranks, after a small call that loads what is loaded once."""
    tiled(*unit_rows(64, data))
    a, b = unit_rows(rows, data)
    pairs = match([[i] for i in range(rows)], [[i] for i in range(rows)])
    return lambda: positions_both_ways(a, b, pairs, pairs, keep=1)


if __name__ == "__main__":
    main()
