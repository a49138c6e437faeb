"""The Hydra glue: what a config is composed from. Plugins are found by registry name, never by `_target_`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import fields
from functools import cache
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
from omegaconf.errors import OmegaConfBaseException

from bindspace import registry
from bindspace.confdir import SCHEMAS, conf_dir
from bindspace.errors import PluginError
from bindspace.settings import Size

ROOT = "modality"


class BindspaceSearchPath(SearchPathPlugin):
    """Adds the `conf/` folders of plugins, and those that the user names with --config-dir."""

    user_folders: Sequence[Path] = ()

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Called by Hydra. As `file://`, since `pkg://` does not find a folder of an editable install."""
        for folder in self.user_folders:
            search_path.append("command line", f"file://{folder.resolve()}")
        for folder, package in registry.conf_folders().items():
            search_path.append(package, f"file://{folder}")


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


def selected(name: str, overrides: list[str]) -> list[str]:
    """What the list `modality` holds, implementations and presets. Raises Hydra's errors. Within `session()`."""
    loader = GlobalHydra.instance().config_loader()
    defaults = loader.compute_defaults_list(name, overrides, RunMode.RUN).defaults
    listed = (default for default in defaults if not (default.parent or "").startswith(f"{ROOT}/"))
    return [path.removeprefix(f"{ROOT}/") for d in listed if (path := d.config_path or "").startswith(f"{ROOT}/")]


@cache
def implementation_node(name: str, config_class: type) -> DictConfig:
    """The settings of an implementation as a typed node; those that depend on the size follow `${size}`."""
    try:
        node = OmegaConf.structured(config_class)
    except (OmegaConfBaseException, NameError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise PluginError(
            f"plugin {name!r} has settings that a config cannot hold ({reason}): change their types"
        ) from error
    for setting in {setting for values in config_class.sizes.values() for setting in values}:  # type: ignore[attr-defined]
        node[setting] = f"${{dial:{name},{setting}}}"
    return node


def _register() -> None:
    """Puts the schemas and all plugins that load into Hydra's store; one that does not is explained when asked for."""
    OmegaConf.register_new_resolver("dial", _dial, replace=True)
    OmegaConf.register_new_resolver("sized", _sized, replace=True)
    Plugins.instance().register(BindspaceSearchPath)
    store = ConfigStore.instance()
    store.repo.pop(ROOT, None)  # plugins may have come or gone since the last composition in this process
    for name, schema in SCHEMAS.items():
        if f"{name}_schema.yaml" not in store.repo:
            store.store(f"{name}_schema", schema)
    for name, config_class in registry.healthy():
        try:
            node = implementation_node(name, config_class)
        except PluginError:
            continue
        store.store(name, node, group=ROOT, package=f"{ROOT}.{config_class.modality}")
    for name, config_class in registry.healthy(registry.DATASETS):
        store.store(name, {"dataset": OmegaConf.structured(config_class)}, group="data", package="data")


def _size(root: Any) -> str:
    size = root.get("size", Size.tiny)
    return size.name if isinstance(size, Size) else str(size)


def _dial(name: str, setting: str, *, _root_: Any) -> Any:
    """`${dial:IMPLEMENTATION,SETTING}`: what the plugin's `sizes` say at this size, or its default."""
    config_class = registry.load(name)
    values = config_class.sizes.get(_size(_root_), {})
    if setting in values:
        return values[setting]
    return next(getattr(config_class(), field.name) for field in fields(config_class) if field.name == setting)


def _sized(*values: Any, _root_: Any) -> Any:
    """`${sized:TINY,SMALL,BASE}`: the value that belongs to the size."""
    if len(values) != len(Size):
        raise ValueError(f"expected ${{sized:TINY,SMALL,BASE}}, got {len(values)} values")
    return values[list(Size.__members__).index(_size(_root_))]
