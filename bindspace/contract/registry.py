"""Finds plugins by entry point. Standard library only; listing imports no plugin, and a failing plugin is isolated."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import cache
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bindspace.contract.callback import CallbackConfig
from bindspace.contract.errors import PluginError, unknown
from bindspace.contract.format import FormatConfig
from bindspace.contract.modality import CONTRACT, ModalityConfig, Size
from bindspace.contract.term import TermConfig

MODALITIES = "bindspace.modalities"
DATASETS = "bindspace.datasets"
FORMATS = "bindspace.formats"
TERMS = "bindspace.terms"
CALLBACKS = "bindspace.callbacks"
KINDS = {
    MODALITIES: "modality",
    DATASETS: "data set",
    FORMATS: "format",
    TERMS: "term",
    CALLBACKS: "callback",
}
BASES = {TERMS: TermConfig, CALLBACKS: CallbackConfig, FORMATS: FormatConfig, MODALITIES: ModalityConfig}
NAME = re.compile(r"[a-z][a-z0-9_]*")
FORMAT_WORDS = ("weights", "space", "out", "modality")  # arguments of `bindspace import` and `export`: reserved names
PRESET_PACKAGE = re.compile(r"^#\s*@package\s+modality\.(\w+)\s*$", re.MULTILINE)
PRESET_DEFAULTS = re.compile(r"^defaults\s*:(?:[\s\[-]*(\w+))?", re.MULTILINE)


@dataclass(frozen=True)
class Plugin:
    """One entry point: its name, the package and version that provide it, and `module:attribute`."""

    name: str
    group: str
    package: str
    version: str
    value: str

    def load(self) -> Any:
        """Imports the plugin. Raises `PluginError` with the reason if it fails to import or violates the contract."""
        module, _, attribute = self.value.partition(":")
        try:
            loaded = getattr(__import__(module, fromlist=[attribute]), attribute) if attribute else __import__(module)
        except Exception as error:  # importing third-party code may raise anything
            cause = f"{type(error).__name__}: {error}"
            raise PluginError(f"plugin {self.name!r} of {self.package} does not load: {cause}") from error
        if (reason := _broken(self, loaded)) is not None:
            raise PluginError(f"plugin {self.name!r} of {self.package} {reason}")
        return loaded


@dataclass(frozen=True)
class Preset:
    """A YAML file in the `conf/modality/` of a plugin (or of the user): settings of one implementation under a name."""

    name: str
    package: str
    path: Path

    @property
    def modality(self) -> str | None:
        """The modality that the `# @package modality.<modality>` line names, or None without such a line."""
        found = PRESET_PACKAGE.search(self.path.read_text(encoding="utf-8"))
        return found[1] if found else None

    @property
    def implementation(self) -> str | None:
        """The implementation it configures: the first name of its defaults."""
        found = PRESET_DEFAULTS.search(self.path.read_text(encoding="utf-8"))
        return found[1] if found else None

    def check(self) -> None:
        """Raises `PluginError` unless the file has the two lines without which Hydra silently accepts typos."""
        head = f"preset {self.name!r} of {self.package} ({self.path})"
        if self.modality is None:
            raise PluginError(f"{head} does not begin with `# @package modality.<modality>`: add that line")
        if not PRESET_DEFAULTS.search(self.path.read_text(encoding="utf-8")):
            raise PluginError(f"{head} has no `defaults: [<implementation>, _self_]`: add it below the first line")
        if self.name in installed():
            raise PluginError(f"{head} has the name of an implementation: rename the file")


def _broken(plugin: Plugin, loaded: Any) -> str | None:
    """Why a loaded plugin cannot be used, or None."""
    if not (isinstance(loaded, type) and "__dataclass_fields__" in vars(loaded)):
        return f"is not a dataclass: put @dataclass(kw_only=True) on {plugin.value}"
    contract = getattr(loaded, "contract", None)
    if contract != CONTRACT:
        return (
            f"was written for contract {contract}, this bindspace supports contract {CONTRACT}: "
            f"look for a newer version of {plugin.package}"
        )
    if (base := BASES.get(plugin.group)) is not None and not issubclass(loaded, base):
        return f"is not a {base.__name__}: {plugin.value} must be a subclass of it"
    checks = {MODALITIES: _broken_modality, FORMATS: _broken_format}
    return checks[plugin.group](plugin, loaded) if plugin.group in checks else None


def _broken_modality(plugin: Plugin, loaded: Any) -> str | None:
    for name in ("modality", "expects"):
        if not isinstance(getattr(loaded, name, None), str):
            return f"does not set the class variable `{name}`: {plugin.value} needs one"
    if not NAME.fullmatch(loaded.modality):
        return f"serves the modality {loaded.modality!r}: a name is lower-case letters, digits and _"
    settings = {field.name for field in fields(loaded)}
    for size, values in loaded.sizes.items():
        if size not in Size.__members__:
            return f"has a wrong `sizes`: {unknown('size', size, Size.__members__)}"
        if wrong := [name for name in values if name not in settings]:
            return f"has a wrong `sizes`: {unknown('setting', wrong[0], settings)}"
    return None


def _broken_format(plugin: Plugin, loaded: Any) -> str | None:
    if isinstance(names := getattr(loaded, "modalities", None), str) or not names:
        return f"does not set the class variable `modalities`: {plugin.value} needs a list of names"
    if taken := [field.name for field in fields(loaded) if field.name in FORMAT_WORDS]:
        return f"has a setting {taken[0]!r}, which is an argument of import and export: rename it in {plugin.value}"
    return None


@cache
def installed(group: str = MODALITIES) -> dict[str, list[Plugin]]:
    """All plugins of a group by name, found without importing any. More than one owner of a name is a clash."""
    found: dict[str, list[Plugin]] = {}
    for point in entry_points(group=group):
        package, version = (point.dist.name, point.dist.version) if point.dist else ("?", "?")
        plugin = Plugin(point.name, group, package, version, point.value)
        if plugin not in found.setdefault(point.name, []):
            found[point.name].append(plugin)
    return dict(sorted(found.items()))


def find(name: str, group: str = MODALITIES) -> Plugin:
    """The plugin of that name. Raises `PluginError` for an unknown name, or one that two packages claim."""
    plugins = installed(group)
    if name not in plugins:
        raise PluginError(unknown(KINDS[group], name, plugins, hint="`bindspace plugins` lists what is installed"))
    if len(plugins[name]) > 1:
        owners = " and ".join(sorted(plugin.package for plugin in plugins[name]))
        raise PluginError(f"the name {name!r} is claimed by {owners}: uninstall one of them")
    return plugins[name][0]


def load(name: str, group: str = MODALITIES) -> Any:
    """Imports and returns the config class that the plugin of that name registered."""
    return find(name, group).load()


def implementation(config_class: type, group: str = MODALITIES) -> str:
    """The entry-point name of a config class. Raises `PluginError` if it is not registered."""
    value = f"{config_class.__module__}:{config_class.__qualname__}"
    plugins = [plugin for owners in installed(group).values() for plugin in owners]
    for plugin in plugins:
        if plugin.value == value:
            return plugin.name
    for plugin in plugins:  # the entry point may refer to a module that re-exports the class
        if plugin.value.partition(":")[2] == config_class.__qualname__ and plugin.load() is config_class:
            return plugin.name
    raise PluginError(f"{value} is not registered: add an entry point in the group {group!r} of its package")


def healthy(group: str = MODALITIES) -> Iterator[tuple[str, Any]]:
    """(name, what it registered) of every plugin that loads; imports them all."""
    for name in installed(group):
        try:
            yield name, load(name, group)
        except PluginError:
            continue


def conf_folders() -> dict[Path, str]:
    """The `conf/` folders of packages with plugins, each with the package's name; imports nothing."""
    found: dict[Path, str] = {}
    for owners in (owners for group in KINDS for owners in installed(group).values()):
        for plugin in owners:
            try:
                package = plugin.value.partition(":")[0].partition(".")[0]
                spec = None if package == "bindspace" else find_spec(package)
            except (ImportError, ValueError):
                continue
            for place in (spec.submodule_search_locations or []) if spec else []:
                if (folder := Path(place) / "conf").is_dir():
                    found.setdefault(folder, plugin.package)
    return found


def presets(user_folders: Iterable[Path] = ()) -> dict[str, list[Preset]]:
    """All presets by name, those of the plugins and those of the user's own config folders; imports nothing."""
    folders = {**conf_folders(), **{folder: str(folder) for folder in user_folders}}
    found: dict[str, list[Preset]] = {}
    for folder, package in folders.items():
        for path in sorted((folder / "modality").glob("*.yaml")):
            found.setdefault(path.stem, []).append(Preset(path.stem, package, path))
    return dict(sorted(found.items()))


def served(name: str, user_folders: Iterable[Path] = ()) -> tuple[str, str]:
    """The modality that an implementation or a preset stands for, and the implementation. Raises `PluginError`."""
    brought = presets(user_folders)
    if name in installed():
        return load(name).modality, name
    if name not in brought:
        hint = "`bindspace plugins` lists what is installed"
        raise PluginError(unknown("modality", name, {*installed(), *brought}, hint=hint))
    if len(brought[name]) > 1:
        owners = " and ".join(preset.package for preset in brought[name])
        raise PluginError(f"the preset {name!r} is provided by {owners}: uninstall one of them or rename the file")
    brought[name][0].check()
    implementation = brought[name][0].implementation
    assert implementation is not None
    return served(implementation, user_folders)


def resolve(names: Sequence[str], user_folders: Iterable[Path] = ()) -> dict[str, str]:
    """The implementation of each modality that these implementations and presets stand for, in their order.

    Raises `PluginError` for a name of neither, and where two serve one modality, with the list that keeps the later.
    """
    found: dict[str, str] = {}
    chosen: dict[str, str] = {}
    for name in names:
        modality, implementation = served(name, user_folders)
        if modality in chosen:
            kept = [other for other in names if served(other, user_folders)[0] != modality or other == name]
            clash = f"{chosen[modality]!r} and {name!r} both serve {modality!r}"
            clash = f"{name!r} is listed twice" if chosen[modality] == name else clash
            raise PluginError(f"{clash}: write 'modality=[{','.join(dict.fromkeys(kept))}]'")
        chosen[modality], found[modality] = name, implementation
    return found
