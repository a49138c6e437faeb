"""Output of a benchmark: report.json for programs, report.md for papers, matrix.png, and a table on the terminal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindspace.benchmark.compare import RANKS, ranks_bytes
from bindspace.benchmark.emergent import EMERGENT, TRAINED
from bindspace.benchmark.near_duplicates import near_words
from bindspace.benchmark.report.formatting import beside_status, interval, percent, table
from bindspace.benchmark.report.html import Page
from bindspace.benchmark.report.matrix import matrix_png
from bindspace.benchmark.report.tables import further_lines
from bindspace.io.files import json_bytes, write_together
from bindspace.ledger import said

if TYPE_CHECKING:
    from rich.console import Console
    from torch import Tensor

MAIN = "main"
READ = """\
R@k: share of queries with a correct item among the first k of the gallery, ties counted against the space; 95 %
intervals are conditional on these weights. Chance: a random ranking. Lift: R@k over chance. Shuffled: the same scores
with query and gallery events paired at random; it must be at chance level. p: one-sided, by permutation of the pairing
at R@{k}, after Holm over the pairs that were never trained. The ledger records which pairs the weights have seen; it
does not prove it."""


def join_pools(reports: Mapping[str, Any]) -> dict[str, Any]:
    """One report of several pools by name: `main` (or the first) on top, the others under `pools`."""
    if "schema" in reports:
        return dict(reports)
    top = top_pool(reports)
    further = {name: report for name, report in reports.items() if name != top}
    return {**reports[top], "pools": further} if further else dict(reports[top])


def top_pool(reports: Mapping[str, Any]) -> str:
    """The pool whose report comes first: `main`, or the first in the list."""
    return MAIN if MAIN in reports else next(iter(reports))


def write_report(
    reports: Mapping[str, Any],
    folder: str | Path,
    ranks: Mapping[str, Mapping[str, Tensor]] | None = None,
    page: Page | None = None,
) -> Path:
    """Writes report.json, .md, .html and matrix.png into `folder`, all or none; returns the path of report.json.

    `reports`: one report, or reports by the pool's name. `ranks`: by pool what `run_benchmark` filled in, written as
    ranks.safetensors, which `bindspace compare` needs. `page`: examples and maps for report.html.
    """
    report, folder = join_pools(reports), Path(folder)
    contents: dict[str, bytes] = {
        "matrix.png": matrix_png(report),
        "report.md": render_markdown(report).encode(),
        "report.json": json_bytes(report),
    }
    contents["report.html"] = (page or Page()).render(dict(_pools(report))).encode()
    if ranks:
        contents[RANKS] = ranks_bytes(ranks)
    write_together({folder / name: data for name, data in contents.items()})
    return folder / "report.json"


def render_markdown(report: Mapping[str, Any]) -> str:
    """The report for people and papers, as GitHub markdown."""
    lines = ["# Emergent retrieval", ""]
    for title, pool in _pools(report):
        lines += [*_pool_lines(title, pool), ""]
    lines += ["## How to read it", "", READ.format(k=report["protocol"]["primary_k"]), ""]
    return "\n".join(lines)


def _pools(report: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    yield MAIN, report
    yield from report.get("pools", {}).items()


def _pool_lines(title: str, report: Mapping[str, Any]) -> list[str]:
    protocol, system = report["protocol"], report["system"]
    lines = [
        f"## Pool `{title}`: {protocol['pool']} events",
        "",
        f"Space `{system['space']}`, pivot {system['pivot']}, {system['dim']} dimensions, bindspace "
        f"{system['versions']['bindspace']}. {_left_out(protocol)} Protocol `{protocol['hash'][:16]}`.",
    ]
    if title == MAIN:
        lines += ["", "![matrix](matrix.png)"]
    for heading, cells in _sections(report):
        lines += [
            "",
            f"### {heading}",
            "",
            *table(_retrieval_header(report), (_retrieval_row(cell, report) for cell in cells)),
        ]
    for words in filter(None, (beside_status(report), _declared(report), near_words(report))):
        lines += ["", words]
    if report.get("retention"):
        header = ["query → gallery", *(f"R@{k}, before → after" for k in protocol["k"]), "vectors"]
        kept = (_retention_row(row) for row in report["retention"])
        lines += ["", "### Retention: pairs of the space that was extended", "", *table(header, kept)]
    return [*lines, *further_lines(report)]


def _left_out(protocol: Mapping[str, Any]) -> str:
    return (
        f"Left out because a modality is missing: {protocol['left_out']} events; unreadable cells: {protocol['bad']}."
    )


def _declared(report: Mapping[str, Any]) -> str:
    """Declarations about the weights, which are not recorded; empty where there are none."""
    found = [said(each) for each in report["ledger"].get("declarations", [])]
    return f"Declared for third-party weights, not recorded: {'; '.join(found)}." if found else ""


def _sections(report: Mapping[str, Any]) -> Iterator[tuple[str, list[Mapping[str, Any]]]]:
    """Emergent pairs first, then trained pairs, then pairs for which nothing can be claimed."""
    groups = {"Never trained together": EMERGENT, "Trained together": TRAINED, "No claim": ("unknown", "unlinked")}
    for heading, statuses in groups.items():
        cells = [cell for cell in report["pairs"] if cell["status"] in statuses]
        if cells:
            yield heading, cells


def _beside(report: Mapping[str, Any]) -> list[str]:
    """The optional control columns that the report has values for."""
    return [name for name in ("untrained", "ceiling") if any(cell.get(name) for cell in report["pairs"])]


def _retrieval_header(report: Mapping[str, Any]) -> list[str]:
    k = report["protocol"]["primary_k"]
    recalls = [f"R@{each}" for each in report["protocol"]["k"]]
    controls = ["chance", "lift over chance", "shuffled", *_beside(report)]
    return ["query → gallery", "status", *recalls, f"95 % of R@{k}", *controls, "median rank", "p"]


def _retrieval_row(cell: Mapping[str, Any], report: Mapping[str, Any]) -> list[str]:
    k = str(report["protocol"]["primary_k"])
    p = cell["p"] if cell["p_holm"] is None else cell["p_holm"]
    return [
        f"{cell['query']} → {cell['gallery']}",
        cell["status"],
        *(percent(cell["recall"][str(each)]) for each in report["protocol"]["k"]),
        interval(cell["ci95"][k]),
        percent(cell["chance"][k]),
        _lift(cell["recall"][k], cell["chance"][k]),
        percent(cell["shuffled"][k]),
        *(percent(cell[name][k]) if cell.get(name) else "" for name in _beside(report)),
        f"{cell['median_rank']:g}",
        _p(p),
    ]


def _retention_row(row: Mapping[str, Any]) -> list[str]:
    recalls = [f"{percent(row['before'][k])} → {percent(row['after'][k])}" for k in row["before"]]
    return [f"{row['query']} → {row['gallery']}", *recalls, "bitwise identical" if row["equal"] else "changed"]


def _lift(share: float, by_chance: float) -> str:
    return f"{share / by_chance:.1f}" if by_chance else ""


def _p(p: float) -> str:
    return f"{p:.2g}" if p >= 0.001 else f"{p:.0e}"


def print_table(report: Mapping[str, Any], console: Console) -> None:
    """The table on the terminal: for each pool the pairs never trained together, then the others (results in %)."""
    from rich.table import Table

    for title, pool in _pools(report):
        protocol = pool["protocol"]
        named = "" if title == MAIN else f" · {title}"
        caption = f"\nRetrieval among {protocol['pool']} events{named}, in %"
        table = Table(
            title=caption, title_style="bold", title_justify="left", box=None, padding=(0, 2, 0, 0), pad_edge=False
        )
        columns = _console_columns(pool, console.width)
        for number, heading in enumerate(columns):
            table.add_column(heading, justify="left" if number < 2 else "right", no_wrap=True)
        for number, (_, cells) in enumerate(_sections(pool)):
            if number:
                table.add_row()
            for cell in cells:
                row = _console_row(cell, pool)
                style = "" if cell["status"] in EMERGENT else "dim"
                table.add_row(*(row[heading] for heading in columns), style=style)
        console.print(table)
        _print_retention(pool, console)
        if protocol["left_out"] or protocol["bad"]:
            console.print(_left_out(protocol), highlight=False)
        for words in filter(None, (beside_status(pool), _declared(pool), near_words(pool))):
            console.print(words, highlight=False, soft_wrap=True)


def _print_retention(report: Mapping[str, Any], console: Console) -> None:
    """A line for each leg of the space that was extended."""
    k = str(report["protocol"]["primary_k"])
    for row in report.get("retention", []):
        leg, vectors = f"{row['query']} → {row['gallery']}", "bitwise identical" if row["equal"] else "CHANGED"
        recalls = f"R@{k} {percent(row['before'][k])} before, {percent(row['after'][k])} after"
        console.print(f"retention: {leg}: {recalls}; vectors {vectors}", highlight=False, soft_wrap=True)


def _console_columns(report: Mapping[str, Any], width: int) -> list[str]:
    beside = _beside(report) if width >= 100 else []
    recalls = [f"R@{each}" for each in report["protocol"]["k"]]
    return ["query → gallery", "status", *recalls, "95 %", "chance", "lift", *beside, "p"]


def _console_row(cell: Mapping[str, Any], report: Mapping[str, Any]) -> dict[str, str]:
    row = dict(zip(_retrieval_header(report), _retrieval_row(cell, report), strict=True))
    low, high = cell["ci95"][str(report["protocol"]["primary_k"])]
    return {**row, "95 %": f"{100 * low:.0f}–{100 * high:.0f}", "lift": row["lift over chance"]}
