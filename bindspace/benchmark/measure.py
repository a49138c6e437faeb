"""Measures a space on test sources: embeds and measures each pool, writes the report, prints the table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindspace.benchmark.cell import Kept
from bindspace.benchmark.emergent import run_benchmark
from bindspace.benchmark.near_duplicates import find_near
from bindspace.benchmark.report.html import Page
from bindspace.benchmark.report.report import join_pools, print_table, top_pool, write_report
from bindspace.benchmark.tasks.choices import measure_choices
from bindspace.benchmark.tasks.retention import retention
from bindspace.contract import Source
from bindspace.data import LISTING, BadRows, Manifest, Reader, load_pool
from bindspace.settings import BenchmarkSettings, DataSettings

if TYPE_CHECKING:
    from torch import Tensor

    from bindspace.space import Space


def measure_pools(
    space: Space,
    data: DataSettings,
    settings: BenchmarkSettings,
    out: Path,
    *,
    name: str,
    untrained: Space | None = None,
    ancestor: Space | None = None,
    progress: bool = True,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Measures the space on each pool of `data.test`, writes the report into `out`, prints it, and returns it.

    `name`: the name of the space in the report. `untrained`: an untrained space as a baseline. `ancestor`: the space
    that it extends, for the report's `retention`. A data set plugin (`data.dataset`) provides prompts for its
    attributes, and the attributes that each modality can reveal. `data.near`: training data to search for
    near-duplicates. Cells that cannot be read are listed in `out/bad_rows.jsonl`. `cache`: a folder for cached
    embeddings of the space.
    """
    from rich.console import Console

    known = None
    if data.dataset is not None:
        known = data.dataset.known()
        settings = replace(settings, templates={**data.dataset.templates(), **settings.templates})
    pools: dict[str, list[Source]] = {}
    for source in data.test:
        pools.setdefault(source.pool, []).append(source)
    (out / LISTING).unlink(missing_ok=True)
    reader, reports, bad = Reader(data.memory_gb), {}, BadRows(out / LISTING)
    ranks: dict[str, dict[str, Tensor]] = {}
    page = Page(settings.map.value)
    for pool_name, sources in pools.items():
        names = settings.modalities or shared(space, sources)
        pool = load_pool(sources, space.configs, names, reader, data.max_bad_fraction, bad)
        kept = Kept()
        near = find_near(pool, data.near, data.max_bad_fraction, bad, progress) if data.near else None
        reports[pool_name] = run_benchmark(
            space, pool, settings, name=name, untrained=untrained, known=known, kept=kept, progress=progress,
            cache=cache, near=near,
        )  # fmt: skip
        if ancestor is not None:
            reports[pool_name]["retention"] = retention(space, ancestor, pool, settings, progress=progress)
        ranks[pool_name] = kept.ranks
        page.add(pool_name, pool, kept)
    choices = [*data.choices, *(data.dataset.choices() if settings.choices and data.dataset is not None else [])]
    if found := measure_choices(space, choices, settings.batch_size):
        reports[top_pool(reports)]["choices"] = found
    path = write_report(reports, out, ranks, page)
    report = join_pools(reports)
    print_table(report, Console())
    print(f"report: {path.parent}")
    return report


def shared(space: Space, sources: Sequence[Source]) -> list[str]:
    """The modalities of the space that every source has a column for and allows."""
    manifests = [Manifest.load(source, space.modalities) for source in sources]
    return [name for name in space.modalities if all(manifest.uses(name) for manifest in manifests)]
