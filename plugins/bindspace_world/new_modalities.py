"""New modalities of other plugins: their generated examples, one per event, of its concept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bindspace import Cell, ModalityConfig, PluginError
from bindspace.contract import registry

CONCEPTS = 10
SUFFIXES = (  # by the first bytes of a file
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x93NUMPY", ".npy"),
    (b"RIFF", ".wav"),
    (b"fLaC", ".flac"),
    (b"OggS", ".ogg"),
    (b"PK\x03\x04", ".npz"),
)
OTHER = ".bin"


def new_modalities(known: tuple[str, ...]) -> list[str]:
    """The modalities of installed plugins that are not in `known`, sorted; imports all plugins."""
    return sorted({kind.modality for _, kind in registry.healthy()} - set(known))


def serving(modality: str) -> str | None:
    """The implementation with the name of the modality, or else the first of that modality in alphabetical order.

    None: no such plugin. Raises `PluginError` for one that does not load.
    """
    if modality in registry.installed() and registry.load(modality).modality == modality:
        return modality
    return next((name for name, kind in registry.healthy() if kind.modality == modality), None)


@dataclass(frozen=True)
class Example:
    """The manifest cell, the file's bytes and suffix if the cell is a path, and the info columns."""

    cell: Any
    data: bytes
    suffix: str
    info: dict[str, Any]


class Maker:
    """Generates the examples of one modality with its plugin's default settings. Raises `PluginError` on failure."""

    def __init__(self, modality: str) -> None:
        name = serving(modality)
        assert name is not None, modality
        self.modality, self.plugin = modality, registry.find(name)
        try:
            self.config: ModalityConfig = self.plugin.load()()
        except Exception as error:  # a plugin's own check of its settings
            raise self._error(f"does not start with its default settings: {type(error).__name__}: {error}") from error

    @property
    def writes_files(self) -> bool:
        """Whether a cell is the path of a file."""
        return self.config.cell is Cell.path

    def __call__(self, seed: int, number: int, concept: int) -> Example:
        """The example of event `number` of a seed. Its random stream is not shared with other modalities."""
        import numpy as np

        stream = hashlib.sha256(f"example {self.modality}".encode()).digest()
        rng = np.random.default_rng([int.from_bytes(stream[:8], "big"), seed, number])
        try:
            made = self.config.example(rng, concept)
        except NotImplementedError as error:
            hint = "write the method, or train on your own files with data=manifest"
            raise self._error(f"has no `example`, so the world cannot show it: {hint}") from error
        except Exception as error:  # third-party code may raise anything
            raise self._error(f"fails in `example` at concept {concept}: {type(error).__name__}: {error}") from error
        if not (isinstance(made, tuple) and len(made) == 2 and isinstance(made[1], Mapping)):
            raise self._error(f"expected (source, info) from `example`, got {type(made).__name__}: return both")
        source, info = made
        columns = {f"{self.modality}.{key}": self._plain(value, f"info[{key!r}]") for key, value in info.items()}
        if self.writes_files:
            return Example(None, *self._file(source), columns)
        value = self._plain(source, "the source")
        return Example([value] if isinstance(value, list) else value, b"", "", columns)  # a list holds alternatives

    def fingerprint(self) -> bytes:
        """A hash of an example of each concept: it changes with the plugin's code. Refuses random examples."""
        hashes = []
        for _ in range(2):
            digest = hashlib.sha256()
            for concept in range(CONCEPTS):
                made = self(0, concept, concept)
                said = json.dumps([made.cell, made.suffix, made.info], sort_keys=True)
                digest.update(said.encode() + hashlib.sha256(made.data).digest())
            hashes.append(digest.digest())
        if hashes[0] != hashes[1]:
            raise self._error("gives different examples for the same rng and concept: draw from `rng` only")
        return hashes[0]

    def _file(self, source: Any) -> tuple[bytes, str]:
        """The bytes and the suffix of the file from `example`."""
        if isinstance(source, str | Path):
            try:
                return Path(source).read_bytes(), Path(source).suffix or OTHER
            except OSError as error:
                raise self._error(
                    f"names a file in `example` that cannot be read: {source}: {error.strerror}"
                ) from error
        if not isinstance(source, bytes):
            got = type(source).__name__
            raise self._error(
                f"expected the bytes or the path of a file of `example`, as its cells are paths, got {got}"
            )
        return source, next((suffix for begin, suffix in SUFFIXES if source.startswith(begin)), OTHER)

    def _plain(self, value: Any, what: str) -> Any:
        """A JSON value; arrays become lists."""
        value = value.tolist() if hasattr(value, "tolist") else value
        try:
            return json.loads(json.dumps(value, allow_nan=False))
        except (TypeError, ValueError) as error:
            raise self._error(
                f"expected numbers, strings or lists of them as {what} of `example`, got {error}"
            ) from error

    def _error(self, what: str) -> PluginError:
        return PluginError(f"plugin {self.plugin.name!r} of {self.plugin.package} {what}")
