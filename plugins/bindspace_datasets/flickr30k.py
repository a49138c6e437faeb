"""Flickr30k: 31,014 pictures with five captions each (Young et al., TACL 2014), in Karpathy's split."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bindspace import UserError

from .karpathy import HOME, karpathy_split
from .layout import OwnedConfig, first_there

TOKENS = "results_20130124.token"


@dataclass(kw_only=True)
class Flickr30kConfig(OwnedConfig):
    """Flickr30k: `test` are the 1000 pictures that retrieval is measured on, with five captions each.

    The split is Karpathy's. Without it the owner's file of captions gives the split `all`: 31,783 pictures.
    """

    name: ClassVar[str] = "flickr30k"
    title: ClassVar[str] = "Flickr30k"
    home: ClassVar[str] = "https://shannon.cs.illinois.edu/DenotationGraph"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test", "all")  # 29,000, 1014, 1000

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`image`, and `text`: a list of five captions, each a separate query and gallery item."""
        written = self._all() if self.checked(split) == "all" else self._split(split)
        folder = Path(self.folder).expanduser()
        rows = []
        for name, captions in written:
            row: dict[str, Any] = {"id": name.removesuffix(".jpg"), "text": captions}
            if path := first_there(folder, [f"flickr30k-images/{name}", f"flickr30k_images/{name}"]):
                row["image"] = path
            rows.append(row)
        yield from self.need_any(rows, "image", "like flickr30k-images/1007129816.jpg")

    def _split(self, split: str) -> Iterator[tuple[str, list[str]]]:
        file = self.need("dataset_flickr30k.json", "Karpathy's split (for the owner's captions: split=all)", HOME)
        yield from karpathy_split(file, [split], ["filename"])

    def _all(self) -> Iterator[tuple[str, list[str]]]:
        file = self.need(TOKENS, "its captions")
        captions: dict[str, list[str]] = {}
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            place, tab, caption = line.partition("\t")
            name, mark, _ = place.rpartition("#")
            if not (tab and mark):
                raise UserError(
                    f"{file}, line {number}: expected picture#number, a tab and a caption, got {line[:60]!r}"
                )
            captions.setdefault(name, []).append(caption.strip())
        yield from captions.items()
