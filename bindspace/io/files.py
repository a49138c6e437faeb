"""Files that appear whole or not at all: written under a temporary name beside their place, then renamed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from bindspace.contract import UserError


def write_bytes(path: str | Path, data: bytes | memoryview) -> Path:
    """Writes the file whole or not at all, making its folder. Raises `UserError` where it cannot be written."""
    write_together({Path(path): data})
    return Path(path)


def write_together(files: Mapping[Path, bytes | memoryview]) -> None:
    """Writes files that belong together: if one fails, all older versions are kept. Raises `UserError`."""
    with ExitStack() as after:
        for path, data in files.items():
            with _writing(path):
                path.parent.mkdir(parents=True, exist_ok=True)
                after.callback(_beside(path, "tmp").unlink, missing_ok=True)
                with _beside(path, "tmp").open("wb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
        for path in files:
            with _writing(path):
                _beside(path, "tmp").replace(path)


def write_text(path: str | Path, text: str) -> Path:
    """Writes UTF-8 text, whole or not at all."""
    return write_bytes(path, text.encode())


def write_json(path: str | Path, value: Any) -> Path:
    """Writes indented JSON that a person can read, whole or not at all; NaN and infinity are refused."""
    return write_bytes(path, json_bytes(value))


def json_bytes(value: Any) -> bytes:
    """The bytes that `write_json` writes."""
    return (json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def check_place(folder: str | Path) -> None:
    """Raises `UserError` unless the folder can be written into, or made, as far as can be told without writing."""
    there = next(path for path in [Path(folder).absolute(), *Path(folder).absolute().parents] if path.exists())
    if not there.is_dir():
        raise UserError(f"cannot write into {folder}: {there} is not a folder: choose another with out=")
    if not os.access(there, os.W_OK):
        raise UserError(f"cannot write into {folder}: {there} is read-only: choose another with out=")


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Yields a temporary path beside `path` for another writer; it is renamed to `path` if nothing is raised.

    It has the suffix of `path`, since writers depend on it. Raises `UserError` if it cannot be written.
    """
    target = Path(path)
    new = target.with_name(f".new-{os.getpid()}-{target.name}")
    with _writing(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _writing(target):
            yield new
            new.replace(target)
    finally:
        new.unlink(missing_ok=True)


@contextmanager
def replace_folder(folder: str | Path) -> Iterator[Path]:
    """Yields an empty folder to fill, and replaces `folder` with it when the block ends without an error.

    An older folder is kept until the new one is complete, and is restored if the last step fails. If the block raises,
    the new folder is removed.

    >>> with replace_folder(Path("outputs/space")) as new:
    ...     write_text(new / "README.md", "hello")  # doctest: +SKIP
    """
    target = Path(os.path.realpath(folder))
    new, old = _beside(target, "new"), _beside(target, "old")
    with _writing(target):
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(parents=True)
    try:
        yield new
        with _writing(target):
            _swap(new, target, old)
    finally:
        shutil.rmtree(new, ignore_errors=True)
        if target.exists():
            shutil.rmtree(old, ignore_errors=True)


def _swap(new: Path, target: Path, old: Path) -> None:
    """No portable call exchanges two folders: for a moment only `old` exists, and is restored if renaming fails."""
    if not target.exists():
        new.rename(target)
        return
    shutil.rmtree(old, ignore_errors=True)
    target.rename(old)
    try:
        new.rename(target)
    except OSError:
        old.rename(target)
        raise


def sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def inside(folder: str | Path, name: str) -> Path:
    """The path of a file in an untrusted folder. Raises `UserError` if a link leads out of the folder."""
    path = Path(folder) / name
    if not path.resolve().is_relative_to(Path(folder).resolve()):
        raise UserError(f"{path} is a link that leads out of its folder: put the file itself there")
    return path


def _beside(path: Path, purpose: str) -> Path:
    return path.with_name(f".{path.name}.{purpose}-{os.getpid()}")


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}: choose another folder or make room"
        ) from error
