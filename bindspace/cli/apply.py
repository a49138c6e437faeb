"""Settings of the command line, put into a composed config one by one, so that each mistake can be named exactly."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from bindspace import registry
from bindspace.cli.overrides import plain
from bindspace.cli.preflight import MODALITY, explained
from bindspace.errors import UserError, unknown

EXPECTED = {"Integer": "a whole number", "Float": "a number"}
NO_BOOLEAN = re.compile(r"Value '(.*)' is not a valid bool", re.DOTALL)
CONVERTED = re.compile(r"Value '(.*)' of type '.*' could not be converted to (\w+)", re.DOTALL)
ONE_OF = re.compile(r"Invalid value '(.*)', expected one of \[(.*)\]", re.DOTALL)


def apply(config: DictConfig, override: Override, command: str) -> None:
    """Changes one setting of a composed config. Raises `UserError` for a key or a value that does not fit."""
    path = [part for part in re.split(r"[.\[\]]+", override.key_or_group) if part]
    if override.is_delete():
        _delete(config, path, override)
        return
    _walk(config, path, explained(command))
    try:
        with open_dict(config):
            OmegaConf.update(config, ".".join(path), plain(override.value()), merge=True, force_add=True)
    except OmegaConfBaseException as error:
        raise UserError(explain(error)) from error
    except (ValueError, TypeError) as error:
        raise UserError(f"cannot use {override.input_line!r}: {str(error).splitlines()[0]}") from error


def _walk(config: DictConfig, path: list[str], hint: str) -> None:
    """Raises `UserError` unless every part of the path names something that is there, or a free key of a mapping."""
    node: Any = config
    for depth, part in enumerate(path):
        before = ".".join(path[:depth])
        if isinstance(node, ListConfig):
            if not part.isdigit() or int(part) >= len(node):
                raise UserError(f"{before} has {len(node)} items, counted from 0: there is no {before}.{part}")
            node = node[int(part)]
            continue
        if not isinstance(node, DictConfig) or node._is_none():
            has = "is not set, so it has no settings" if node is None else "is one value"
            raise UserError(f"cannot set {'.'.join(path)}: {before} {has}; set {before} as a whole")
        if before == MODALITY:
            _is_selected(part, [str(name) for name in node])
        elif OmegaConf.get_type(node) is dict:
            return
        elif part not in (keys := [str(key) for key in node.keys()]):  # noqa: SIM118 -- `in` leaves out what is missing
            raise UserError(unknown(f"setting of {before}" if before else "setting", part, keys, hint=hint))
        node = (
            node._get_node(part)
            if OmegaConf.is_interpolation(node, part) or OmegaConf.is_missing(node, part)
            else node[part]
        )


def _is_selected(name: str, chosen: Iterable[str]) -> None:
    """Raises `UserError` unless the modality is selected: with the list, or the command that selects it."""
    chosen = list(chosen)
    if name in chosen:
        return
    served = {config_class.modality: implementation for implementation, config_class in registry.healthy()}
    if name not in served:
        raise UserError(
            unknown("modality", name, {*served, *chosen}, hint="`bindspace plugins` lists what is installed")
        )
    add = name if name in registry.installed() else served[name]
    raise UserError(
        f"modality {name!r} is not selected ({', '.join(chosen) or 'none'} is): add it with +modality={add}"
    )


def _delete(config: DictConfig, path: list[str], override: Override) -> None:
    if len(path) != 2 or path[0] != MODALITY:
        raise UserError(f"cannot remove {'.'.join(path)!r}: only modalities can be removed, with ~modality.NAME")
    _is_selected(path[1], [str(name) for name in config[MODALITY]])
    with open_dict(config):
        del config[MODALITY][path[1]]


def explain(error: OmegaConfBaseException, where: str = "") -> str:
    """One sentence for what OmegaConf refused: the key, what was expected, what came."""
    key, lines = error.full_key or "", str(error.msg or error).splitlines()
    head = f"{where}{key}"
    if found := CONVERTED.match(str(error)):
        return f"{head}: expected {EXPECTED.get(found[2], found[2])}, got {found[1]!r}"
    if found := ONE_OF.match(str(error)):
        return unknown(f"value of {head}", found[1], found[2].split(", "))
    if found := NO_BOOLEAN.match(str(error)):
        return f"{head}: expected true or false, got {found[1]!r}"
    if "not Optional" in str(error):
        return f"{head}: expected a value, got null"
    if "issing mandatory value" in str(error):
        return f"{head} is missing: give it a value"
    if (
        str(error).startswith("Key ")
        and isinstance(error.object_type, type)
        and hasattr(error.object_type, "__dataclass_fields__")
    ):
        before, _, name = key.rpartition(".")
        return where + unknown(
            f"setting of {before}" if before else "setting", name, error.object_type.__dataclass_fields__
        )
    return f"{head}: {lines[0] if lines else type(error).__name__}"
