"""Media in tar shards: an index of file positions, and reading a file with a single `pread`.

A folder of shards is a manifest, its tar files (WebDataset's layout), and `shards.json` between the two:

    {"schema": 1, "shards": [["000000.tar", 1048576]], "media": {"image/1.jpg": [0, 1536, 40213]}}

by shard its path below the root and its size in bytes, by medium the shard's number, the offset of its bytes and their
number. So a shard is read at any place, a batch needs no other order than that of loose files, and a file in a shard
has the digest that it has outside.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bindspace.contract import BadSample, UserError
from bindspace.io.files import json_bytes

INDEX = "shards.json"
SCHEMA = 1
OPEN = 64  # shards held open at a time, by process

Place = tuple[int, int, int]  # number of the shard, offset, bytes


@dataclass(frozen=True)
class Stored:
    """A file within a shard. Equal ones hold the same bytes."""

    shard: Path
    offset: int
    size: int
    shards: Shards = field(compare=False, repr=False)

    def read_bytes(self) -> bytes:
        """The whole file. Raises `BadSample` where the shard has become unreadable or shorter."""
        try:
            data = os.pread(self.shards.opened(self.shard), self.size, self.offset)
        except OSError as error:
            raise BadSample(f"expected a readable shard, got {error.strerror or error}") from error
        if len(data) < self.size:
            raise BadSample(f"expected {self.size} bytes at {self.offset} of {self.shard.name}, got {len(data)}")
        return data


class Shards:
    """The index of a folder of shards: the position of each medium. Raises `UserError` if index and shards disagree."""

    def __init__(self, path: Path, root: Path) -> None:
        self.path = path
        self.files, self.media = _parse(path, root)
        self._opened: dict[Path, _Handle] = {}

    def find(self, name: str) -> Stored:
        """The medium of a path as the manifest writes it. Raises `BadSample` if no shard holds it."""
        place = self.media.get(name)
        if place is None:
            raise BadSample(f"expected a file of the shards, found none in {self.path}")
        number, offset, size = place
        return Stored(self.files[number], offset, size, self)

    def opened(self, shard: Path) -> int:
        """A file descriptor of a shard; the oldest one is closed if there are too many."""
        if shard not in self._opened:
            if len(self._opened) >= OPEN:
                del self._opened[next(iter(self._opened))]
            self._opened[shard] = _Handle(shard)
        return self._opened[shard].number

    def __getstate__(self) -> dict[str, Any]:
        """State for another process: descriptors belong to one process."""
        return {**self.__dict__, "_opened": {}}


class _Handle:
    """A descriptor that is closed when its last reference is dropped."""

    def __init__(self, path: Path) -> None:
        self.number = os.open(path, os.O_RDONLY)

    def __del__(self) -> None:
        if "number" in self.__dict__:
            os.close(self.number)


def index_bytes(files: list[tuple[str, int]], media: dict[str, Place]) -> bytes:
    """The content of `shards.json`: one line per medium, readable for people and `diff`."""
    head = json_bytes({"schema": SCHEMA, "shards": files})[:-3].decode()
    lines = ",\n".join(f"    {json.dumps(name, ensure_ascii=False)}: {list(place)}" for name, place in media.items())
    return f'{head},\n  "media": {{\n{lines}\n  }}\n}}\n'.encode()


def _parse(path: Path, root: Path) -> tuple[list[Path], dict[str, Place]]:
    """The shards and positions of an untrusted index: checked to stay below `root` and within the shards."""
    try:
        index = json.loads(path.read_bytes())
        schema, shards, media = index["schema"], index["shards"], index["media"]
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror}): check its permissions") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, type(error).__name__) from error
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema!r}, and this version reads {SCHEMA}: write the shards again")
    try:
        files = [_checked_shard(path, root, str(name), size) for name, size in shards]
        for name, (number, offset, size) in media.items():
            if not (offset >= 0 and size >= 0 and number >= 0 and offset + size <= shards[number][1]):
                raise _damaged(path, f"{name!r} lies beyond the end of its shard")
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        if isinstance(error, UserError):
            raise
        raise _damaged(path, type(error).__name__) from error
    return files, media


def _checked_shard(path: Path, root: Path, name: str, size: int) -> Path:
    shard = root / name
    if not shard.resolve().is_relative_to(root.resolve()):
        raise UserError(f"{path} names the shard {name!r}, which is not below {root}: shards lie below the root")
    if not shard.is_file():
        raise UserError(f"{path} names the shard {name!r}, but there is no file at {shard}: copy it there")
    if (found := shard.stat().st_size) != size:
        raise UserError(f"{shard} has {found} bytes, but {path.name} expects {size}: copy it again, or index it again")
    return shard


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"{path} is damaged ({reason}): write the shards again with `bindspace shard`")
