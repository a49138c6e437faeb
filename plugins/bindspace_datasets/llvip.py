"""LLVIP: 15,488 pairs of a visible and a thermal picture of streets at night, with boxes (Jia et al., ICCVW 2021)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar
from xml.etree import ElementTree

from bindspace import UserError

from .layout import OwnedConfig

if TYPE_CHECKING:
    import numpy as np

TRIES = 100  # places that are drawn for a crop of background
# What the two classes are called in prompts (ImageBind, appendix A).
NAMES = {"person": ["person", "man", "woman", "people"], "background": ["street", "road", "car", "light", "tree"]}

Box = tuple[int, int, int, int]  # left, top, width, height in pixels


@dataclass(kw_only=True)
class LlvipConfig(OwnedConfig):
    """LLVIP: pairs of whole pictures to train on, and crops of persons and of background to classify.

    ImageBind trains on the 12,025 pairs of the train split. For its test it cuts each of the 7931 boxes of persons out
    of the 3463 test pictures, and as many random boxes of the same sizes, 15,809 crops in all. It leaves open where the
    random boxes lie and how several names of a class are scored. Here each is drawn anew, up to 100 times, until it
    touches no person, and left out if none is found; and the nearest name counts, as the paper says of NYU Depth v2.
    """

    name: ClassVar[str] = "llvip"
    title: ClassVar[str] = "LLVIP"
    home: ClassVar[str] = "https://bupt-ai-cz.github.io/LLVIP"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    seed: int = 0  # of the crops of background

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`train`: `image` and `thermal`. `test`: crops of both by `#xywh=`, with `label`, and `group`: the picture."""
        folder = self.need(f"infrared/{self.checked(split)}", "its thermal pictures").parents[1]
        stems = sorted(path.stem for path in (folder / "infrared" / split).glob("*.jpg"))
        whole = [_row(folder, split, stem) for stem in stems]
        pairs = self.need_any(whole, "thermal", "like 190001.jpg")
        if split == "train":
            yield from pairs
            return
        self.need("Annotations", "its boxes, one XML file a picture")
        for stem, row in zip(stems, pairs):
            yield from self._crops(folder / "Annotations" / f"{stem}.xml", row)

    def _crops(self, file: Path, row: dict[str, Any]) -> Iterator[dict[str, Any]]:
        import numpy as np

        size, persons = _boxes(file)
        seed = hashlib.sha256(f"{self.seed}/{row['id']}".encode()).digest()[:8]
        rng = np.random.default_rng(int.from_bytes(seed))
        for number, person in enumerate(persons):
            yield _crop(row, f"person-{number}", "person", person)
            if (elsewhere := _elsewhere(person, persons, size, rng)) is not None:
                yield _crop(row, f"background-{number}", "background", elsewhere)

    def classes(self) -> dict[str, list[str]]:
        """Person and background."""
        return {"label": list(NAMES)}

    def names(self) -> dict[str, dict[str, list[str]]]:
        """Four names of a person, five of what else a street holds."""
        return {"label": {label: list(names) for label, names in NAMES.items()}}


def _row(folder: Path, split: str, stem: str) -> dict[str, Any]:
    row = {"id": stem, "thermal": f"infrared/{split}/{stem}.jpg", "thermal.unit": "raw"}
    visible = f"visible/{split}/{stem}.jpg"
    return row | ({"image": visible} if (folder / visible).is_file() else {})


def _crop(row: dict[str, Any], name: str, label: str, box: Box) -> dict[str, Any]:
    fragment = "#xywh=" + ",".join(map(str, box))
    cells: dict[str, Any] = {key: row[key] + fragment for key in ("image", "thermal") if key in row}
    return {**row, **cells, "id": f"{row['id']}-{name}", "label": label, "group": row["id"]}


def _boxes(file: Path) -> tuple[tuple[int, int], list[Box]]:
    """Width and height of the picture, and the boxes of persons within it, from an XML file as of Pascal VOC."""
    try:
        tree = ElementTree.parse(file)
        width, height = (int(_text(tree, f"size/{key}")) for key in ("width", "height"))
        corners = [
            [round(float(_text(box, key))) for key in ("xmin", "ymin", "xmax", "ymax")]
            for thing in tree.iter("object")
            if _text(thing, "name") == "person"
            for box in thing.iter("bndbox")
        ]
    except (OSError, ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{file}: expected boxes as Pascal VOC writes them ({error}): unpack it again") from error
    return (width, height), [_within(each, width, height) for each in corners]


def _text(element: Any, path: str) -> str:
    text = element.findtext(path)
    if text is None:
        raise ValueError(f"no {path}")
    return str(text).strip()


def _within(corners: list[int], width: int, height: int) -> Box:
    left, top = min(max(corners[0], 0), width - 1), min(max(corners[1], 0), height - 1)
    return left, top, max(min(corners[2], width) - left, 1), max(min(corners[3], height) - top, 1)


def _elsewhere(box: Box, persons: list[Box], size: tuple[int, int], rng: np.random.Generator) -> Box | None:
    """A box of the same size that touches no person, or None if none was drawn."""
    _, _, width, height = box
    for _ in range(TRIES):
        left, top = int(rng.integers(0, size[0] - width + 1)), int(rng.integers(0, size[1] - height + 1))
        if not any(_overlap((left, top, width, height), person) for person in persons):
            return left, top, width, height
    return None


def _overlap(one: Box, other: Box) -> bool:
    return all(one[i] < other[i] + other[i + 2] and other[i] < one[i] + one[i + 2] for i in (0, 1))
