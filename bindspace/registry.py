"""Finds plugins by entry point. Standard library only; listing imports no plugin, and one that fails stops no other."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from typing import Any

from bindspace.errors import PluginError, unknown
from bindspace.modality import CONTRACT

MODALITIES = "bindspace.modalities"
DATASETS = "bindspace.datasets"
FORMATS = "bindspace.formats"
NAME = re.compile(r"[a-z][a-z0-9_]*")


@dataclass(frozen=True)
class Plugin:
    """One entry point: its name, the package and version that bring it, and `module:attribute`."""

    name: str
    group: str
    package: str
    version: str
    value: str

    def load(self) -> Any:
        """Imports the plugin. Raises `PluginError` with the reason if it does not import or breaks the contract."""
        module, _, attribute = self.value.partition(":")
        try:
            loaded = getattr(__import__(module, fromlist=[attribute]), attribute)
        except Exception as error:  # a stranger's import may raise anything at all
            raise PluginError(f"plugin {self.name!r} of {self.package} does not load: {type(error).__name__}: {error}") from error
        if (reason := _broken(self, loaded)) is not None:
            raise PluginError(f"plugin {self.name!r} of {self.package} {reason}")
        return loaded


def _broken(plugin: Plugin, loaded: Any) -> str | None:
    """Why a loaded plugin cannot be used, or None."""
    if plugin.group == FORMATS:
        return None
    contract = getattr(loaded, "contract", None)
    if contract != CONTRACT:
        return f"was written for contract {contract}, this bindspace speaks contract {CONTRACT}: look for a newer version of {plugin.package}"
    if plugin.group == MODALITIES:
        for name in ("modality", "expects"):
            if not isinstance(getattr(loaded, name, None), str):
                return f"does not set the class variable `{name}`: {plugin.value} needs one"
        if not NAME.fullmatch(loaded.modality):
            return f"serves the modality {loaded.modality!r}: a name is lower-case letters, digits and _"
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
        kind = {MODALITIES: "modality", DATASETS: "data set", FORMATS: "format"}[group]
        raise PluginError(unknown(kind, name, plugins, hint="`bindspace plugins` lists what is installed"))
    if len(plugins[name]) > 1:
        owners = " and ".join(plugin.package for plugin in plugins[name])
        raise PluginError(f"the name {name!r} is claimed by {owners}: uninstall one of them")
    return plugins[name][0]


def load(name: str, group: str = MODALITIES) -> Any:
    """Imports and returns what the plugin of that name registered: a config class, or a format's module."""
    return find(name, group).load()


def implementation(config_class: type) -> str:
    """The entry-point name of a modality's config class. Raises `PluginError` if it is not registered."""
    value = f"{config_class.__module__}:{config_class.__qualname__}"
    for name, plugins in installed().items():
        for plugin in plugins:
            if plugin.value == value or (plugin.value.split(":")[1] == config_class.__qualname__ and plugin.load() is config_class):
                return name
    raise PluginError(f"{value} is not registered: add an entry point in the group {MODALITIES!r} of its package")
