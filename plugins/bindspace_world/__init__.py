"""The simulated world as a data set plugin: events, of which six modalities each show a part. Imports nothing heavy.

A modality of another installed plugin shows the concept of each event: `new_modalities.py`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindspace import DatasetConfig, Source, UserError
from bindspace.contract.dataset import Choice
from bindspace.contract.errors import unknown

from .new_modalities import Maker, new_modalities, serving

if TYPE_CHECKING:
    from .writing import Plan

VERSION = 1
MODALITIES = ("image", "text", "audio", "depth", "thermal", "imu")
_MECHANICS = ("shape", "size", "motion", "vigour")
_ALL = (*_MECHANICS, "material", "surface", "colour", "temperature")
_EXAMPLE_EVENTS = 2400  # of a pair with a modality that shows only the ten concepts, unless pair_events says otherwise
_KNOWN = {  # the IMU reveals little more than the motion: size, material and floor are barely visible in it
    "image": _ALL,
    "text": _ALL,
    "audio": (*_MECHANICS, "material", "surface"),
    "depth": _MECHANICS,
    "thermal": (*_MECHANICS, "material", "surface", "temperature"),
    "imu": ("motion", "vigour"),
}
_OBJECT = ("a {} object", "the {} thing", "one {} item")
_TEMPLATES = {  # templates for one value, in the words of the captions
    "shape": ("a {}", "the {}", "one {}"),
    "material": _OBJECT,
    "size": _OBJECT,
    "colour": _OBJECT,
    "temperature": _OBJECT,
    "motion": ("an object {}", "the thing is {}", "{}, one item"),
    "vigour": ("an object moving {}", "the thing is moving {}", "{} moving, one item"),
    "surface": ("an object on the {}", "the thing is moving over the {}", "across the {} one item"),
}


class Combinations(Enum):
    """The combinations of shape and material that occur."""

    seen = "seen"  # the 30 of training
    held_out = "held_out"  # the 6 held-out combinations
    all = "all"


@dataclass(kw_only=True)
class WorldConfig(DatasetConfig):
    """The simulated world: `write` writes events into one folder, `sources` the data of a training run."""

    events: int = 500
    seed: int = 7
    modalities: list[str] = field(default_factory=lambda: list(MODALITIES))
    combinations: Combinations = Combinations.seen
    captions: int = 1  # alternatives of an event; with more than one the text cell is a list
    workers: int | None = None  # number of writer processes; None: one per core
    # For `sources`. `pair_events` sets the number of events of a pair (`image-depth`) or of a modality.
    train_events: int = 4000
    pair_events: dict[str, int] = field(default_factory=lambda: {"depth": 2400, "thermal": 2400, "imu": 2400})
    train_captions: int = 6
    val_events: int = 500
    test_events: int = 500  # of seen combinations, and the same number of held-out ones

    def rows(self, split: str) -> Iterator[dict[str, Any]]:
        """The manifest rows of `train` (pairs of the first modality with each other one), `val` or `test`.

        Paths are relative to `root`. Nothing is rendered or written.
        """
        from .writing import path_columns, plan_rows

        self._check()
        pairs = [(self.modalities[0], other) for other in self.modalities[1:]]
        plans = {"train": self._train(pairs), "val": [self._val(self.modalities)], "test": self._test(self.modalities)}
        if split not in plans:
            raise UserError(unknown("split", split, plans))
        for plan in plans[split]:
            columns = path_columns(plan)
            for row in plan_rows(plan):
                yield {**row, **{name: f"{plan.folder.name}/{row[name]}" for name in columns}}

    def write(self, out: Path) -> Path:
        """Writes `events` events of `seed` into the folder `out`, and returns the manifest's path."""
        from .writing import MANIFEST, Plan, write_plans

        self._check()
        self._examples(self.modalities)
        out = Path(out)
        plan = Plan(out, self.seed, self.events, tuple(self.modalities), self.combinations.value, self.captions)
        write_plans([plan], self._workers())
        return out / MANIFEST

    def sources(self, pairs: Sequence[tuple[str, str]], modalities: Sequence[str]) -> dict[str, list[Source]]:
        """Sources of a training run, written under `root` unless they exist.

        Each pair has separate events, which show no other modality; `val` and the two pools of `test`, `main` and
        `held_out`, have separate events too.
        """
        from .writing import MANIFEST, is_complete, write_plans

        self._check()
        self._check_names(modalities)
        train, val, test = self._train(pairs), self._val(modalities), self._test(modalities)
        write_plans((plan for plan in (*train, val, *test) if not is_complete(plan.folder)), self._workers())

        def source(plan: Plan, pool: str = "main") -> Source:
            weight = plan.events / self.train_events  # a source is read in proportion to its events
            return Source(str(plan.folder / MANIFEST), modalities=list(plan.modalities), weight=weight, pool=pool)

        pools = zip(test, ("main", "held_out"))
        return {
            "train": [source(plan) for plan in train],
            "val": [source(val)],
            "test": [source(plan, pool) for plan, pool in pools],
        }

    def choices(self) -> list[Choice]:
        """Probes of a picture with captions: swapped attributes, and a word written across the picture."""
        from .probes import NAMES, write_probes
        from .writing import MANIFEST, is_complete

        folder = Path(self.root) / f"world{VERSION}-seed{self.seed}-probes"
        if not is_complete(folder):
            write_probes(folder, self._seed("probes"))
        return [Choice(name, str(folder / MANIFEST), "image", "text", {"probe": name}) for name in NAMES]

    def known(self) -> dict[str, list[str]]:
        """The attribute columns that each modality reveals; colour and temperature are absent from audio, as controls.

        An example of a plugin reveals only the concept; the concept is a function of shape and material, so a modality
        that reveals both reveals it too.
        """
        known = {name: list(columns) for name, columns in _KNOWN.items()}
        for columns in known.values():
            columns += ["concept"] if {"shape", "material"} <= set(columns) else []
        return known | {name: ["concept"] for name in new_modalities(MODALITIES)}

    def templates(self) -> dict[str, list[str]]:
        """Prompts for each attribute, in words that captions use."""
        return {name: list(prompts) for name, prompts in _TEMPLATES.items()}

    def _train(self, pairs: Sequence[tuple[str, str]]) -> list[Plan]:
        for pair in pairs:
            self._check_names(pair)
        names = list(dict.fromkeys(tuple(_ordered(pair)) for pair in pairs))
        return [
            self._plan("train " + "-".join(pair), pair, self._pair_events(pair), "seen", self.train_captions)
            for pair in names
        ]

    def _val(self, modalities: Sequence[str]) -> Plan:
        return self._plan("val", modalities, self.val_events, "seen")

    def _test(self, modalities: Sequence[str]) -> list[Plan]:
        return [self._plan(f"test {kind}", modalities, self.test_events, kind) for kind in ("seen", "held_out")]

    def _plan(self, purpose: str, modalities: Sequence[str], events: int, combinations: str, captions: int = 1) -> Plan:
        from .writing import Plan

        names = tuple(_ordered(modalities))
        said = f"-captions{captions}" if "text" in names else ""
        shown = "" if purpose.startswith("train") else f"-{'-'.join(names)}"
        kind = "" if purpose.endswith(combinations) else f"-{combinations}"
        name = f"world{VERSION}-seed{self.seed}-{purpose.replace(' ', '-')}{kind}{shown}-{events}{said}"
        name += self._examples(names)
        return Plan(Path(self.root) / name, self._seed(purpose), events, names, combinations, captions)

    def _examples(self, names: Sequence[str]) -> str:
        """The part of a folder's name for examples of plugins: a part of their hash, so that other examples get another
        folder. Raises `PluginError` for a plugin without examples.
        """
        made = [Maker(name).fingerprint() for name in names if name not in MODALITIES]
        return f"-examples{hashlib.sha256(b''.join(made)).hexdigest()[:8]}" if made else ""

    def _seed(self, purpose: str) -> int:
        """A seed for each purpose, far above usual seeds of users, so that their events never coincide."""
        digest = hashlib.sha256(f"{self.seed} {purpose}".encode()).digest()
        return (1 << 48) + int.from_bytes(digest[:6], "big")

    def _pair_events(self, pair: Sequence[str]) -> int:
        for name in ("-".join(pair), "-".join(reversed(pair))):
            if name in self.pair_events:
                return self.pair_events[name]
        most = {name: min(_EXAMPLE_EVENTS, self.train_events) for name in pair if name not in MODALITIES}
        counts = most | {name: self.pair_events[name] for name in pair if name in self.pair_events}
        return min(counts.values(), default=self.train_events)

    def _workers(self) -> int:
        if self.workers is not None:
            return self.workers
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

    def _check_names(self, names: Sequence[str]) -> None:
        for name in names:
            if name not in MODALITIES and serving(name) is None:
                raise UserError(unknown("modality of the world", name, [*MODALITIES, *new_modalities(MODALITIES)]))
        if len(set(names)) < len(names) or not names:
            raise UserError(f"modalities must be given once each, got {list(names)}")

    def _check(self) -> None:
        self._check_names(self.modalities)
        for name in ("events", "captions", "train_events", "train_captions", "val_events", "test_events"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, got {getattr(self, name)}: set {name}=")
        if self.workers is not None and self.workers < 1:
            raise UserError(f"workers must be at least 1, got {self.workers}: set workers=")
        if not 0 <= self.seed < 1 << 62:
            raise UserError(f"seed must be 0 or more (and below 2 to the 62), got {self.seed}")
        for name, events in self.pair_events.items():
            parts = name.split("-")
            if len(parts) > 2 or any(part not in MODALITIES and serving(part) is None for part in parts):
                options = [*MODALITIES, *new_modalities(MODALITIES)]
                raise UserError(unknown("modality or pair in pair_events", name, options))
            if events < 1:
                raise UserError(f"pair_events.{name} must be at least 1, got {events}")


def _ordered(names: Sequence[str]) -> list[str]:
    """The world's own modalities in their order, then the others by alphabet."""
    return [*(name for name in MODALITIES if name in names), *sorted(set(names) - set(MODALITIES))]
