"""The text of `bindspace VERB --help`, without slow imports; settings are read from their dataclasses."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from bindspace.cli.compose.options import GROUPS, options
from bindspace.contract import Source
from bindspace.settings import BenchmarkRun, Pair, Published, StageSettings, TrainRun

COMMENT = re.compile(r"^    (\w+): .*?#\s*(.+)$", re.MULTILINE)
TRAIN = """\
usage: bindspace train [key=value ...]     train and save a space, and measure it on data.test if given
       bindspace train run=FOLDER          resume a run that was stopped (stages.N.steps, trainer.devices,
                                           trainer.nodes, trainer.threads, data.workers and logger.* may change)
       bindspace train extend=SPACE +modality=NAME   bind new modalities to a saved space with frozen towers
       bindspace train -m key=a,b ...      one run for each value

  --cfg job [--resolve]   print the composed config and exit
  --config-dir DIR        a folder of your own with experiment/NAME.yaml, modality/NAME.yaml, ...
  -m, --multirun          sweep; hydra/launcher=NAME selects where the runs are executed

examples (quote arguments with brackets, commas or blanks):
  bindspace train experiment=quickstart
  bindspace train size=base trainer.devices=2 out=runs/first
  bindspace train data=manifest 'data.train=[{path: A},{path: B}]' 'data.test=[{path: C}]' 'modality=[image,text,audio]'
  bindspace train +modality=depth '~modality.text' modality.audio.width=512 modality.audio.bind.temperature=0.1
  bindspace train '+modality=[depth,thermal]' schedule=joint optim.lr=1e-3
  bindspace train 'pairs=[{of: [audio,text], weight: 1.0, temperature: 0.07}]'
  bindspace train extend=outputs/quickstart/latest/space +modality=tactile
  bindspace train -m 'modality=[image,text],[image,text,audio]' seed=0,1,2"""
BENCHMARK = """\
usage: bindspace benchmark space=DIR 'data.test=[{path: C}]' out=DIR [key=value ...]
       bindspace benchmark space=DIR suite=NAME data_root=DIR out=DIR   compare with published results

Measures every ordered pair of modalities on the events that hold all modalities, and writes report.json, report.md,
report.html and matrix.png into out. Sources with the same `pool` are measured together.

  --cfg job [--resolve]   print the composed config and exit
  --config-dir DIR        a folder of your own with experiment/NAME.yaml

examples:
  bindspace benchmark space=outputs/quickstart/latest/space 'data.test=[{path: my/test}]' out=report
  bindspace benchmark space=S 'data.test=[{path: C}]' out=R 'benchmark.modalities=[audio,text]'
  bindspace benchmark space=S 'data.test=[{path: C}]' 'data.near=[{path: TRAIN}]' out=R"""


def train_help(folders: Sequence[Path] = ()) -> str:
    """The help of `bindspace train`: usage, groups with their options, examples, all settings."""
    return "\n".join([TRAIN, "", *_groups("train", folders), "", *_settings(TrainRun)])


def benchmark_help(folders: Sequence[Path] = ()) -> str:
    """The help of `bindspace benchmark`."""
    return "\n".join([BENCHMARK, "", *_groups("benchmark", folders), "", *_settings(BenchmarkRun)])


def _groups(command: str, folders: Sequence[Path]) -> Iterator[str]:
    yield "groups (group=option; modality is a list):"
    for group in GROUPS[command]:
        yield f"  {group:<11} {' '.join(options(group, folders))}"


def _settings(schema: type) -> Iterator[str]:
    yield "settings (key=default); `--cfg job` prints them with the selected groups applied:"
    yield from field_lines(schema, "")
    yield "  modality.NAME.*: the settings of its plugin, with tune.{freeze,lora.rank,...} and bind.{weight,...}"
    parts: dict[str, type] = {"data.train": Source, "pairs": Pair, "stages": StageSettings}
    if schema is not TrainRun:
        parts = {"data.test": Source, "benchmark.published": Published}
    for key, kind in parts.items():
        yield f"an item of {key}:"
        yield from field_lines(kind, "", indent="    ")


def field_lines(schema: type, prefix: str, indent: str = "  ") -> Iterator[str]:
    """`key=default  # comment` of each setting of a dataclass and of the dataclasses within."""
    comments: dict[str, str] = {}
    for kind in reversed(schema.__mro__[:-1]):
        comments |= dict(COMMENT.findall(inspect.getsource(kind)))
    for item in fields(schema):
        default = item.default_factory() if item.default_factory is not MISSING else item.default
        if is_dataclass(default) and not isinstance(default, type):
            yield from field_lines(type(default), f"{prefix}{item.name}.", indent)
        elif prefix or item.name not in ("modality", "stages"):
            note = f"  # {comments[item.name]}" if item.name in comments else ""
            yield f"{indent}{prefix}{item.name}{_default(default)}{note}"


def _default(value: Any) -> str:
    if value is MISSING or value == "???":
        return "=..."
    if isinstance(value, Enum):
        return f"={value.name}"
    if value is None or isinstance(value, bool):
        return f"={'null' if value is None else str(value).lower()}"
    return f"={list(value) if isinstance(value, tuple) else value}"
