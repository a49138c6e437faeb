"""Runs of recipes: trained once by the command line, measured once on each pool, and kept as one JSON line each."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from plan import Recipe

import bindspace
from bindspace import Source
from bindspace.benchmark.emergent import run_benchmark
from bindspace.data import Pool, Reader, load_pool
from bindspace.settings.run import BenchmarkSettings
from bindspace.space.bundle import load, save
from bindspace_world import VERSION, Combinations, WorldConfig

POOL, SMALLER = 1000, 500  # test events of either kind; recall in the smaller pool is expected over all draws of it
UNSEEN_SEED = 4242  # of the held-out combinations on which recipes are selected
LOCKS: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)


def train(recipe: Recipe, seed: int, out: Path) -> dict[str, Any]:
    """Trains a recipe if needed, resumes a killed run, and returns its cost and validation results."""
    for each in recipe.chain:
        folder = each.folder(out, seed)
        with LOCKS[folder]:  # two recipes may wait for one that both extend
            if not (folder / "took.json").exists():
                _train(each, seed, folder, out)
    folder = recipe.folder(out, seed)
    took = [json.loads((each.folder(out, seed) / "took.json").read_text()) for each in recipe.chain]
    return {
        "cpu_s": round(sum(each["cpu_s"] for each in took), 1),
        "wall_s": round(sum(each["wall_s"] for each in took), 1),
        "precision": json.loads((folder / "environment.json").read_text())["precision"],
        "val": validation(folder),
    }


def _train(recipe: Recipe, seed: int, folder: Path, out: Path) -> None:
    command = [sys.executable, "-m", "bindspace", "train", *recipe.train, f"seed={seed}", f"out={folder}"]
    if recipe.extends is not None:
        command.append(f"extend={_extended(recipe.extends.folder(out, seed), recipe.keep)}")
    if (folder / "checkpoints" / "last.ckpt").exists():
        command = [sys.executable, "-m", "bindspace", "train", f"run={folder}"]
    folder.parent.mkdir(parents=True, exist_ok=True)
    log, started = folder.with_suffix(".log"), time.monotonic()
    with log.open("a") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{recipe.name}, seed {seed}: bindspace train failed, see {log}")
    took = {"cpu_s": used.ru_utime + used.ru_stime, "wall_s": time.monotonic() - started}
    (folder / "took.json").write_text(json.dumps(took))


def _extended(run: Path, keep: tuple[str, ...]) -> Path:
    """The space of a run, or a space of a part of its modalities, saved beside it."""
    if not keep:
        return run / "space"
    part = run / "-".join(("space", *keep))
    with LOCKS[part]:
        if not part.exists():
            save(load(run / "space", list(keep)), part)
    return part


def validation(folder: Path) -> dict[str, float]:
    """The last value of every validation metric of a run."""
    found: dict[str, float] = {}
    with (folder / "metrics.csv").open(newline="") as stream:
        for row in csv.DictReader(stream):
            found |= {key: float(value) for key, value in row.items() if key.startswith("val/") and value}
    return {_by_alphabet(key): round(value, 4) for key, value in sorted(found.items())}


def _by_alphabet(metric: str) -> str:
    """`val/text-audio/r10` and `val/audio-text/r10` are one metric: the order of the pair does not matter."""
    _, pair, figure = metric.split("/")
    return f"val/{'-'.join(sorted(pair.split('-')))}/{figure}"


def measure(recipe: Recipe, seed: int, out: Path, data: str) -> dict[str, Any]:
    """Recall on the test pools, seen combinations and held-out ones: by pool, cell, size and k."""
    space = bindspace.load(recipe.folder(out, seed) / "space")
    world = WorldConfig(root=data, test_events=POOL)
    settings = BenchmarkSettings(permutations=100, zero_shot=[], pool_sizes=[SMALLER])
    pools: dict[str, Any] = {}
    for source in world.sources([], space.modalities)["test"]:
        report = run_benchmark(space, _pool(space, source), settings, known=world.known(), progress=False)
        pools[source.pool] = {f"{cell['query']}>{cell['gallery']}": _results(cell) for cell in report["pairs"]}
    return pools


def _pool(space: bindspace.Space, source: Source) -> Pool:
    return load_pool([source], space.configs, space.modalities, Reader(1.0), 0.0)


def new_combinations(recipe: Recipe, seed: int, out: Path, data: str) -> dict[str, float]:
    """Recall on held-out combinations, for selection: events of a seed that no test pool has.

    By pair and k, the mean of both directions, as in validation.
    """
    folder = Path(data) / f"world{VERSION}-seed{UNSEEN_SEED}-held_out-{SMALLER}"
    with LOCKS[folder]:
        if not (folder / "manifest.jsonl").exists():
            shown = ["image", "text", "audio"]
            unseen = Combinations.held_out
            WorldConfig(events=SMALLER, seed=UNSEEN_SEED, modalities=shown, combinations=unseen).write(folder)
    space = bindspace.load(recipe.folder(out, seed) / "space")
    settings = BenchmarkSettings(permutations=100, zero_shot=[], pool_sizes=[])
    report = run_benchmark(space, _pool(space, Source(str(folder))), settings, progress=False)
    found: defaultdict[str, list[float]] = defaultdict(list)
    for cell in report["pairs"]:
        pair = "-".join(sorted((cell["query"], cell["gallery"])))
        for k, recall in cell["recall"].items():
            found[f"{pair}/r{k}"].append(recall)
    return {key: round(sum(both) / len(both), 4) for key, both in sorted(found.items())}


def _results(cell: dict[str, Any]) -> dict[str, Any]:
    recall = {str(POOL): cell["recall"], **cell["by_pool_size"]}
    kept = ("status", "unpaired_steps", "shaped_by", "selected_on", "ceiling", "chance")
    return {"recall": recall, **{key: cell[key] for key in kept if key in cell}}


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The results that are kept."""
    if path.exists():
        yield from map(json.loads, path.read_text(encoding="utf-8").splitlines())


def keep(path: Path, line: dict[str, Any]) -> None:
    """Appends one result, whole or not at all: one write of one line."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, sort_keys=True) + "\n")
