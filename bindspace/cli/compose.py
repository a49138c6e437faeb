"""From the command line to a typed run: check the overrides, compose with Hydra, check what came out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bindspace import config, registry
from bindspace.cli.apply import apply, explain
from bindspace.cli.extend import check_overrides, extended, join, read_base
from bindspace.cli.overrides import Overrides, parse, sort
from bindspace.cli.preflight import MODALITY
from bindspace.confdir import GROUPS, SCHEMAS, options
from bindspace.errors import UserError, unknown
from bindspace.modality import Head
from bindspace.settings import BenchmarkRun, TrainRun

RAISED = re.compile(r"In '(?P<file>[^']+)': (?P<kind>\w+) raised while composing config:\n(?P<message>.*)", re.DOTALL)
NO_KEY = re.compile(r"Key '(?P<name>[^']+)' not in '(?P<type>\w+)'")
NO_MATCH = re.compile(r"In '(?P<file>[^']+)': Could not override '(?P<group>[^']+)'\. No match in the defaults list")
FULL_KEY = re.compile(r"full_key: (\S+)")


@dataclass
class Composed:
    """A composed run: plain dataclasses, the config they came from, the experiment's name, the overrides."""

    run: Any
    config: DictConfig
    experiment: str
    overrides: list[str] = field(default_factory=list)


def compose_train(arguments: Sequence[str], folders: Sequence[Path] = ()) -> tuple[TrainRun, Composed]:
    """The run that `bindspace train ARGUMENTS` asks for. Raises `UserError` in one sentence."""
    composed = compose("train", arguments, folders)
    if composed.run.extend is not None:
        base = read_base(composed.run.extend)
        join(composed.run, base)
        composed.config.dim, composed.config.pivot = base.dim, base.pivot
    return composed.run, composed


def compose_benchmark(arguments: Sequence[str], folders: Sequence[Path] = ()) -> tuple[BenchmarkRun, Composed]:
    """The measurement that `bindspace benchmark ARGUMENTS` asks for. Raises `UserError` in one sentence."""
    composed = compose("benchmark", arguments, folders)
    return composed.run, composed


def compose(command: str, arguments: Sequence[str], folders: Sequence[Path] = ()) -> Composed:
    """Composes and checks. `folders`: the user's own config folders."""
    asked = sort(command, parse(arguments), folders)
    if (extend := extended(asked)) is not None:
        check_overrides(read_base(extend), asked, folders)
    with config.session(folders):
        try:
            found = _compose(command, asked, folders)
        except MissingConfigException as error:
            raise UserError(_missing(error, folders)) from error
        except HydraException as error:
            raise UserError(_composition(error, command)) from error
        except OmegaConfBaseException as error:
            raise UserError(explain(error)) from error
        except yaml.MarkedYAMLError as error:
            raise UserError(f"cannot read a config file: {error.problem}{_mark(error)}: mend the YAML there") from error
    for override in asked.settings:
        apply(found, override, command)
    experiment = next((line.split("=", 1)[1] for line in asked.groups if line.startswith("experiment=")), "null")
    run = to_run(found)
    _let_dim_follow(run, found)
    return Composed(run, found, "default" if experiment == "null" else experiment, list(arguments))


def _compose(command: str, asked: Overrides, folders: Sequence[Path]) -> DictConfig:
    groups = [*asked.groups, *asked.hydra]
    if MODALITY not in GROUPS[command]:
        return config.composed(command, groups)
    newcomers = extended(asked) is not None  # then the list is empty by default, and names only them
    if (names := asked.listed) is None:
        names = [] if newcomers else config.selected(command, groups)
    names = [*names, *asked.added]
    _one_each(names, folders)
    # `+modality=x` would come after the experiment and reset what it sets for x: the whole list stands before it.
    whole = [*groups, f"{MODALITY}=[{','.join(names)}]"]
    found = config.composed(command, whole if asked.added or newcomers else groups)
    _all_typed(found)
    return found


def _one_each(names: Sequence[str], folders: Sequence[Path]) -> None:
    """Raises `UserError` where two of the names serve one modality, with the list that keeps the later of them."""
    chosen: dict[str, str] = {}
    for name in names:
        served = registry.serves(name, folders)
        if served in chosen:
            kept = [other for other in names if registry.serves(other, folders) != served or other == name]
            clash = (
                f"{name!r} is listed twice"
                if chosen[served] == name
                else f"{chosen[served]!r} and {name!r} both serve {served!r}"
            )
            raise UserError(f"{clash}: write 'modality=[{','.join(dict.fromkeys(kept))}]'")
        chosen[served] = name


def _all_typed(found: DictConfig) -> None:
    """Raises `UserError` for settings of a modality that is not selected: Hydra accepts them in silence."""
    nodes = found[MODALITY]
    typed = [str(name) for name in nodes if hasattr(OmegaConf.get_type(nodes[name]), "modality")]
    for name in map(str, nodes):
        if name not in typed:
            hint = f"a config file sets modality.{name}: select it with +modality=NAME, or mend the name in the file"
            raise UserError(unknown("modality", name, typed, hint=hint))


def to_run(found: DictConfig) -> Any:
    """The dataclasses of a composed config, with all interpolations resolved. Raises `UserError`."""
    try:
        return OmegaConf.to_object(found)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from error
    except (ValueError, TypeError) as error:  # a plugin's own check of its settings
        raise UserError(f"a setting does not fit: {error}") from error


def _let_dim_follow(run: Any, found: DictConfig) -> None:
    """Where nobody has set `dim`, it is that of the towers which end in a space of their own (`head: identity`)."""
    if not isinstance(run, TrainRun) or not OmegaConf.is_interpolation(found, "dim"):
        return
    widths = {config.width for config in run.modality.values() if config.head is Head.identity}
    if len(widths) == 1:
        run.dim = found.dim = widths.pop()


def _missing(error: MissingConfigException, folders: Sequence[Path]) -> str:
    """The sentence for an option that a config file names and nothing answers to."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    try:
        if group == MODALITY:
            registry.serves(name, folders)
            if name in registry.installed():
                config.implementation_node(name, registry.load(name))
        elif group == "data" and name in registry.installed(registry.DATASETS):
            registry.load(name, registry.DATASETS)
    except UserError as reason:
        return f"cannot use {group}/{name}: {reason}"
    if not group:
        return str(error).splitlines()[0]
    return unknown(f"option of {group}", name, options(group, folders))


def _composition(error: HydraException, command: str) -> str:
    """The sentence for what Hydra refused: the file, the key, the closest name."""
    text = str(error)
    if found := NO_MATCH.match(text):
        return f"{found['file']}.yaml: " + unknown("group", found["group"], GROUPS[command])
    if found := RAISED.match(text):
        key = FULL_KEY.search(text)
        full = key[1] if key else ""
        if missing := NO_KEY.match(found["message"]):
            before = full.rpartition(".")[0]
            return f"{found['file']}.yaml: " + unknown(
                f"setting of {before}" if before else "setting", missing["name"], _settings(command, full)
            )
        return f"{found['file']}.yaml: {full}: {found['message'].splitlines()[0]}"
    return " ".join(text.split("\nConfig search path")[0].split())


def _settings(command: str, full_key: str) -> list[str]:
    """What could stand at the place of a key that is not there."""
    node: Any = OmegaConf.structured(SCHEMAS[command])
    for part in full_key.split(".")[:-1]:
        if part in registry.installed() and node is not None and part not in node:
            node = OmegaConf.structured(registry.load(part))
        else:
            node = node[part] if isinstance(node, DictConfig) and part in node else None
    return [str(name) for name in node] if isinstance(node, DictConfig) else []


def _mark(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    return f" in {mark.name}, line {mark.line + 1}" if mark else ""
