"""SUN RGB-D: 10,335 rooms by four depth cameras, each with its kind of room (Song et al., CVPR 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from bindspace import UserError
from bindspace.contract.errors import AbsentError

from .layout import OwnedConfig
from .matlab import cell_texts, read_v5

SPLIT = "SUNRGBDtoolbox/traintestSUNRGBD/allsplit.mat"
LISTS = {"train": "alltrain", "test": "alltest"}  # 5285 and 5050 folders
# The kinds of room of the benchmark (Song et al., section 5.1: those with more than 80 images). The files hold as many
# of `idk` and `office_kitchen`, but only without these do the splits have the paper's sizes, 4845 and 4659.
CLASSES = (
    "bathroom", "bedroom", "classroom", "computer room", "conference room", "corridor", "dining area", "dining room",
    "discussion area", "furniture store", "home office", "kitchen", "lab", "lecture theatre", "library",
    "living room", "office", "rest space", "study space",
)  # fmt: skip
# Metres between projector and camera, as ImageBind's authors published for Omnivore (its issue 12).
BASELINES = {"kv1": 0.075, "kv2": 0.075, "realsense": 0.095, "xtion": 0.095}


@dataclass(kw_only=True)
class SunRgbdConfig(OwnedConfig):
    """SUN RGB-D: image, filled-in depth, and in the test split one of 19 kinds of room.

    ImageBind trains on image and depth of all of the train split (5 k pairs), and classifies the depth of the test
    images of the 19 classes: 4659 of the owner's 5050 (table 1 says 4660). Depth is `depth_bfx`, whose holes the owner
    has filled, as the paper says; its bits are rotated, which `depth.sunrgbd` tells the plugins.
    """

    name: ClassVar[str] = "sunrgbd"
    title: ClassVar[str] = "SUN RGB-D"
    home: ClassVar[str] = "https://rgbd.cs.princeton.edu"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`image`, `depth` with its camera, and `label` where the room is of one of the 19 kinds."""
        name = LISTS[self.checked(split)]
        lists = self.need(SPLIT, "its split (SUNRGBDtoolbox.zip)", f"{self.home}/data/SUNRGBDtoolbox.zip")
        places = [_place(text) for text in cell_texts(read_v5(lists, [name])[name])]
        base = self.need("SUNRGBD", "its images (SUNRGBD.zip, 6.4 GB)", f"{self.home}/data/SUNRGBD.zip").parent
        if absent := [place for place in places if not (base / place / "scene.txt").is_file()]:
            raise AbsentError(
                f"{self.title}: {len(absent)} of the {len(places)} folders of {name} are not in {base}, e.g. "
                f"{absent[0]}/scene.txt: unpack SUNRGBD.zip of {self.home} there again"
            )
        rows = [self._row(base, place) for place in places]
        yield from self.need_any(
            [row for row in rows if split == "train" or "label" in row],
            "depth",
            "depth_bfx/*.png in the folder of each room",
        )

    def _row(self, base: Path, place: str) -> dict[str, Any]:
        row: dict[str, Any] = {"id": place.removeprefix("SUNRGBD/")}
        if image := next(iter(sorted((base / place / "image").glob("*.jpg"))), None):
            row["image"] = image.relative_to(base).as_posix()
        if depth := next(iter(sorted((base / place / "depth_bfx").glob("*.png"))), None):
            row |= {"depth": depth.relative_to(base).as_posix(), "depth.unit": "mm", "depth.sunrgbd": True}
            row |= {"depth.focal": _focal(base / place / "intrinsics.txt"), "depth.baseline": _baseline(place)}
        kind = (base / place / "scene.txt").read_text(encoding="utf-8", errors="replace").strip().replace("_", " ")
        return row | ({"label": kind} if kind in CLASSES else {})

    def classes(self) -> dict[str, list[str]]:
        """The 19 kinds of room."""
        return {"label": list(CLASSES)}


def _place(text: str) -> str:
    """`/n/fs/sun3d/data/SUNRGBD/kv1/NYUdata/NYU0001/` is `SUNRGBD/kv1/NYUdata/NYU0001` in the owner's archive."""
    parts = [part for part in text.split("/") if part]
    if "SUNRGBD" not in parts or ".." in parts:
        raise UserError(f"SUN RGB-D: expected a folder below SUNRGBD in {SPLIT}, got {text!r}: download it again")
    return "/".join(parts[parts.index("SUNRGBD") :])


def _baseline(place: str) -> float:
    sensor = place.split("/")[1]
    if sensor not in BASELINES:
        raise UserError(
            f"SUN RGB-D: expected one of {', '.join(BASELINES)} below SUNRGBD, got {place}: unpack it again"
        )
    return BASELINES[sensor]


def _focal(file: Path) -> float:
    """The focal length along x in pixels: the first number of the camera's matrix."""
    try:
        return float(file.read_text(encoding="utf-8").split()[0])
    except (OSError, ValueError, IndexError) as error:
        raise UserError(f"{file}: expected the camera's matrix, nine numbers ({error}): unpack it again") from error
