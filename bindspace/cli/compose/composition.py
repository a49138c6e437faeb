"""What Hydra composes a config from. Plugins are found by registry name, never by `_target_`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.initialize import get_gh_backup, restore_gh_from_backup
from hydra.plugins.search_path_plugin import SearchPathPlugin
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from bindspace.cli.compose.options import MODALITY, PLUGINS, SCHEMAS, conf_dir
from bindspace.contract import PluginError, Size, UserError, registry
from bindspace.settings import defaults, from_primitives, to_primitives


class BindspaceSearchPath(SearchPathPlugin):
    """Adds the `conf/` folders of plugins, and those that the user names with --config-dir."""

    user_folders: Sequence[Path] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra. As `file://`, since `pkg://` does not find a folder of an editable install."""
        for folder in self.user_folders:
            search_path.append("command line", f"file://{folder.resolve()}")
        for folder, package in registry.conf_folders().items():
            search_path.append(package, f"file://{folder}")


@dataclass
class Chosen:
    """What the defaults list names: the options of each group in order, e.g. `loss/fixed`, and those of `modality`."""

    options: list[str]
    modalities: list[str]


@contextmanager
def session(user_folders: Sequence[Path] = ()) -> Iterator[None]:
    """Within this block Hydra knows the plugins and the config folders; afterwards all is as it was."""
    _register()
    BindspaceSearchPath.user_folders = user_folders
    outer = get_gh_backup()  # a job of a sweep composes while Hydra is at work outside
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(conf_dir()), job_name="bindspace", version_base="1.3"):
            yield
    finally:
        restore_gh_from_backup(outer)
        BindspaceSearchPath.user_folders = ()


def composed(name: str, overrides: list[str]) -> DictConfig:
    """The config `name` with overrides of groups, not resolved. Raises Hydra's errors. Within `session()`."""
    return compose(name, overrides)


def chosen(name: str, overrides: list[str]) -> Chosen:
    """What these overrides select. Raises Hydra's errors. Within `session()`."""
    found = GlobalHydra.instance().config_loader().compute_defaults_list(name, overrides, RunMode.RUN).defaults
    options = [default.config_path for default in found if default.config_path]
    listed = (each for each in found if not (each.parent or "").startswith(f"{MODALITY}/"))
    paths = (each.config_path or "" for each in listed)
    names = [path.removeprefix(f"{MODALITY}/") for path in paths if path.startswith(f"{MODALITY}/")]
    return Chosen(options, names)


def implementation_defaults(name: str, config_class: Any) -> dict[str, Any]:
    """The settings of an implementation as JSON values; those that depend on the size follow it.

    Raises `PluginError` for settings that no config can hold.
    """
    values = defaults(config_class)
    try:
        from_primitives(config_class, {key: value for key, value in values.items() if value != "???"}, name)
    except PluginError:
        raise
    except UserError as error:
        if not str(error).endswith("is missing: give it a value"):
            raise PluginError(f"plugin {name!r} has defaults that do not fit their types: {error}") from error
    sized = {setting for each in config_class.sizes.values() for setting in each}
    return values | {setting: f"${{at_size:{name},{setting}}}" for setting in sized}


def _register() -> None:
    """Puts the schemas and all plugins that load into Hydra's store; one that does not is explained when asked for."""
    OmegaConf.register_new_resolver("at_size", _at_size, replace=True)
    OmegaConf.register_new_resolver("sized", _sized, replace=True)
    Plugins.instance().register(BindspaceSearchPath)
    store = ConfigStore.instance()
    for group in (MODALITY, *PLUGINS):
        store.repo.pop(group, None)  # plugins may have come or gone since the last composition in this process
    for name, schema in SCHEMAS.items():
        if f"{name}_schema.yaml" not in store.repo:
            store.store(f"{name}_schema", defaults(schema))
    for name, config_class in registry.healthy():
        try:
            values = implementation_defaults(name, config_class)
        except PluginError:
            continue
        store.store(name, values, group=MODALITY, package=f"{MODALITY}.{config_class.modality}")
    for name, config_class in registry.healthy(registry.DATASETS):
        store.store(name, {"dataset": defaults(config_class)}, group="data", package="data")
    for name, config_class in registry.healthy(registry.TERMS):
        store.store(name, defaults(config_class), group="loss", package="loss")
    for name, config_class in registry.healthy(registry.CALLBACKS):
        store.store(name, defaults(config_class), group="callbacks", package=f"callbacks.{name}")


def _size(root: Any) -> str:
    return str(root.get("size", Size.tiny.value))


def _at_size(name: str, setting: str, *, _root_: Any) -> Any:
    """`${at_size:IMPLEMENTATION,SETTING}`: what the plugin's `sizes` say at this size, or its default."""
    config_class = registry.load(name)
    values = to_primitives(config_class.sizes.get(_size(_root_), {}))
    return values.get(setting, defaults(config_class)[setting])


def _sized(*values: Any, _root_: Any) -> Any:
    """`${sized:TINY,SMALL,BASE}`: the value that belongs to the size."""
    if len(values) != len(Size):
        raise ValueError(f"expected ${{sized:TINY,SMALL,BASE}}, got {len(values)} values")
    if (size := _size(_root_)) not in Size.__members__:
        return values[0]  # the size itself is refused with a sentence of its own
    return values[list(Size.__members__).index(size)]
