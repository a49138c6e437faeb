"""`bindspace benchmark`: measures what emerged in a space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bindspace.cli.arguments import split
from bindspace.cli.preflight import preflight
from bindspace.errors import UserError

if TYPE_CHECKING:
    from bindspace.settings import BenchmarkRun, Source
    from bindspace.space import Space

FLAGS = ["--help", "--cfg", "--resolve", "--config-dir"]


def run(arguments: list[str]) -> int:
    """`bindspace benchmark space=DIR 'data.test=[{path: C}]' out=DIR [key=value ...]`."""
    given = split(arguments, FLAGS)
    if given.help:
        from bindspace.cli.help import benchmark_help

        print(benchmark_help(given.folders))
        return 0
    preflight("benchmark", given.overrides, given.folders)
    from bindspace.cli.checks import BENCHMARK_CHECKS, check_values
    from bindspace.cli.compose import compose_benchmark

    settings, composed = compose_benchmark(given.overrides, given.folders)
    if given.cfg:
        from omegaconf import OmegaConf

        print(OmegaConf.to_yaml(composed.config, resolve=given.resolve), end="")
        return 0
    check_values(settings, BENCHMARK_CHECKS)
    _check_places(settings)
    measure(settings)
    return 0


def _check_places(settings: BenchmarkRun) -> None:
    space = Path(settings.space)
    if not (space / "space.json").is_file():
        raise UserError(f"space={space} holds no space.json: give the `space` folder of a run")
    if settings.data.dataset is None and not settings.data.test:
        raise UserError("there is nothing to measure on: write 'data.test=[{path: my/test.jsonl}]'")


def measure(settings: BenchmarkRun) -> Path:
    """Loads the space, measures it on each pool of the test sources, and writes the report."""
    from bindspace.bundle import load

    space = load(settings.space, device=device(settings.device))
    sources = settings.data.test
    if settings.data.dataset is not None:
        sources = settings.data.dataset.sources([], space.modalities)["test"]
    return measure_pools(space, sources, settings)


def measure_pools(space: Space, sources: Sequence[Source], settings: BenchmarkRun) -> Path:
    """One report of all pools by name, printed and written into `out`; returns the path of report.json."""
    from rich.console import Console

    from bindspace.benchmark.emergent import run_benchmark
    from bindspace.benchmark.report import join_pools, print_table, write_report
    from bindspace.data import Reader, load_pool

    pools: dict[str, list[Source]] = {}
    for source in sources:
        pools.setdefault(source.pool, []).append(source)
    reader, reports = Reader(settings.data.memory_gb), {}
    for name, members in pools.items():
        names = settings.benchmark.modalities or shared(space, members)
        pool = load_pool(members, space.configs, names, reader, settings.data.max_bad_fraction)
        reports[name] = run_benchmark(space, pool, settings.benchmark, name=str(settings.space))
    report = write_report(reports, settings.out)
    print_table(join_pools(reports), Console())
    print(report)
    return report


def shared(space: Space, sources: Sequence[Source]) -> list[str]:
    """The modalities of the space that every source has a column of."""
    from bindspace.data import Manifest

    columns = [set(Manifest.load(source, space.modalities).columns) for source in sources]
    wanted = [set(source.modalities) for source in sources if source.modalities is not None]
    return [name for name in space.modalities if all(name in names for names in [*columns, *wanted])]


def device(name: str) -> str:
    """The name of a torch device; `auto` is a GPU where there is one. Raises `UserError`."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name}: {str(error).splitlines()[0]}: write device=cpu or device=auto") from error
    return name
