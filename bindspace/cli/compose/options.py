"""Where the config files are, and what groups and options they offer. Standard library only."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from bindspace.contract import registry
from bindspace.settings import BenchmarkRun, TrainRun

MODALITY = "modality"
SCHEMAS: dict[str, type] = {"train": TrainRun, "benchmark": BenchmarkRun}
# Groups whose options are plugins too, and those of them that take a list.
PLUGINS = {"data": registry.DATASETS, "loss": registry.TERMS, "callbacks": registry.CALLBACKS}
LISTS = ("callbacks",)
# Groups that a config composes; `experiment` may override each of the others.
GROUPS = {
    "train": ["modality", "data", "loss", "callbacks", "optim", "trainer", "logger", "schedule", "suite", "experiment"],
    "benchmark": ["data", "suite", "experiment"],
}


def conf_dir() -> Path:
    """The folder of the config files: within the package where it is installed, beside it in a checkout."""
    here = Path(__file__).resolve().parents[2]
    return here / "conf" if (here / "conf").is_dir() else here.parent / "conf"


def options(group: str, user_folders: Iterable[Path] = ()) -> list[str]:
    """The names that a group offers, from files and from plugins; imports no plugin."""
    files = {path.stem for folder in _folders(user_folders) for path in (folder / group).glob("*.yaml")}
    if group == MODALITY:
        files |= {*registry.installed(), *registry.presets()}
    if group in PLUGINS:
        files |= {*registry.installed(PLUGINS[group])}
    return sorted(files)


def config_file(option: str, user_folders: Iterable[Path] = ()) -> Path | None:
    """The file of an option like `experiment/mine`, None where a plugin's class is behind it."""
    paths = (folder / f"{option}.yaml" for folder in _folders(user_folders))
    return next((path for path in paths if path.is_file()), None)


def _folders(user_folders: Iterable[Path]) -> list[Path]:
    return [conf_dir(), *registry.conf_folders(), *user_folders]
