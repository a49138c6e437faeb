"""The key of cached embeddings: hashes of the tower's weights, its settings, and the code that reads and prepares."""

from __future__ import annotations

import ast
import hashlib
import json
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, packages_distributions, requires, version
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor, nn

from bindspace.contract import ModalityConfig, PluginError, registry
from bindspace.space import Space

TRAINING_ONLY = ("tune", "bind", "weights")  # settings that affect vectors only through the weights
PACKAGE = "bindspace"
ROOT = Path(__file__).parents[1]
# The modules of the core that stand between a cell and its vector. A change in any other leaves caches as they are.
SHAPING = (
    "contract/modality.py",  # what a plugin inherits
    "data/reading.py",  # from a cell to the source and the info that `read` gets
    "data/fragments.py",  # which part of a file is meant
    "io/pictures.py",  # what plugins decode, cut and resample with
    "io/sequences.py",
    "io/sounds.py",
    "modules/adapters.py",  # networks: the weights are in the key, what is done with them is here
    "modules/heads.py",
    "modules/picture_config.py",
    "modules/timm_trunk.py",
    "modules/trunks.py",
    "space/space.py",  # towers: mean over a sample's rows, length 1
)
# Those libraries that decode, resample and multiply; what else a plugin needs is found by its requirements and imports.
LIBRARIES = ("numpy", "pillow", "soundfile", "timm", "torch", "torchaudio", "torchvision")


@dataclass(frozen=True)
class TowerKey:
    """Vectors computed with equal keys are interchangeable.

    `tower`: SHA-256 of the bytes of all parameters and buffers of encoder and head. `preparation`: of the settings, the
    source files of the plugin's package and of the core's modules in `SHAPING`, and the versions of `LIBRARIES` and of
    those that the plugin requires or imports. `device`: vectors of a GPU and of a CPU differ in their last digits.
    """

    modality: str
    implementation: str
    dim: int
    tower: str
    preparation: str
    device: str

    @property
    def name(self) -> str:
        """The name of its folder."""
        digest = hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()
        return f"{self.modality}-{digest[:24]}"


def tower_key(space: Space, name: str) -> TowerKey:
    """The key of one modality of a space in its current state."""
    config = space.configs[name]
    device = space.device.type
    return TowerKey(
        name, _implementation(config), space.dim, tower_hash(space.towers[name]), preparation_hash(config), device
    )


def tower_hash(tower: nn.Module) -> str:
    """SHA-256 over name, dtype, shape and bytes of each parameter and buffer, non-persistent ones included."""
    found = hashlib.sha256()
    for name, tensor in sorted(chain(tower.named_parameters(), tower.named_buffers())):
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        found.update(raw_bytes(tensor))
    return found.hexdigest()


def raw_bytes(tensor: Tensor) -> memoryview:
    """The bytes of a tensor of any type; without a copy where it is contiguous on the CPU."""
    return tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data


def preparation_hash(config: ModalityConfig) -> str:
    """SHA-256 of what reading, preparing and encoding depend on beside the weights: settings, sources, versions."""
    settings = {key: value for key, value in asdict(config).items() if key not in TRAINING_ONLY}
    found = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    own = dict(_own_sources(config))
    for name, source in [*own.items(), *((f"{PACKAGE}/{name}", (ROOT / name).read_bytes()) for name in SHAPING)]:
        found.update(f"{name} {len(source)}\n".encode() + source)
    found.update(json.dumps(_versions(config, own), sort_keys=True).encode())
    return found.hexdigest()


def _implementation(config: ModalityConfig) -> str:
    try:
        return registry.implementation(type(config))
    except PluginError:  # a class that is not registered
        return f"{type(config).__module__}:{type(config).__qualname__}"


def _own_sources(config: ModalityConfig) -> Iterator[tuple[str, bytes]]:
    """The source files of the packages of a plugin's class and of its bases, except those of the core."""
    packages = {kind.__module__.partition(".")[0] for kind in type(config).__mro__}
    for package in sorted(packages - {"builtins", PACKAGE}):
        file = getattr(sys.modules.get(package), "__file__", None)
        if file is None:  # defined in a notebook: its source is unknown, so it equals no other
            yield package, uuid.uuid4().bytes
            continue
        path = Path(file)
        whole = path.name == "__init__.py"
        for source in sorted(path.parent.rglob("*.py")) if whole else [path]:
            yield f"{package}/{source.relative_to(path.parent).as_posix()}", source.read_bytes()


def _versions(config: ModalityConfig, own: Mapping[str, bytes]) -> dict[str, str]:
    """Versions of `LIBRARIES`, of what the plugin's distribution requires, and of what its source files import.

    The core's own requirements, and so its version, are left out: its modules that matter are hashed as files.
    """
    packages = {name.partition("/")[0].removesuffix(".py") for name in own}
    modules = {module for source in own.values() for module in _imported(source)} - packages
    imported = {name for module in modules for name in _distributions().get(module, ())}
    found = {}
    for name in sorted({*LIBRARIES, *map(_plain, _required(config)), *map(_plain, imported)} - {PACKAGE}):
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _plain(name: str) -> str:
    """The one spelling of a distribution's name."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _required(config: ModalityConfig) -> list[str]:
    """What the plugin's distribution always requires; nothing where it is the core's own, or there is none."""
    try:
        package = registry.find(registry.implementation(type(config))).package
        lines = requires(package) if package != PACKAGE else []
    except (PluginError, PackageNotFoundError):
        return []
    return [re.split(r"[^\w.-]", line, maxsplit=1)[0] for line in lines or [] if not re.search(r"\bextra\s*==", line)]


def _imported(source: bytes) -> set[str]:
    """The top-level names of all that a source file imports, anywhere in it; of what is no Python, none."""
    try:
        nodes = list(ast.walk(ast.parse(source)))
    except (SyntaxError, ValueError):
        return set()
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module and not node.level]
    return {name.partition(".")[0] for name in names}


@cache
def _distributions() -> Mapping[str, list[str]]:
    """Importable top-level names -> the distributions that bring them; takes a third of a second."""
    return packages_distributions()
