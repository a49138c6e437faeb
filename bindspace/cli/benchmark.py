"""`bindspace benchmark`: measures the retrieval of a space on test sources."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bindspace.cli.arguments import split
from bindspace.contract import AbsentError, UserError, registry
from bindspace.io.files import check_place

if TYPE_CHECKING:
    from bindspace.contract import DatasetConfig
    from bindspace.settings import BenchmarkRun, Published
    from bindspace.space import Space

FLAGS = ["--help", "--cfg", "--resolve", "--config-dir"]


def run(arguments: list[str]) -> int:
    """`bindspace benchmark space=DIR 'data.test=[{path: C}]' out=DIR [key=value ...]`."""
    given = split(arguments, FLAGS)
    if given.help:
        from bindspace.cli.help import benchmark_help

        print(benchmark_help(given.folders))
        return 0
    from bindspace.cli.compose.compose import compose_benchmark
    from bindspace.settings import BENCHMARK_CHECKS, check_values

    settings, composed = compose_benchmark(given.overrides, given.folders)
    if given.cfg:
        print(composed.yaml(resolve=given.resolve), end="")
        return 0
    check_values(settings, BENCHMARK_CHECKS)
    _check_places(settings)
    measure(settings)
    return 0


def _check_places(settings: BenchmarkRun) -> None:
    space = Path(settings.space)
    if not (space / "space.json").is_file():
        raise UserError(f"space={space} holds no space.json: give the `space` folder of a run")
    if settings.benchmark.published:
        _check_table(settings)
    elif settings.data.dataset is None and not settings.data.test:
        raise UserError("expected test data, got none: write 'data.test=[{path: my/test.jsonl}]'")
    elif settings.data_root is not None:
        raise UserError("data_root has no effect without a table of published results: choose one with suite=NAME")
    check_place(settings.out)


def _check_table(settings: BenchmarkRun) -> None:
    if settings.data.dataset is not None or settings.data.test:
        raise UserError("a suite of published results uses its own data sets: leave data= and data.test out")
    if settings.data_root is None or not Path(settings.data_root).expanduser().is_dir():
        raise UserError(
            f"data_root={settings.data_root}: expected a folder that holds each data set of the table in a folder of "
            f"its name, like FOLDER/{settings.benchmark.published[0].dataset}"
        )


def measure(settings: BenchmarkRun) -> None:
    """Loads the space, measures it on each pool of the test sources, and writes the report."""
    from bindspace.benchmark.measure import measure_pools
    from bindspace.space import load

    space = load(settings.space, device=device(settings.device))
    if settings.benchmark.published:
        _measure_table(settings, space)
        return
    if settings.data.dataset is not None:
        settings.data.test = settings.data.dataset.sources([], space.modalities)["test"]
    cache = None if settings.cache is None else Path(settings.cache)
    measure_pools(space, settings.data, settings.benchmark, Path(settings.out), name=settings.space, cache=cache)


def _measure_table(settings: BenchmarkRun, space: Space) -> None:
    from bindspace.benchmark.published import measure_published

    root = Path(str(settings.data_root)).expanduser()
    cache = None if settings.cache is None else Path(settings.cache)
    options = settings.benchmark, settings.data
    measure_published(
        space, lambda row: dataset_of(row, root), *options, Path(settings.out), name=settings.space, cache=cache
    )


def dataset_of(row: Published, root: Path) -> DatasetConfig:
    """The config of a row's data set; its folder is the one with its name in `root`.

    Raises `AbsentError` if no plugin provides the data set, and `UserError` for unknown settings.
    """
    from bindspace.cli.dataset import build

    if row.dataset not in registry.installed(registry.DATASETS):
        raise AbsentError(f"no plugin provides the data set {row.dataset!r}")
    config_class = registry.load(row.dataset, registry.DATASETS)
    folder = {"folder": str(root / row.dataset)} if "folder" in config_class.__dataclass_fields__ else {}
    return build(config_class, {**folder, **row.settings})


def device(name: str) -> str:
    """The name of a torch device; `auto` is a GPU if available. Raises `UserError`."""
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device={name}: {str(error).splitlines()[0]}: write device=cpu or device=auto") from error
    return name
