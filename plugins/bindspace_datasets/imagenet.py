"""ImageNet: a folder of pictures for each class (Deng et al. 2009; ILSVRC 2012: Russakovsky et al., IJCV 2015)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

from bindspace import UserError
from bindspace.contract.errors import AbsentError

from .layout import OwnedConfig

PARTS = {"train": "train", "test": "val"}  # the owner tells no labels of its own test pictures
ROOTS = ("", "ILSVRC/Data/CLS-LOC/")  # as the script of PyTorch's examples sorts them, and as Kaggle has them
SUFFIXES = {".jpeg", ".jpg", ".png", ".webp"}
MAPPING, SOLUTION = "LOC_synset_mapping.txt", "LOC_val_solution.csv"
NAMES = Path(__file__).parent / "data" / "imagenet_names.txt"


@dataclass(kw_only=True)
class ImageNetConfig(OwnedConfig):
    """ImageNet, or any data set with a folder of pictures for each class below `train` and `val`.

    `test` are the owner's 50,000 validation pictures, which is what everybody reports. The thousand classes of ILSVRC
    2012 are called as CLIP calls them: two pairs of them share a name (missile, sunglasses) and count as one class
    each. A folder of another name is a class of that name, unless the owner's LOC_synset_mapping.txt calls it something
    else.
    """

    name: ClassVar[str] = "imagenet"
    title: ClassVar[str] = "ImageNet"
    home: ClassVar[str] = "https://image-net.org/download.php"
    splits: ClassVar[tuple[str, ...]] = ("train", "test")

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """`image` and `label`."""
        names = self._names()
        found = 0
        for path, folder in self._pictures(self.checked(split)):
            found += 1
            yield {"id": path, "image": path, "label": names.get(folder, folder.replace("_", " "))}
        if not found:
            raise AbsentError(
                f"{self.title}: expected pictures in a folder for each class below {self._part(split)}, got none: "
                f"download ILSVRC2012_img_{PARTS[split]}.tar from {self.home} and sort it into folders like n01440764"
            )

    def classes(self) -> dict[str, list[str]]:
        """The classes of the validation pictures: a folder each, or those of the owner's list."""
        names = self._names()
        folders = {path.name for path in self._folders("test")} or {synset for _, synset in self._listed()}
        return {"label": sorted({names.get(folder, folder.replace("_", " ")) for folder in folders})}

    def _pictures(self, split: str) -> Iterator[tuple[str, str]]:
        """Each picture by its path below `folder`, and the folder or synset of its class."""
        base = Path(self.folder).expanduser()
        part, folders = self._part(split), self._folders(split)
        for folder in folders:
            for path in sorted(folder.iterdir()):
                if path.suffix.lower() in SUFFIXES:
                    yield path.relative_to(base).as_posix(), folder.name
        for stem, synset in self._listed() if split == "test" and not folders else ():
            if (path := part / f"{stem}.JPEG").is_file():
                yield path.relative_to(base).as_posix(), synset

    def _part(self, split: str) -> Path:
        """The folder of a split, in one of the two layouts."""
        base = Path(self.folder).expanduser()
        for root in ROOTS if self.folder else ():
            if (base / root / PARTS[split]).is_dir():
                return base / root / PARTS[split]
        return self.need(PARTS[split], f"its folder of pictures (ILSVRC2012_img_{PARTS[split]}.tar)")

    def _folders(self, split: str) -> list[Path]:
        return sorted(path for path in self._part(split).iterdir() if path.is_dir())

    def _listed(self) -> list[tuple[str, str]]:
        """Kaggle's list of validation pictures, which lie in one folder there, with the synset of each."""
        lines = self.table(SOLUTION, "the classes of val", ["ImageId", "PredictionString"])
        return [(line["ImageId"], line["PredictionString"].split(" ")[0]) for line in lines]

    def _names(self) -> dict[str, str]:
        """The class names of the folders: CLIP's names, and for others the first name in the official list."""
        named: dict[str, str] = {}
        file = Path(self.folder).expanduser() / MAPPING
        if self.folder and file.is_file():
            for line in file.read_text(encoding="utf-8").splitlines():
                synset, blank, words = line.partition(" ")
                if not blank:
                    raise UserError(
                        f"{file}: expected a synset and its words in a line, got {line!r}: download it again"
                    )
                named[synset] = words.split(",")[0].strip()
        return named | clip_names()


@cache
def clip_names() -> dict[str, str]:
    """CLIP's names of the thousand classes, by synset."""
    lines = [line for line in NAMES.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return dict(line.split("\t", 1) for line in lines)  # type: ignore[misc]
