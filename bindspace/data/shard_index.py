"""Indexes tar shards of other tools: a manifest of their samples, and the position of each member."""

from __future__ import annotations

import glob
import json
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from bindspace.contract import Cell, UserError, registry
from bindspace.data.shards import INDEX, Place, index_bytes
from bindspace.data.tables import Row, table_bytes
from bindspace.io.files import write_together
from bindspace.io.progress import track


def index_tars(
    patterns: Sequence[str], out: str | Path, columns: Mapping[str, str] | None = None, *, shown: bool = True
) -> int:
    """Writes `manifest.jsonl` and `shards.json` into `out`, in or above the tars' folder; returns the number of rows.

    Members with the same name up to the first dot are one sample (WebDataset's rule); the rest is the key, which
    `columns` maps to a column: `{"jpg": "image", "txt": "text", "cls": "label"}`. A key that starts with the name of an
    installed modality (`audio.flac`) needs no entry. For a modality whose cells hold paths, the member is the medium;
    for other columns its text is the value; the fields of a `json` member are columns unless a member is. The tars are
    not changed. Raises `UserError`: no tar, a compressed one, or keys without a column.
    """
    out = Path(out)
    if (out / INDEX).exists() or (out / "manifest.jsonl").exists():
        raise UserError(f"{out} holds {INDEX} or manifest.jsonl already: move them away to index its shards anew")
    files = _tars(patterns, out)
    to_column = {name: str(column) for name, column in (columns or {}).items()}
    paths = {kind.modality for _, kind in registry.healthy() if kind.cell is Cell.path}
    rows: dict[tuple[int, str], Row] = {}
    media: dict[str, Place] = {}
    unused: set[str] = set()
    for number, (name, file) in enumerate(track(files.items(), "index", len(files), shown=shown)):
        for member, stem, key, content in _members(file):
            row = rows.setdefault((number, stem), {"id": f"{name.removesuffix('.tar')}/{stem}"})
            column = to_column.get(key) or _own_column(key)
            if column is not None and column in paths:
                path = f"{name}/{member.name}"
                media[path] = (number, member.offset_data, member.size)
                row[column] = [*_listed(row[column]), path] if column in row else path
            elif column is not None:
                row[column] = _text(content(), file, member.name)
            elif key == "json":
                row |= {
                    field: value for field, value in _fields(content(), file, member.name).items() if field not in row
                }
            else:
                unused.add(key)
    if not media:
        raise UserError(f"no member is a medium: map one of the keys {_shown(unused)} with 'columns={{jpg: image}}'")
    shards = [(name, file.stat().st_size) for name, file in files.items()]
    table = table_bytes(list(rows.values()), Path("manifest.jsonl"))
    write_together({out / "manifest.jsonl": table, out / INDEX: index_bytes(shards, media)})
    return len(rows)


def _tars(patterns: Sequence[str], out: Path) -> dict[str, Path]:
    """The tars by their path below `out`, sorted."""
    found = {Path(name) for pattern in patterns for name in glob.glob(str(Path(pattern).expanduser()), recursive=True)}  # noqa: PTH207
    base, named = out.resolve(), {}
    for file in sorted(found):
        if not file.resolve().is_relative_to(base):
            raise UserError(f"{file} is outside {out}: write the index into its folder, out={file.parent}")
        named[file.resolve().relative_to(base).as_posix()] = file
    if not named:
        raise UserError(f"no file matches {' or '.join(patterns)} (seen from {Path.cwd()}): check the folder")
    return named


def _members(file: Path) -> Iterator[tuple[tarfile.TarInfo, str, str, Any]]:
    """Regular members as (member, name up to the first dot, what follows it, how to read it)."""
    try:
        with tarfile.open(file, "r:") as tar:
            for member in tar:
                folder, slash, base = member.name.rpartition("/")
                stem, dot, key = base.partition(".")
                if member.isreg() and stem and dot and not member.sparse:
                    yield member, f"{folder}{slash}{stem}", key.lower(), lambda held=member: _content(tar, held)
    except tarfile.ReadError as error:
        raise UserError(
            f"{file} is not a plain tar file ({error}): a compressed one has no random access, so unpack it first"
        ) from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    held = tar.extractfile(member)
    assert held is not None
    return held.read()


def _own_column(key: str) -> str | None:
    name = key.partition(".")[0]
    return name if name in {kind.modality for _, kind in registry.healthy()} else None


def _listed(cell: Any) -> list[Any]:
    return cell if isinstance(cell, list) else [cell]


def _text(content: bytes, file: Path, name: str) -> str:
    try:
        return content.decode().strip()
    except UnicodeDecodeError as error:
        raise UserError(f"{file}, {name}: expected UTF-8 text, since its column holds values") from error


def _fields(content: bytes, file: Path, name: str) -> dict[str, Any]:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{file}, {name} is not JSON ({error}): fix or leave out that sample") from error
    return value if isinstance(value, dict) else {}


def _shown(keys: set[str]) -> str:
    return ", ".join(sorted(keys)[:10]) or "(none available)"
