"""A space as a folder: `space.json`, `model.safetensors`, the ledger, and a model card. It contains no code.

A folder may be untrusted: classes come from the registry, settings are checked against the plugin's dataclass, no
value is used as a path or a URL, and no more memory is allocated than the weights in the file account for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from bindspace.contract import ModalityConfig, PluginError, UserError, registry, unknown
from bindspace.io.files import inside, replace_folder, sha256, write_json, write_text
from bindspace.ledger import Ledger
from bindspace.ledger import file as ledger_file
from bindspace.settings import LARGEST, from_primitives, pair_name, to_primitives
from bindspace.space.budget import Budget
from bindspace.space.card import model_card
from bindspace.space.merging import plain_state
from bindspace.space.space import Space
from bindspace.space.temperature import Temperature

SCHEMA = 1
SPACE, WEIGHTS, CARD = "space.json", "model.safetensors", "README.md"
FILES = {SPACE, WEIGHTS, CARD, ledger_file.JSON, ledger_file.MEDIA}
_MAX_JSON = 4 << 20  # bytes
_SLACK = 256 << 20  # bytes that towers may take beside their weights, e.g. for tables that are computed
_DTYPES = {
    torch.float64: "F64", torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16", torch.int64: "I64",
    torch.int32: "I32", torch.int16: "I16", torch.int8: "I8", torch.uint8: "U8", torch.bool: "BOOL",
}  # fmt: skip
_FLOATS = {"F64", "F32", "F16", "BF16"}


def save(space: Space, folder: str | Path, card: str | None = None) -> Path:
    """Writes the space as a folder, whole or not at all, and replaces an older space. Returns the folder.

    `card`: markdown for the model card, e.g. a table of results. Raises `UserError` if the folder holds anything other
    than a space, or cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: move it, or choose another folder")
    others = sorted(path.name for path in folder.iterdir() if path.name not in FILES) if folder.is_dir() else []
    if others:
        raise UserError(f"{folder} holds {others[0]!r}, which does not belong to a space: choose another folder")
    description = describe(space)
    with replace_folder(folder) as new:
        try:
            save_file(_tensors(space), new / WEIGHTS)
        except (SafetensorError, OSError) as error:
            raise UserError(f"cannot write {folder / WEIGHTS}: {error}: choose another folder or make room") from error
        write_json(new / SPACE, description)
        if space.ledger is not None:
            dropped = set(space.ledger.towers) - set(space.modalities)  # by `load(modalities=...)`
            space.ledger.without(dropped).save(new, sha256(new / WEIGHTS))
        write_text(new / CARD, model_card(space, description, card))
    return folder


def load(folder: str | Path, modalities: Sequence[str] | None = None, device: str | torch.device = "cpu") -> Space:
    """Loads a space from a folder, in evaluation mode, with only the given modalities.

    Reads only the tensors of those modalities. The ledger is checked against the weights: if they do not match, every
    status is `unknown`. Raises `UserError`, or `PluginError` if a plugin is missing.
    """
    folder = Path(folder)
    for name in FILES - {CARD}:
        inside(folder, name)
    description = _read(folder)
    names = _chosen(modalities, list(description["modalities"]))
    configs = {name: _config(name, description["modalities"][name], folder / SPACE) for name in names}
    if not (folder / WEIGHTS).is_file():
        raise UserError(f"{folder} has no {WEIGHTS}: copy the whole space folder again")
    try:
        with safe_open(folder / WEIGHTS, framework="pt", device="cpu") as weights:
            space = _build(configs, description, weights, folder)
            with torch.no_grad():
                for name, tensor in space.state_dict().items():
                    tensor.copy_(weights.get_tensor(name))
    except (SafetensorError, OSError) as error:
        raise UserError(f"{folder / WEIGHTS} is damaged ({error}): copy the whole space folder again") from error
    space.ledger = Ledger.load(folder, sha256(folder / WEIGHTS))
    return _moved(space.eval(), device)


def read_settings(folder: str | Path) -> tuple[dict[str, ModalityConfig], int, str]:
    """The configs, dim and pivot of the space that a folder holds, checked as in `load`; no weights are read."""
    folder = Path(folder)
    description = _read(folder)
    entries = description["modalities"]
    configs = {name: _config(name, entries[name], folder / SPACE) for name in _chosen(None, list(entries))}
    return configs, description["dim"], description["pivot"]


def describe(space: Space) -> dict[str, Any]:
    """The content of `space.json`. Raises `UserError` for a setting that could not be loaded again."""
    modalities = {}
    for name, config in space.configs.items():
        plugin = registry.find(registry.implementation(type(config)))
        settings = to_primitives(config) | {"weights": None}
        from_primitives(type(config), settings, f"modality.{name}")
        modalities[name] = {
            "implementation": plugin.name,
            "package": plugin.package,
            "version": plugin.version,
            "contract": config.contract,
            "settings": settings,
        }
    temperatures = {
        pair: {"learned": temperature.learned, "minimum": temperature.minimum}
        | ({} if temperature.bias is None else {"bias": True})
        for pair, temperature in space.temperatures.items()
        if isinstance(temperature, Temperature)
    }
    return {
        "schema": SCHEMA,
        "bindspace": version("bindspace"),
        "torch": torch.__version__,
        "pivot": space.pivot,
        "dim": space.dim,
        "modalities": modalities,
        "temperatures": temperatures,
    }


def _tensors(space: Space) -> dict[str, torch.Tensor]:
    """The state on the CPU, adapters merged; what shares memory is copied, since safetensors keeps each on its own."""
    tensors, taken = {}, set()
    for name, tensor in plain_state(space).items():
        if not isinstance(tensor, torch.Tensor):
            raise PluginError(f"{name} is {type(tensor).__name__}: only tensors can be saved: keep it in the settings")
        tensor = tensor.detach().cpu().contiguous()
        storage = tensor.untyped_storage()
        if storage.data_ptr() in taken or storage.nbytes() != tensor.nbytes:
            tensor = tensor.clone()
        taken.add(tensor.untyped_storage().data_ptr())
        tensors[name] = tensor
    return tensors


def _read(folder: Path) -> dict[str, Any]:
    """`space.json`, with its outer structure checked; settings of modalities are checked when they are used."""
    path = folder / SPACE
    if not path.is_file():
        hint = (
            f": did you mean {folder / 'space'}?"
            if (folder / "space" / SPACE).is_file()
            else ": expected a space folder"
        )
        raise UserError(f"there is no {path}{hint}")
    try:
        if path.stat().st_size > _MAX_JSON:
            raise ValueError(f"it is larger than {_MAX_JSON >> 20} MiB")
        value = json.loads(path.read_bytes(), parse_constant=_refuse, object_pairs_hook=_distinct)
    except (ValueError, RecursionError, OSError) as error:
        raise UserError(f"{path} is damaged ({error}): copy the whole space folder again") from error
    if isinstance(value, dict) and value.get("schema") != SCHEMA:
        found = repr(value.get("schema"))[:20]
        raise UserError(
            f"{path} has schema {found}, this bindspace supports schema {SCHEMA}: use the version that wrote it"
        )
    _keys(value, ("schema", "bindspace", "torch", "pivot", "dim", "modalities", "temperatures"), path)
    _keys(value["modalities"], None, f"{path}: modalities")
    _keys(value["temperatures"], None, f"{path}: temperatures")
    for name in ("bindspace", "torch", "pivot"):
        from_primitives(str, value[name], f"{path}: {name}")
    _positive(from_primitives(int, value["dim"], f"{path}: dim"), f"{path}: dim")
    for name in (value["pivot"], *value["modalities"]):
        _named(name, path)
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _distinct(items: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(items)
    if len(values) != len(items):
        raise ValueError("it has a duplicate key")
    return values


def _keys(value: Any, names: Iterable[str] | None, where: object) -> None:
    """Checks that an object has exactly these keys."""
    if not isinstance(value, dict):
        raise UserError(f"{where}: expected values by name, got {str(value)[:40]!r}")
    for name in value if names is not None else ():
        if name not in (names := tuple(names or ())):
            raise UserError(f"{where}: {unknown('key', name[:80], names)}")
    for name in names or ():
        if name not in value:
            raise UserError(f"{where}: expected a key {name!r}, there is none: copy the whole space folder again")


def _positive(number: float, where: str) -> None:
    if not 0 < number <= LARGEST or not math.isfinite(number):
        raise UserError(f"{where}: expected a number above 0, got {number}")


def _named(name: str, where: object) -> None:
    if not registry.NAME.fullmatch(name):
        raise UserError(f"{where}: expected a name of lower-case letters, digits and _, got {name[:80]!r}")


def _chosen(asked: Sequence[str] | None, there: list[str]) -> list[str]:
    if isinstance(asked, str):
        raise UserError(f"expected a list of modalities, got a string: write [{asked!r}]")
    for name in asked or ():
        if name not in there:
            raise UserError(unknown("modality of this space", name, there))
    if not there or (asked is not None and not asked):
        raise UserError(f"expected at least one modality, got none (available: {', '.join(there)})")
    return [name for name in there if asked is None or name in asked]


def _config(name: str, entry: Any, path: Path) -> ModalityConfig:
    """One modality's config, from its plugin's class and the checked settings."""
    where = f"{path}: modalities.{name}"
    _keys(entry, ("implementation", "package", "version", "contract", "settings"), where)
    said = {key: from_primitives(str, entry[key], f"{where}.{key}") for key in ("implementation", "package", "version")}
    _named(said["implementation"], where)
    if said["implementation"] not in registry.installed():
        needs = f"needs the plugin {said['implementation']!r} of the package {said['package']!r} ({said['version']})"
        raise PluginError(f"{where} {needs}, which is not installed: install it, or load other modalities")
    kind = registry.load(said["implementation"])
    if kind.modality != name:
        raise UserError(f"{where}: the plugin {said['implementation']!r} serves {kind.modality!r}, not {name!r}")
    if from_primitives(int, entry["contract"], f"{where}.contract") != kind.contract:
        raise UserError(f"{where} was written for contract {entry['contract']}, its plugin supports {kind.contract}")
    config = from_primitives(kind, entry["settings"], f"{where}.settings")
    if config.weights is not None:
        raise UserError(f"{where}.settings.weights: expected null, since weights are in {WEIGHTS}")
    return config


def _build(configs: Mapping[str, ModalityConfig], description: Mapping[str, Any], weights: Any, folder: Path) -> Space:
    """The space with new weights, after checking that the file has exactly its tensors."""
    keys = set(weights.keys())
    budget = Budget(8 * (folder / WEIGHTS).stat().st_size + _SLACK, 16 * len(keys) + 1000)
    try:
        with torch.random.fork_rng(devices=[]), budget:
            space = Space(configs, description["dim"], description["pivot"], pretrained=False)
    except Exception as error:  # a plugin's constructor may raise anything for unexpected settings
        raise UserError(f"{folder / SPACE}: its settings build no towers ({type(error).__name__}: {error})") from error
    _add_temperatures(space, description, folder)
    prefixes = [f"towers.{name}." for name in description["modalities"] if name not in configs]
    prefixes += [f"temperatures.{pair}." for pair in description["temperatures"] if pair not in space.temperatures]
    _compare(space, {key for key in keys if not key.startswith(tuple(prefixes))}, weights, folder / WEIGHTS)
    return space


def _add_temperatures(space: Space, description: Mapping[str, Any], folder: Path) -> None:
    """The temperatures of pairs of which both modalities are built."""
    for pair, values in description["temperatures"].items():
        where = f"{folder / SPACE}: temperatures.{pair[:80]}"
        sides = pair.split("-")
        if (
            set(sides) - set(description["modalities"])
            or len(sides) != 2
            or pair != pair_name(sides[0], sides[1], description["pivot"])
        ):
            raise UserError(f"{where}: expected two modalities of this space joined by -, the pivot first")
        biased = isinstance(values, dict) and "bias" in values  # of a sigmoid loss
        _keys(values, ("learned", "minimum", "bias") if biased else ("learned", "minimum"), where)
        biased = biased and from_primitives(bool, values["bias"], f"{where}.bias")
        learned = from_primitives(bool, values["learned"], f"{where}.learned")
        minimum = from_primitives(float, values["minimum"], f"{where}.minimum")
        _positive(minimum, f"{where}.minimum")
        if all(side in space.configs for side in sides):
            space.temperatures[pair] = Temperature(1.0, learned, minimum, bias=0.0 if biased else None)


def _compare(space: Space, keys: set[str], weights: Any, path: Path) -> None:
    state = space.state_dict()
    if missing := sorted(state.keys() - keys):
        raise UserError(
            f"{path} has no tensor {missing[0]!r}, which {SPACE} requires: copy the whole space folder again"
        )
    if extra := sorted(keys - state.keys()):
        raise UserError(f"{path} has a tensor {extra[0]!r}, which is not in {SPACE}: copy the whole folder again")
    for name, tensor in state.items():
        part = weights.get_slice(name)
        shape, kind, expected = tuple(part.get_shape()), part.get_dtype(), _DTYPES.get(tensor.dtype)
        if shape != tuple(tensor.shape) or not (kind == expected or {kind, expected} <= _FLOATS):
            wanted, got = f"{expected} {tuple(tensor.shape)}", f"{kind} {shape}"
            raise UserError(f"{path}: {name}: expected {wanted} as {SPACE} says, got {got}: the two do not match")


def _moved(space: Space, device: str | torch.device) -> Space:
    try:
        return space.to(device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"cannot put the space on {str(device)!r}: {error}") from error
