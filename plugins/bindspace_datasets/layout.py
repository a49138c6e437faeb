"""Base of the adapters: the official layout, errors for missing files, and a manifest of the available files."""

from __future__ import annotations

import csv
import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from bindspace import DatasetConfig, Source, UserError
from bindspace.contract.errors import AbsentError, unknown
from bindspace.io.files import write_text

MANIFEST = "manifest.jsonl"
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")


@dataclass(kw_only=True)
class OwnedConfig(DatasetConfig):
    """A data set in the folder and the files that its owner distributes.

    An adapter gives the class variables, `rows(split)`, and where they apply `classes()` and `names()`. The paths in
    its rows are relative to `folder`, or to the manifest's folder where `converts` says that `convert` writes the
    media. A row whose file is not there is a row without that cell: it is counted as left out, and its labels stay.
    """

    name: ClassVar[str]  # of its entry point
    title: ClassVar[str]  # as people call it
    home: ClassVar[str]  # where its owner distributes it
    splits: ClassVar[Sequence[str]] = ("test",)
    converts: ClassVar[bool] = False

    folder: str = ""  # where the owner's files lie
    split: str = "test"  # what `write` writes

    def convert(self, split: str, out: Path) -> None:
        """Writes the media of a split into `out`, those that are not there yet; for `converts` only."""

    def write(self, out: Path) -> Path:
        """Writes `manifest.jsonl` of `split` into `out`. Unless `converts`, it is read with `root` = `folder`."""
        out = Path(out)
        rows = list(self.rows(self.checked(self.split)))
        if self.converts:
            self.convert(self.split, out)
        return write_text(out / MANIFEST, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))

    def sources(self, pairs: Sequence[tuple[str, str]], modalities: Sequence[str]) -> dict[str, list[Source]]:
        """`test`, and for a run that trains (`pairs` not empty) also `train`, and `val` where the owner has one."""
        if pairs and "train" not in self.splits:
            raise UserError(f"{self.title} is read for evaluation only: train on another data set")
        used = [split for split in ("train", "val", "test") if split in self.splits and (pairs or split == "test")]
        return {"train": [], "val": [], "test": []} | {split: [self._source(split)] for split in used}

    def templates(self) -> dict[str, list[str]]:
        """CLIP's 80 templates for `label`, which ImageBind uses for every modality (2305.05665, appendix B.3)."""
        return {"label": ["clip"]}

    def need(self, path: str, what: str, where: str | None = None) -> Path:
        """The path of a file or folder of the owner. Raises `AbsentError` with the file, its source and the folder."""
        if not self.folder:
            raise AbsentError(f"{self.title} is read from a local folder: set folder= to the folder of {what}")
        found = Path(self.folder).expanduser() / path
        if not found.exists():
            raise AbsentError(
                f"{self.title}: expected {what} at {found}: download it from {where or self.home} and unpack it so "
                f"that {self.folder} holds {path}"
            )
        return found

    def need_any(self, rows: Sequence[dict[str, Any]], column: str, pattern: str) -> list[dict[str, Any]]:
        """The rows. Raises `AbsentError` unless one has a cell in the column; `pattern` says how files are named."""
        if not any(column in row for row in rows):
            raise AbsentError(
                f"{self.title}: none of its {len(rows)} files is in {self.folder}: download them from {self.home} and "
                f"name them {pattern}"
            )
        return list(rows)

    def table(self, path: str, what: str, columns: Sequence[str], where: str | None = None) -> list[dict[str, str]]:
        """The rows of a CSV file of the owner's that has a header with at least these columns."""
        file = self.need(path, what, where)
        with file.open(encoding="utf-8-sig", newline="") as lines:
            reader = csv.DictReader(lines)
            if lacking := [name for name in columns if name not in (reader.fieldnames or [])]:
                raise UserError(
                    f"{self.title}: {file} has no column {lacking[0]!r} but {', '.join(reader.fieldnames or [])}: "
                    f"expected {what} as {where or self.home} distributes it"
                )
            return list(reader)

    def checked(self, split: str) -> str:
        """The split. Raises `UserError` for one that the data set does not have."""
        if split not in self.splits:
            raise UserError(unknown(f"split of {self.title}", split, self.splits))
        return split

    def _source(self, split: str) -> Source:
        told = {**asdict(self), "root": None, "split": split, "folder": str(Path(self.folder).expanduser().resolve())}
        digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:8]
        out = Path(self.root) / f"{self.name}-{split}-{digest}"
        manifest = replace(self, split=split).write(out)  # every time: more files may be available by now
        return Source(str(manifest), root=None if self.converts else self.folder)


def clip_in(found: Mapping[str, str], video: str, start: float, seconds: float = 10) -> str | None:
    """The file of a clip of a YouTube video, by any of the names in use, in what `files_by_stem` found.

    `ID_START` with six digits is VGGSound's, `ID_START_END` in milliseconds that of ImageBind's authors, `YID` that of
    AudioSet's tagging code. A file that is only named `ID` is taken for the clip, not for the whole video.
    """
    end = start + seconds
    ends = [f"{start:g}_{end:g}", f"{start:.3f}_{end:.3f}", f"{round(1000 * start)}_{round(1000 * end)}"]
    for name in (video, f"Y{video}"):
        for stem in (*(f"{name}_{each}" for each in (f"{int(start):06d}", f"{start:g}", *ends)), name):
            if stem in found:
                return found[stem]
    return None


def first_there(folder: Path, paths: Iterable[str]) -> str | None:
    """The first of the paths, relative to the folder, that is a file there."""
    return next((path for path in paths if (folder / path).is_file()), None)


def files_by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, str]:
    """The files of any depth below the folder that end so, as stem -> relative path; of equal stems the first path."""
    found: dict[str, str] = {}
    for place, folders, names in os.walk(folder, followlinks=True):
        folders.sort()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)  # noqa: PTH122 (thousands of names)
            if suffix.lower() in suffixes:
                found.setdefault(stem, (Path(place) / name).relative_to(folder).as_posix())
    return found
