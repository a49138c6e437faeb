"""`bindspace compare A B`: compares two spaces measured with the same protocol, query by query."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bindspace.cli.arguments import settings, split
from bindspace.contract import UserError
from bindspace.io.files import check_place, write_json

HELP = """\
usage: bindspace compare A B [out=FILE.json] [seed=0]

A and B are folders written by `bindspace benchmark` (or runs with a `benchmark` folder), with the same protocol.
Prints the difference of R@k for each pair, B minus A, with a 95 % interval and p, paired by query.
The result holds for these weights; comparing recipes needs several seeds.

example:
  bindspace compare runs/first runs/second out=difference.json"""


def run(arguments: list[str]) -> int:
    """`bindspace compare A B`."""
    given = split(arguments)
    if given.help:
        print(HELP)
        return 0
    folders = [each for each in given.overrides if "=" not in each]
    values = settings([each for each in given.overrides if "=" in each], ["out", "seed"], "compare")
    if len(folders) != 2:
        raise UserError(f"expected two report folders, got {len(folders)}: write `bindspace compare A B`")
    seed = values.get("seed", 0)
    if not isinstance(seed, int):
        raise UserError(f"seed: expected a whole number, got {seed!r}")
    if "out" in values:
        check_place(Path(str(values["out"])).parent)
    from bindspace.benchmark.compare import compare, read_measured

    found = compare(read_measured(folders[0]), read_measured(folders[1]), seed=seed)
    print_comparison(found)
    if "out" in values:
        print(f"comparison: {write_json(str(values['out']), found)}")
    return 0


def print_comparison(found: Mapping[str, Any]) -> None:
    """Prints the table, results in %."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"A = {found['a']}\nB = {found['b']}", highlight=False)
    for name, pool in found["pools"].items():
        k = str(pool["primary_k"])
        title = f"\nPool {name}: R@{k} in %, B minus A"
        table = Table(title=title, title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False)
        for number, heading in enumerate(("query → gallery", "A", "B", "B - A", "95 %", "p (Holm)")):
            table.add_column(heading, justify="right" if number else "left", no_wrap=True)
        for cell in pool["pairs"]:
            change, recalls = cell["difference"][k], [100 * each[k] for each in cell["recall"]]
            low, high = (100 * end for end in change["ci95"])
            table.add_row(
                f"{cell['query']} → {cell['gallery']}",
                *(f"{value:.1f}" for value in recalls),
                f"{100 * change['mean']:+.1f}",
                f"{low:+.1f} to {high:+.1f}",
                f"{change['p_holm']:.2g}",
            )
        console.print(table)
    console.print("The result holds for these weights; comparing recipes needs several seeds.", highlight=False)
