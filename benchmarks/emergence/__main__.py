"""Emergent against supervised retrieval: recipes on the simulated world, five seeds, tables and plots.

usage: python benchmarks/emergence [--only NAME ...] [--seeds 0,1,2,3,4] [--jobs 2] [--explore]    `make emergence`

Trains the recipes of `recipes.yaml` that are `measured`, for every seed, measures them on the test pools, and appends a
line for each to docs/emergence/runs.jsonl. With `--explore` it trains every recipe, and measures on validation only,
with seen and held-out combinations (docs/emergence/explore.jsonl): recipes are selected there. Finished runs are not
repeated, and interrupted runs are resumed, so the tables can be completed over several calls. Finally it writes
docs/emergence/tables.md and the plots from the lines; `--only` without a name does that alone.
"""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from plan import Recipe, read_recipes

ROOT = Path(__file__).parents[2]
HOME = ROOT / "docs" / "emergence"


def main(arguments: list[str]) -> int:
    """Runs missing recipes, then writes tables and plots."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="*", metavar="NAME", help="these recipes")
    parser.add_argument("--seeds", default="0,1,2,3,4")
    parser.add_argument("--jobs", type=int, default=2, help="runs at once, of one thread each")
    parser.add_argument("--explore", action="store_true", help="validation only, into explore.jsonl")
    parser.add_argument("--out", type=Path, default=Path("outputs/emergence"))
    asked = parser.parse_args(arguments)
    recipes = read_recipes()
    if wrong := set(asked.only or []) - set(recipes):
        print(f"unknown recipe {sorted(wrong)[0]!r} (available: {', '.join(recipes)})", file=sys.stderr)
        return 2
    os.environ["OMP_NUM_THREADS"] = "1"
    kept = HOME / ("explore.jsonl" if asked.explore else "runs.jsonl")
    chosen = [
        recipe
        for name, recipe in recipes.items()
        if (name in asked.only if asked.only is not None else asked.explore or recipe.measured)
    ]
    failed = run_all(chosen, [int(seed) for seed in asked.seeds.split(",")], asked.jobs, asked.out, kept, asked.explore)
    from runs import lines
    from summary import write_summary
    from tables import draw, grouped

    draw(HOME, recipes)
    measured = grouped(lines(HOME / "runs.jsonl"), recipes)
    write_summary([ROOT / "README.md", ROOT / "docs" / "emergence.md"], measured, recipes)
    return 1 if failed else 0


def run_all(chosen: list[Recipe], seeds: list[int], jobs: int, out: Path, kept: Path, explore: bool) -> int:
    """Runs what has no line in `kept`: seeds one after the other, so that whole rows of few seeds come first."""
    from runs import keep, lines

    done = {(line["recipe"], line["key"], line["seed"]) for line in lines(kept)}
    failed = 0
    for seed in seeds:
        waiting = [recipe for recipe in chosen if (recipe.name, recipe.key, seed) not in done]
        with ThreadPoolExecutor(jobs) as pool:
            futures = {pool.submit(one, recipe, seed, out, explore): recipe for recipe in waiting}
            for future in as_completed(futures):
                if error := future.exception():
                    print(f"{futures[future].name}, seed {seed}: {error}", file=sys.stderr, flush=True)
                    failed += 1
                    continue
                keep(kept, future.result())
                print(f"{futures[future].name}, seed {seed}: {short(future.result())}", flush=True)
    return failed


def one(recipe: Recipe, seed: int, out: Path, explore: bool) -> dict[str, Any]:
    """The line of one run."""
    from runs import measure, new_combinations, train

    line: dict[str, Any] = {"recipe": recipe.name, "key": recipe.key, "seed": seed, "group": recipe.group}
    line |= {"train": [list(each.train) for each in recipe.chain], **train(recipe, seed, out)}
    if explore:
        return line | {"new_combinations": new_combinations(recipe, seed, out, "outputs/data")}
    return line | {"pools": measure(recipe, seed, out, "outputs/data")}


def short(line: dict[str, Any]) -> str:
    """The line printed at the end of a run."""
    shown = [f"{key[4:]} {value:.3f}" for key, value in line["val"].items() if key.endswith(("/r1", "/r10"))]
    return f"{line['cpu_s']:.0f} CPU-s; validation {', '.join(shown)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
