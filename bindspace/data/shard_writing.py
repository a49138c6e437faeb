"""Writes the rows of a manifest and their media as tar shards: WebDataset's layout, equal input gives equal bytes."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from bindspace.contract import BadSample, Cell, Source, UserError, registry, unknown
from bindspace.data.manifest import Manifest
from bindspace.data.reading import open_cell
from bindspace.data.shards import INDEX, Place, index_bytes
from bindspace.data.tables import Row, alternatives, table_bytes
from bindspace.io.files import replace_folder, write_bytes
from bindspace.io.progress import track

BLOCK = 512  # of a tar file
MIB = 2**20


@dataclass(frozen=True)
class Member:
    """A file to store: its name in the shard, its path in the manifest, and its current path."""

    name: str
    path: str
    file: Path
    size: int


@dataclass
class Written:
    """The result of `write_shards`."""

    rows: int = 0
    shards: list[tuple[str, int]] = field(default_factory=list)
    media: dict[str, Place] = field(default_factory=dict)


def path_modalities() -> set[str]:
    """The installed modalities whose cells hold paths."""
    return {kind.modality for _, kind in registry.healthy() if kind.cell is Cell.path}


def write_shards(
    path: str | Path,
    out: str | Path,
    *,
    root: str | None = None,
    size_mib: float = 256,
    modalities: Sequence[str] | None = None,
    shown: bool = True,
) -> Written:
    """Writes `out/NNNNNN.tar`, `out/manifest.*` and `out/shards.json`, all or nothing.

    A shard takes rows in order until the next would pass `size_mib`. The members of row i are `<i>.<modality>.<suffix>`
    (`<i>.<modality>.<k>.<suffix>` for the k-th of several alternatives) and `<i>.json`, the row itself. Files are
    stored whole, so that a fragment (`#t=`) keeps its meaning and its digest; one that several rows of a shard name is
    stored once. `modalities`: only their columns are kept (None: all, and the manifest keeps its very bytes). Raises
    `UserError`: a file that is missing or outside the root, or an `out` that is not empty.
    """
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} is not empty: shards need an empty folder, choose another out=")
    if not size_mib > 0:
        raise UserError(f"size: expected more than 0 MiB, got {size_mib}")
    manifest = _open_manifest(path, root, modalities)
    names = [name for name in manifest.columns if name in path_modalities() and manifest.uses(name)]
    rows = [_kept(row, modalities) for row in manifest.rows]
    members = [_members(manifest, number, row, names) for number, row in enumerate(rows)]
    with replace_folder(out) as new:
        done = _write_all(new, rows, members, size_mib * MIB, shown)
        if modalities is None:
            write_bytes(new / manifest.path.name, manifest.path.read_bytes())
        else:
            write_bytes(new / "manifest.jsonl", table_bytes(rows, Path("manifest.jsonl")))
        write_bytes(new / INDEX, index_bytes(done.shards, done.media))
    return done


def _open_manifest(path: str | Path, root: str | None, modalities: Sequence[str] | None) -> Manifest:
    known = [kind.modality for _, kind in registry.healthy()]
    for name in modalities or []:
        if name not in known:
            raise UserError(unknown("modality", name, known, hint="`bindspace plugins` lists what is installed"))
    manifest = Manifest.load(Source(str(path), root, None if modalities is None else list(modalities)), known)
    if manifest.shards is not None:
        raise UserError(f"{manifest.path} is of shards already: give the manifest of the files")
    return manifest


def _kept(row: Row, modalities: Sequence[str] | None) -> Row:
    """The row without the columns, and `<modality>.<key>` columns, of other installed modalities."""
    if modalities is None:
        return row
    others = {kind.modality for _, kind in registry.healthy()} - set(modalities)
    return {name: value for name, value in row.items() if name.partition(".")[0] not in others}


def _members(manifest: Manifest, number: int, row: Row, names: Iterable[str]) -> list[Member]:
    found = []
    for name in names:
        cells = alternatives(row.get(name))
        for place, cell in enumerate(cells):
            try:
                file = open_cell(Cell.path, cell, manifest.root).source
            except BadSample as error:
                raise UserError(f"{manifest.path}, row {row['id']!r}, {name}: {error}: fix the manifest") from error
            if not isinstance(file, Path):
                raise UserError(f"{manifest.path}, row {row['id']!r}, {name}: expected a path, got the bytes of a file")
            which = f".{place}" if len(cells) > 1 else ""
            key = str(file.relative_to(manifest.root))
            found.append(Member(f"{number:09d}.{name}{which}{file.suffix}", key, file, file.stat().st_size))
    return found


def _write_all(
    folder: Path, rows: Sequence[Row], members: Sequence[list[Member]], limit: float, shown: bool
) -> Written:
    done = Written(len(rows))
    with ExitStack() as closing:
        shard: _Shard | None = None
        for number, row in enumerate(track(rows, "shards", len(rows), shown=shown)):
            text = json.dumps(row, ensure_ascii=False, default=str).encode()
            if shard is None or (shard.tar.offset and shard.tar.offset + shard.cost(members[number], text) > limit):
                closing.close()
                shard = closing.enter_context(_Shard(folder, done))
            for member in members[number]:
                shard.store(member)
            shard.add(f"{number:09d}.json", len(text), BytesIO(text))
    return done


class _Shard:
    """A tar file that is being written. Positions of media without one are added to the index."""

    def __init__(self, folder: Path, done: Written) -> None:
        self.path, self.done = folder / f"{len(done.shards):06d}.tar", done
        self.held: set[str] = set()

    def __enter__(self) -> _Shard:
        self.tar = tarfile.open(self.path, "w", format=tarfile.PAX_FORMAT)
        return self

    def __exit__(self, *error: object) -> None:
        self.tar.close()
        self.done.shards.append((self.path.name, self.path.stat().st_size))

    def cost(self, members: Sequence[Member], text: bytes) -> int:
        """Approximate number of bytes that a row adds."""
        new = [member.size for member in members if member.path not in self.held]
        return sum(BLOCK + _padded(size) for size in [*new, len(text)])

    def store(self, member: Member) -> None:
        """Adds a file, unless this shard holds it."""
        if member.path in self.held:
            return
        self.held.add(member.path)
        with member.file.open("rb") as file:
            place = self.add(member.name, member.size, file)
        self.done.media.setdefault(member.path, (len(self.done.shards), place, member.size))

    def add(self, name: str, size: int, file: BinaryIO) -> int:
        """Adds a member without time, owner and host; returns the offset of its bytes."""
        info = tarfile.TarInfo(name)  # time 0, owner 0, mode 644
        info.size = size
        self.tar.addfile(info, file)
        return self.tar.offset - _padded(size)


def _padded(size: int) -> int:
    return -(-size // BLOCK) * BLOCK


def summary(done: Written, out: Path) -> str:
    """A line that summarises the result."""
    total = sum(size for _, size in done.shards)
    return f"{out}: {done.rows} rows, {len(done.media)} files in {len(done.shards)} shards, {total / MIB:.1f} MiB"
