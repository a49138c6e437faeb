"""Compares two spaces on one protocol: paired differences of recall with interval and p; refuses other protocols.

The result holds for these weights on events like these. Comparing two recipes needs several seeds of each.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from bindspace.contract import UserError
from bindspace.metrics import chunks, holm

SCHEMA = 1
REPORT, RANKS = "report.json", "ranks.safetensors"
DRAWS = 10000


@dataclass(frozen=True)
class Measured:
    """A report folder: the report's pools by name, and the ranks and clusters of each cell's queries, int64 (2, N)."""

    name: str
    pools: dict[str, Mapping[str, Any]]
    ranks: dict[str, Tensor]


def ranks_bytes(ranks: Mapping[str, Mapping[str, Tensor]]) -> bytes:
    """The file of ranks: int32 (2, N) by `pool/query>gallery`."""
    flat = {f"{pool}/{cell}": tensor.int() for pool, cells in ranks.items() for cell, tensor in cells.items()}
    return save_tensors(flat)


def read_measured(folder: str | Path) -> Measured:
    """Reads the benchmark report of a folder, or of the `benchmark` folder of a run. Raises `UserError`."""
    folder = Path(folder)
    if (folder / "benchmark" / REPORT).is_file():
        folder = folder / "benchmark"
    for name in (REPORT, RANKS):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder} holds no {name}: expected a report of pools by `bindspace benchmark` (tables of published "
                "results are not compared); measure it again"
            )
    try:
        report = json.loads((folder / REPORT).read_text(encoding="utf-8"))
        pools = {"main": report, **report.get("pools", {})}
        for pool in pools.values():
            pool["protocol"]["hash"], pool["pairs"]
        ranks = {name: tensor.long() for name, tensor in load_tensors((folder / RANKS).read_bytes()).items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, SafetensorError, OSError) as error:
        raise UserError(f"{folder} holds a damaged report ({type(error).__name__}): measure it again") from error
    return Measured(str(folder), pools, ranks)


def compare(a: Measured, b: Measured, *, seed: int = 0) -> dict[str, Any]:
    """Differences of every cell of every pool, b minus a. Raises `UserError` where the protocols differ."""
    if a.pools.keys() != b.pools.keys():
        raise UserError(f"{a.name} has the pools {', '.join(a.pools)}, {b.name} has {', '.join(b.pools)}: {SAME}")
    pools = {name: _compare_pool(name, a, b, seed) for name in a.pools}
    return {"schema": SCHEMA, "a": a.name, "b": b.name, "draws": DRAWS, "seed": seed, "pools": pools}


SAME = "measure both spaces with the same `bindspace benchmark` settings"


def _compare_pool(name: str, a: Measured, b: Measured, seed: int) -> dict[str, Any]:
    one, two = (each.pools[name] for each in (a, b))
    hashes = [each["protocol"]["hash"] for each in (one, two)]
    if hashes[0] != hashes[1]:
        raise UserError(
            f"pool {name!r}: {a.name} was measured by protocol {hashes[0][:12]}, {b.name} by {hashes[1][:12]}"
            f"{_different(one['protocol'], two['protocol'])}: reports of different protocols are not compared; {SAME}"
        )
    cells = [_compare_cell(name, first, one, two, a, b, seed) for first in one["pairs"]]
    for k in [str(each) for each in one["protocol"]["k"]]:
        for cell, adjusted in zip(cells, holm([cell["difference"][k]["p"] for cell in cells]), strict=True):
            cell["difference"][k]["p_holm"] = adjusted
    return {"protocol": hashes[0], "primary_k": one["protocol"]["primary_k"], "pairs": cells}


def _different(one: Mapping[str, Any], two: Mapping[str, Any]) -> str:
    names = [key for key in one if key not in ("hash", "seed", "permutations") and one[key] != two.get(key)]
    return f" (they differ in {', '.join(names)})" if names else " (they differ in the pool's events)"


def _compare_cell(
    pool: str,
    first: Mapping[str, Any],
    one: Mapping[str, Any],
    two: Mapping[str, Any],
    a: Measured,
    b: Measured,
    seed: int,
) -> dict[str, Any]:
    query, gallery = first["query"], first["gallery"]
    key = f"{pool}/{query}>{gallery}"
    second = next(cell for cell in two["pairs"] if (cell["query"], cell["gallery"]) == (query, gallery))
    if key not in a.ranks or key not in b.ranks or a.ranks[key].shape != b.ranks[key].shape:
        raise UserError(f"the ranks of {query} -> {gallery} are not in both reports: {SAME}")
    (rank_a, cluster), (rank_b, _) = a.ranks[key], b.ranks[key]
    difference = {
        str(k): paired((rank_b <= k).double() - (rank_a <= k).double(), cluster, seed=seed)
        for k in one["protocol"]["k"]
    }
    return {
        "query": query,
        "gallery": gallery,
        "status": [first["status"], second["status"]],
        "recall": [first["recall"], second["recall"]],
        "difference": difference,
    }


def paired(difference_N: Tensor, cluster_N: Tensor, *, draws: int = DRAWS, seed: int = 0) -> dict[str, Any]:
    """The mean of paired differences (-1, 0, 1 per query), its 95 % interval and p, both over whole clusters.

    The interval draws clusters with replacement (bootstrap, percentiles). p is two-sided: each cluster's difference
    keeps or flips its sign at random, as under the null hypothesis of no difference (Good 2005, chapter 3).
    """
    _, index = cluster_N.unique(return_inverse=True)
    count = int(index.max()) + 1
    total = torch.zeros(count, dtype=torch.float64).index_add(0, index, difference_N)
    size = torch.bincount(index, minlength=count).double()
    generator = torch.Generator().manual_seed(seed)
    means, extreme, observed = [], 1, float(total.sum().abs())
    for part in chunks(draws, count):
        drawn = torch.randint(count, (part, count), generator=generator)
        means.append(total[drawn].sum(1) / size[drawn].sum(1))
        sign = torch.randint(2, (part, count), generator=generator).double() * 2 - 1
        extreme += int(((sign * total).sum(1).abs() >= observed - 1e-9).sum())
    tails = torch.tensor([0.025, 0.975], dtype=torch.float64)
    return {
        "mean": float(difference_N.mean()),
        "ci95": torch.cat(means).quantile(tails).tolist(),
        "p": extreme / (1 + draws),
    }
