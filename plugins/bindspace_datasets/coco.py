"""COCO Captions: pictures with five captions (Chen et al. 2015), in Karpathy's split or the owner's of 2017."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bindspace import UserError

from .karpathy import CAPTIONS, HOME, karpathy_split, read_json
from .layout import OwnedConfig

KARPATHY = {"train": ("train", "restval"), "val": ("val",), "test": ("test",)}  # 113,287, 5000 and 5000 pictures
PARTS = {"train": "train2017", "test": "val2017"}  # 118,287 and 5000 pictures; those of test2017 have no captions


@dataclass(kw_only=True)
class CocoConfig(OwnedConfig):
    """COCO Captions in Karpathy's split: `test` are the 5000 pictures that retrieval is measured on.

    A few pictures have six or seven captions: the first five count, as is usual. `train` counts `restval` in.
    """

    name: ClassVar[str] = "coco"
    title: ClassVar[str] = "COCO Captions"
    home: ClassVar[str] = "https://cocodataset.org/#download"
    splits: ClassVar[tuple[str, ...]] = ("train", "val", "test")
    like: ClassVar[str] = "val2014/COCO_val2014_000000391895.jpg"

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`image`, and `text`: a list of five captions, each a separate query and gallery item."""
        written = list(self._captions(self.checked(split)))
        folder = Path(self.folder).expanduser()
        rows = []
        for path, captions in written:
            row: dict[str, Any] = {"id": Path(path).stem, "text": captions}
            rows.append(row | ({"image": path} if (folder / path).is_file() else {}))
        yield from self.need_any(rows, "image", f"like {self.like}")

    def _captions(self, split: str) -> Iterator[tuple[str, list[str]]]:
        """The pictures of a split, by their path below `folder`, and what is said of each."""
        file = self.need("dataset_coco.json", "Karpathy's split", HOME)
        yield from karpathy_split(file, KARPATHY[split], ["filepath", "filename"])


@dataclass(kw_only=True)
class Coco2017Config(CocoConfig):
    """COCO Captions in the owner's split of 2017: `test` is its val2017, 5000 pictures, five captions each."""

    name: ClassVar[str] = "coco2017"
    title: ClassVar[str] = "COCO Captions of 2017"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    like: ClassVar[str] = "val2017/000000039769.jpg"

    def _captions(self, split: str) -> Iterator[tuple[str, list[str]]]:
        part = PARTS[split]
        file = self.need(f"annotations/captions_{part}.json", "its captions (annotations_trainval2017.zip)")
        said: dict[int, list[str]] = {}
        try:
            for note in read_json(file, "annotations"):
                said.setdefault(note["image_id"], []).append(note["caption"].strip())
            paths = {image["id"]: f"{part}/{image['file_name']}" for image in read_json(file, "images")}
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{file}: expected captions with image_id and images with id and file_name ({error!r}): "
                "download it again"
            ) from error
        yield from ((path, said[number][:CAPTIONS]) for number, path in paths.items() if number in said)
