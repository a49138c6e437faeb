"""From the command line to a typed run: sort the overrides, compose with Hydra, put the settings in, check by type."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from bindspace.cli.compose import composition
from bindspace.cli.compose.extend import check_overrides, join, read_base
from bindspace.cli.compose.moved_keys import moved_key
from bindspace.cli.compose.options import GROUPS, MODALITY, PLUGINS, SCHEMAS, config_file, options
from bindspace.cli.compose.overrides import Overrides, parse, put, sort
from bindspace.contract import Head, UserError, registry, unknown
from bindspace.settings import BenchmarkRun, SettingError, TrainRun, from_named, from_primitives

NESTED = (MODALITY, "loss", "terms", "callbacks")  # settings whose types are those of plugins
NO_MATCH = re.compile(r"In '(?P<file>[^']+)': Could not override '(?P<group>[^']+)'\. No match in the defaults list")


@dataclass
class Composed:
    """A composed run: dataclasses, the values that they were made of, the name of its experiment."""

    run: Any
    values: dict[str, Any]
    experiment: str

    def yaml(self, *, resolve: bool) -> str:
        """The config that is run; `resolve` False: with its interpolations."""
        values = OmegaConf.to_container(OmegaConf.create(self.values), resolve=resolve)
        return yaml.safe_dump(values, sort_keys=False, allow_unicode=True)


def compose_train(arguments: Sequence[str], folders: Sequence[Path] = ()) -> tuple[TrainRun, Composed]:
    """The run that `bindspace train ARGUMENTS` asks for. `folders`: the user's config folders. Raises `UserError`."""
    found = compose("train", arguments, folders)
    if found.run.extend is not None:
        base = read_base(found.run.extend)
        join(found.run, base)
        found.values |= {"dim": base.dim, "pivot": base.pivot}
    return found.run, found


def compose_benchmark(arguments: Sequence[str], folders: Sequence[Path] = ()) -> tuple[BenchmarkRun, Composed]:
    """The measurement that `bindspace benchmark ARGUMENTS` asks for. Raises `UserError`."""
    found = compose("benchmark", arguments, folders)
    return found.run, found


def compose(command: str, arguments: Sequence[str], folders: Sequence[Path] = ()) -> Composed:
    """Composes and checks. Raises `UserError` in one sentence."""
    asked = sort(command, parse(arguments))
    with composition.session(folders):
        try:
            values, implementations, chosen = _values(command, asked, folders)
        except MissingConfigException as error:
            raise UserError(_missing(error, folders)) from error
        except HydraException as error:
            raise UserError(_refused(error, command)) from error
        except OmegaConfBaseException as error:
            raise UserError(_first_line(error)) from error
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            place = f" in {mark.name}, line {mark.line + 1}" if mark else ""
            raise UserError(f"cannot read a config file: {error.problem}{place}: fix the YAML there") from error
    for override in asked.settings:
        put(values, override)
    try:
        run = _typed(command, _resolved(values), implementations, chosen.options)
    except SettingError as error:
        if (now := moved_key(error.key)) is not None:
            raise UserError(now) from error
        hint = f"; `bindspace {command} --help` explains them" if "unknown setting" in str(error) else ""
        raise UserError(_located(error, chosen.options, asked, folders) + hint) from error
    if isinstance(run, TrainRun) and "${" in str(values["dim"]):
        _let_dim_follow(run, values)
    experiment = next((name for name in chosen.options if name.startswith("experiment/")), "experiment/default")
    return Composed(run, values, experiment.removeprefix("experiment/"))


def _values(
    command: str, asked: Overrides, folders: Sequence[Path]
) -> tuple[dict[str, Any], dict[str, str], composition.Chosen]:
    """The config as plain values with interpolations, the implementation of each modality, and what was chosen."""
    groups = [*asked.groups, *asked.hydra]
    if MODALITY not in GROUPS[command]:
        return _plain(composition.composed(command, groups)), {}, composition.chosen(command, groups)
    extend = asked.value("extend")
    listed = asked.listed
    if listed is None:  # with extend= the list is empty by default, and names only the new modalities
        listed = [] if extend is not None else composition.chosen(command, groups).modalities
    implementations = registry.resolve([*listed, *asked.added], folders)
    if extend is not None:
        check_overrides(read_base(str(extend)), asked, implementations)
    # `+modality=x` would come after the experiment and reset what it sets for x: the whole list stands before it.
    whole = [*groups, f"{MODALITY}=[{','.join([*listed, *asked.added])}]"]
    values = _plain(composition.composed(command, whole))
    for name in asked.removed:
        _selected(name, implementations)
        values[MODALITY].pop(name)
        implementations.pop(name)
    return values, implementations, composition.chosen(command, whole)


def _plain(config: Any) -> dict[str, Any]:
    values = OmegaConf.to_container(config, resolve=False)
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def _resolved(values: dict[str, Any]) -> dict[str, Any]:
    try:
        found = OmegaConf.to_container(OmegaConf.create(values), resolve=True)
    except OmegaConfBaseException as error:
        raise UserError(_first_line(error)) from error
    assert isinstance(found, dict)
    return found  # type: ignore[return-value]


def _typed(command: str, values: dict[str, Any], implementations: dict[str, str], options: Sequence[str]) -> Any:
    """The dataclasses of a resolved config. Raises `SettingError`, or `UserError` for a modality that is not chosen."""
    nested = {key: values.pop(key) for key in NESTED if key in values and command == "train"}
    data = values.get("data")
    dataset = data.pop("dataset", None) if isinstance(data, dict) else None
    run = from_primitives(SCHEMAS[command], values, trusted=True)
    if dataset is not None and (name := _plugin("data", options)) is not None:
        run.data.dataset = _settings(name, registry.DATASETS, dataset, "data.dataset")
    if command != "train":
        return run
    for name in nested.get(MODALITY) or {}:
        _selected(name, implementations)
    for name, implementation in implementations.items():
        place = f"{MODALITY}.{name}"
        run.modality[name] = _settings(implementation, registry.MODALITIES, nested[MODALITY][name], place)
    if (name := _plugin("loss", options)) is not None:
        run.loss = _settings(name, registry.TERMS, nested["loss"], "loss")
    run.terms = [from_named(each, registry.TERMS, f"terms[{i}]") for i, each in enumerate(nested.get("terms") or [])]
    for name, settings in (nested.get("callbacks") or {}).items():
        run.callbacks[name] = _settings(name, registry.CALLBACKS, settings, f"callbacks.{name}")
    return run


def _settings(name: str, group: str, values: Any, where: str) -> Any:
    return from_primitives(registry.load(name, group), values, where, trusted=True)


def _plugin(group: str, options: Sequence[str]) -> str | None:
    """Which plugin the options of a group chose, by themselves or as the default of a preset."""
    names = [name.removeprefix(f"{group}/") for name in options if name.startswith(f"{group}/")]
    return next((name for name in names if name in registry.installed(PLUGINS[group])), None)


def _selected(name: str, chosen: dict[str, str]) -> None:
    """Raises `UserError` unless the modality is selected: with the list, or with what selects it."""
    if name in chosen:
        return
    served = {kind.modality: implementation for implementation, kind in registry.healthy()}
    if name not in served:
        raise UserError(
            unknown("modality", name, {*served, *chosen}, hint="`bindspace plugins` lists what is installed")
        )
    add = name if name in registry.installed() else served[name]
    listed = ", ".join(chosen) or "none"
    raise UserError(f"modality {name!r} is not selected (selected: {listed}): add it with +modality={add}")


def _let_dim_follow(run: TrainRun, values: dict[str, Any]) -> None:
    """Where nobody has set `dim`, it is that of the towers which end in a space of their own (`head: identity`)."""
    widths = {config.width for config in run.modality.values() if config.head is Head.identity}
    if len(widths) == 1:
        run.dim = values["dim"] = widths.pop()


def _located(error: SettingError, chosen: Sequence[str], asked: Overrides, folders: Sequence[Path]) -> str:
    """The error's sentence, with the config file in front that sets the key, if one does and no override."""
    name = error.key.rpartition(".")[2]
    given = any(re.split(r"[.\[]", each.key_or_group)[0] == error.key.split(".")[0] for each in asked.settings)
    for option in [] if given else reversed(chosen):
        file = config_file(option, folders)
        if file is not None and re.search(rf"(?m)^[\s{{]*(.*[\s{{,])?{re.escape(name)}\s*:", file.read_text("utf-8")):
            return f"{option.rpartition('/')[2]}.yaml: {error}"
    return str(error)


def _missing(error: MissingConfigException, folders: Sequence[Path]) -> str:
    """The sentence for an option that nothing answers to."""
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    try:
        if group == MODALITY:
            registry.resolve([name], folders)
            if name in registry.installed():
                composition.implementation_defaults(name, registry.load(name))
        elif group in PLUGINS and name in registry.installed(PLUGINS[group]):
            registry.load(name, PLUGINS[group])
    except UserError as reason:
        return f"cannot use {group}/{name}: {reason}"
    if not group:
        return _first_line(error)
    hint = "`bindspace train --help` lists all groups, and --config-dir adds a folder of your own"
    return unknown(f"option of {group}", name, options(group, folders), hint=hint)


def _refused(error: HydraException, command: str) -> str:
    """The sentence for what Hydra refused."""
    text = str(error)
    if found := NO_MATCH.match(text):
        return f"{found['file']}.yaml: " + unknown("group", found["group"], GROUPS[command])
    return " ".join(text.split("\nConfig search path")[0].split())


def _first_line(error: Exception) -> str:
    key = getattr(error, "full_key", None)
    line = str(getattr(error, "msg", None) or error).splitlines()[0]
    return f"{key}: {line}" if key else line
