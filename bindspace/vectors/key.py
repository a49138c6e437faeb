"""What the vectors of a tower depend on, in hashes: its weights, its settings, the code that reads and prepares."""

from __future__ import annotations

import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from bindspace.contract import ModalityConfig, PluginError, registry
from bindspace.space import Space

TRAINING_ONLY = ("tune", "bind", "weights")  # settings that vectors do not depend on, save through the weights
PACKAGE = "bindspace"


@dataclass(frozen=True)
class TowerKey:
    """Vectors that were computed under equal keys may stand for each other.

    `tower`: SHA-256 of the bytes of all parameters and buffers of encoder and head. `preparation`: of the settings, the
    source files of the plugin's package and of the core's modules that it may use, and the versions of the libraries
    that its distribution requires. Vectors of a GPU and of a processor differ in their last digits: `device`.
    """

    modality: str
    implementation: str
    dim: int
    tower: str
    preparation: str
    device: str

    @property
    def name(self) -> str:
        """A folder's name for it."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.modality}-{digest[:24]}"


def tower_key(space: Space, name: str) -> TowerKey:
    """The key of one modality of a space as it stands."""
    config = space.configs[name]
    device = space.device.type
    return TowerKey(
        name, _implementation(config), space.dim, tower_hash(space.towers[name]), preparation_hash(config), device
    )


def tower_hash(tower: nn.Module) -> str:
    """SHA-256 over name, type, shape and bytes of each parameter and buffer, those that are never saved too."""
    found = hashlib.sha256()
    for name, tensor in sorted(chain(tower.named_parameters(), tower.named_buffers())):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(raw_bytes(tensor))
    return found.hexdigest()


def raw_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor of any type; without a copy where it is contiguous on the CPU."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def preparation_hash(config: ModalityConfig) -> str:
    """SHA-256 of the settings, the source files and the library versions that reading and preparing depend on."""
    settings = {key: value for key, value in asdict(config).items() if key not in TRAINING_ONLY}
    found = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for package in sorted({kind.__module__.partition(".")[0] for kind in type(config).__mro__} - {"builtins"}):
        for name, source in _sources(package):
            found.update(f"{package}/{name} {len(source)}\n".encode() + source)
    found.update(json.dumps(_versions(config), sort_keys=True).encode())
    return found.hexdigest()


def _implementation(config: ModalityConfig) -> str:
    try:
        return registry.implementation(type(config))
    except PluginError:  # a library user's own class
        return f"{type(config).__module__}:{type(config).__qualname__}"


def _sources(package: str) -> Iterator[tuple[str, bytes]]:
    """The source files of a package; of the core those at its top, where the tools for plugins are."""
    file = getattr(sys.modules.get(package), "__file__", None)
    if file is None:  # typed into a notebook: nothing says what it was, so it is equal to nothing
        yield "?", uuid.uuid4().bytes
        return
    path = Path(file)
    if path.name != "__init__.py":
        yield path.name, path.read_bytes()
        return
    for source in sorted(path.parent.glob("*.py") if package == PACKAGE else path.parent.rglob("*.py")):
        yield source.relative_to(path.parent).as_posix(), source.read_bytes()


def _versions(config: ModalityConfig) -> dict[str, str]:
    """Versions of what the core and the plugin's distribution require, as far as it is installed."""
    packages = {PACKAGE}
    with suppress(PluginError):
        packages.add(registry.find(registry.implementation(type(config))).package)
    needed: set[str] = set()
    for package in packages:
        try:
            needed |= {re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in requires(package) or []}
        except PackageNotFoundError:
            continue
    found = {}
    for name in needed:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
