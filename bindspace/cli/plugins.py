"""`bindspace plugins`: lists installed plugins with their packages, and load failures. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bindspace.cli.arguments import split
from bindspace.contract import PluginError, UserError, registry

TITLES = {
    registry.MODALITIES: "modalities",
    registry.DATASETS: "data sets",
    registry.FORMATS: "formats",
    registry.TERMS: "terms of the loss",
    registry.CALLBACKS: "callbacks",
}
HELP = """\
usage: bindspace plugins

Lists installed plugins: name, modality, package, version, presets; and plugins that failed to load, with the reason.
'modality=[NAME,...]' accepts names and presets."""


def run(arguments: list[str]) -> int:
    """`bindspace plugins`. Returns 0 even if a plugin fails to load: the list reports it."""
    given = split(arguments)
    if given.help:
        print(HELP)
        return 0
    if given.overrides:
        raise UserError(f"`bindspace plugins` takes no settings, got {given.overrides[0]!r}: leave it out")
    print("\n".join(listing()))
    return 0


def listing() -> Iterator[str]:
    """The lines of the list: a table for each group of plugins, then the failures."""
    failures: list[str] = []
    for group, title in TITLES.items():
        rows = list(_rows(group, failures))
        if rows:
            serves = {registry.MODALITIES: "serves", registry.FORMATS: "holds"}.get(group, "")
            presets = "presets" if group == registry.MODALITIES else ""
            yield from _table([title, serves, "package", "version", presets], rows)
            yield ""
    for name, brought in registry.presets().items():
        try:
            registry.served(name) if name not in registry.installed() else brought[0].check()
        except PluginError as error:
            failures.append(str(error))
    if failures:
        yield "failed:"
        yield from (f"  {failure}" for failure in dict.fromkeys(failures))
    else:
        yield "all plugins load"


def _rows(group: str, failures: list[str]) -> Iterator[list[str]]:
    for name, owners in registry.installed(group).items():
        try:
            loaded = registry.load(name, group)
        except PluginError as error:
            failures.append(str(error))
            for plugin in owners:
                yield [name, "(failed)", plugin.package, plugin.version, ""]
            continue
        served = loaded.modality if group == registry.MODALITIES else ""
        holds = " ".join(loaded.modalities) if group == registry.FORMATS else served
        yield [name, holds, owners[0].package, owners[0].version, _presets(owners[0], served)]


def _presets(plugin: registry.Plugin, served: str) -> str:
    """The presets of its package for this plugin, or for its modality if a file names no implementation."""
    brought = [preset for presets in registry.presets().values() for preset in presets]
    own = [preset for preset in brought if preset.package == plugin.package and preset.modality == served]
    return " ".join(preset.name for preset in own if preset.implementation in (plugin.name, None))


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    for row in [header, *rows]:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip()
