"""NYU Depth v2: 1449 rooms by a Kinect, each with its kind of room (Silberman et al., ECCV 2012)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import UserError
from bindspace.io.files import write_bytes
from bindspace.io.progress import Progress

from .layout import OwnedConfig
from .matlab import open_v73, read_v5, referred_texts

if TYPE_CHECKING:
    import numpy as np

LABELED, SPLITS = "nyu_depth_v2_labeled.mat", "splits.mat"
AT = "http://horatio.cs.nyu.edu/mit/silberman"
LISTS = {"train": "trainNdxs", "test": "testNdxs"}  # 795 and 654 images
# The nine most frequent kinds of room, all others are one class (Gupta et al., CVPR 2013).
COMMON = (
    "bathroom", "bedroom", "bookstore", "classroom", "dining room", "home office", "kitchen", "living room", "office",
)  # fmt: skip
# What the other class is called in prompts: the nearest name counts (ImageBind, appendix A).
OTHER = (
    "basement", "cafe", "computer lab", "conference room", "dinette", "exercise room", "foyer", "furniture store",
    "home storage", "indoor balcony", "laundry room", "office kitchen", "playroom", "printer room", "reception room",
    "student lounge", "study", "study room",
)  # fmt: skip
# Of the colour camera, onto which depth is registered (camera_params.m of the toolbox); pixels and metres.
CAMERA = {"depth.unit": "mm", "depth.focal": 518.857901, "depth.baseline": 0.075}


@dataclass(kw_only=True)
class NyuDepthConfig(OwnedConfig):
    """NYU Depth v2: image, filled-in depth and one of ten kinds of room.

    ImageBind classifies depth into the ten classes on the 654 test images (table 1 says 653, and does not say which one
    is missing). Depth is `depths`, whose holes the owner has filled, in millimetres; the depth plugins convert it
    for their towers. Pictures are written whole, with the white rim that registration left. The same rooms are a
    part of SUN RGB-D (kv1/NYUdata), in other files and another split.
    """

    name: ClassVar[str] = "nyu_depth"
    title: ClassVar[str] = "NYU Depth v2"
    home: ClassVar[str] = "https://cs.nyu.edu/~fergus/datasets/nyu_depth_v2.html"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")
    converts: ClassVar[bool] = True

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`image`, `depth` in mm with its camera, `label`, and `group`: the scene that was filmed."""
        numbers = self._numbers(self.checked(split))
        with self._labeled() as file:
            kinds, scenes = referred_texts(file, "sceneTypes"), referred_texts(file, "scenes")
        for number in numbers:
            kind = kinds[number - 1].replace("_", " ")
            row = {"id": f"{number:04d}", "image": _path("image", number), "depth": _path("depth", number), **CAMERA}
            yield row | {"label": kind if kind in COMMON else "other", "group": scenes[number - 1]}

    def convert(self, split: str, out: Path) -> None:
        """Writes `image/NNNN.png` in colour and `depth/NNNN.png` in 16 bits."""
        from bindspace.io.pictures import png

        kinds = {"image": _picture, "depth": _millimetres}
        places = [(kind, number) for number in self._numbers(split) for kind in kinds]
        lacking = [(kind, number) for kind, number in places if not (out / _path(kind, number)).exists()]
        shown = bool(lacking)
        with self._labeled() as file, Progress(f"writing {self.title}", len(lacking), shown=shown) as progress:
            for kind, number in lacking:
                write_bytes(out / _path(kind, number), png(kinds[kind](file, number - 1)))
                progress.advance()

    def classes(self) -> dict[str, list[str]]:
        """Nine kinds of room, and `other`."""
        return {"label": [*COMMON, "other"]}

    def names(self) -> dict[str, dict[str, list[str]]]:
        """`other` is called by the 18 rarer kinds."""
        return {"label": {"other": list(OTHER)}}

    def _labeled(self) -> AbstractContextManager[Any]:
        file = self.need(LABELED, "its labelled images (2.8 GB)", f"{AT}/nyu_depth_v2/{LABELED}")
        return open_v73(file, ["images", "depths", "sceneTypes", "scenes"])

    def _numbers(self, split: str) -> list[int]:
        """The images of a split, counted from 1 as MATLAB does."""
        file = self.need(SPLITS, "its split into train and test", f"{AT}/indoor_seg_sup/{SPLITS}")
        numbers = [int(number) for number in read_v5(file, [LISTS[split]])[LISTS[split]].ravel()]
        with self._labeled() as labeled:
            count = len(labeled["images"])
        if not numbers or min(numbers) < 1 or max(numbers) > count:
            raise UserError(
                f"{self.title}: expected images 1..{count} in {file}, got {min(numbers, default=0)}.."
                f"{max(numbers, default=0)}: download both files again"
            )
        return numbers


def _path(kind: str, number: int) -> str:
    return f"{kind}/{number:04d}.png"


def _picture(file: Any, index: int) -> np.ndarray:
    """RGB (480, 640, 3); HDF5 names MATLAB's axes in reverse."""
    return file["images"][index].T


def _millimetres(file: Any, index: int) -> np.ndarray:
    """Depth (480, 640) uint16."""
    import numpy as np

    return (1000 * file["depths"][index].T.astype(np.float64)).round().clip(0, 65535).astype(np.uint16)
