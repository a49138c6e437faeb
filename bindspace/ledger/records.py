"""What a ledger is made of: towers' pasts, a record by pair, and sets of SHA-256 digests. NumPy only."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

SIZE = 32  # bytes of a SHA-256 digest
ORIGINS = ("random", "declared", "weights")  # of a tower: from what is known to what is not
_PENDING = 1 << 16  # rows that may wait before they are merged


def as_rows(digests: Any) -> np.ndarray:
    """Digests as a uint8 array (n, 32): from such an array, such a tensor, or an iterable of 32 bytes each."""
    if hasattr(digests, "detach"):  # a tensor, without importing torch for it
        digests = digests.detach().cpu().numpy()
    if not isinstance(digests, np.ndarray):
        items = list(digests)
        assert all(len(item) == SIZE for item in items), "a digest is 32 bytes"
        digests = np.frombuffer(b"".join(items), np.uint8).reshape(-1, SIZE)
    assert (digests.dtype, digests.shape[1:]) == (np.uint8, (SIZE,)), "expected uint8 (n, 32)"
    return digests


class DigestSet:
    """A growing set of digests. Additions wait in a list and are merged now and then, so that a step costs a copy."""

    def __init__(self, digests: Any = ()) -> None:
        self._merged = np.empty(0, "S32")
        self._waiting: list[np.ndarray] = []
        self._count = 0
        self.add(digests)

    def add(self, digests: Any) -> None:
        """Adds digests; those that are there already change nothing."""
        keys = _keys(as_rows(digests).copy())
        if len(keys):
            self._waiting.append(keys)
            self._count += len(keys)
            if self._count > max(_PENDING, len(self._merged)):
                self._merge()

    def update(self, other: DigestSet) -> None:
        """Adds all of another set."""
        self.add(other.rows())

    def rows(self) -> np.ndarray:
        """All digests, distinct and ascending: uint8 (n, 32)."""
        return self._merge().view(np.uint8).reshape(-1, SIZE)

    def seen(self, digests: Any) -> np.ndarray:
        """Which of the given digests are in the set: bool (n,)."""
        keys, merged = _keys(as_rows(digests)), self._merge()
        if not len(merged):
            return np.zeros(len(keys), bool)
        at = np.searchsorted(merged, keys).clip(max=len(merged) - 1)
        return merged[at] == keys

    def __len__(self) -> int:
        return len(self._merge())

    def _merge(self) -> np.ndarray:
        if self._waiting:
            keys = np.sort(np.concatenate([self._merged, *self._waiting]))
            self._merged = keys[np.append(True, keys[1:] != keys[:-1])]
            self._waiting, self._count = [], 0
        return self._merged


def _keys(rows: np.ndarray) -> np.ndarray:
    """Rows of 32 bytes as sortable keys: fixed-width byte strings compare like the bytes they are."""
    return np.ascontiguousarray(rows).view("S32").reshape(-1)


class MediaTable:
    """Digest sets behind each other in one array, each named by where it begins and how many there are."""

    def __init__(self) -> None:
        self._parts: list[np.ndarray] = []
        self._total = 0

    def add(self, digests: DigestSet) -> dict[str, int]:
        """Puts a set at the end, and returns its `{"first": i, "count": n}`."""
        place = {"first": self._total, "count": len(digests)}
        self._parts.append(digests.rows())
        self._total += len(digests)
        return place

    def rows(self) -> np.ndarray:
        """All of them: uint8 (n, 32)."""
        return np.concatenate([np.empty((0, SIZE), np.uint8), *self._parts])


def take(media: np.ndarray, place: Mapping[str, Any]) -> DigestSet:
    """The set that a `MediaTable` put there. Raises `ValueError` where the array does not reach so far."""
    first, count = as_count(place["first"]), as_count(place["count"])
    if first + count > len(media):
        raise ValueError(f"expected {first + count} digests, got {len(media)}")
    return DigestSet(media[first : first + count])


def as_count(value: Any) -> int:
    """Checks that a value from a file is a whole number from 0 on."""
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a count, got {value!r}")
    return value


def as_names(values: Any) -> list[str]:
    """Checks that a value from a file is a list of strings."""
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ValueError(f"expected a list of strings, got {values!r}")
    return list(values)


@dataclass
class History:
    """Where a tower comes from: `random` initialisation, third-party weights with declarations (`declared`), or
    without (`weights`). `inherited`: via another space."""

    origin: str
    inherited: bool = False
    note: str = ""

    @property
    def complete(self) -> bool:
        """Whether everything since random initialisation is on record."""
        return self.origin == "random"

    def pack(self) -> dict[str, Any]:
        """As primitives."""
        init = "inherited" if self.inherited else self.origin
        return {"init": init, "origin": self.origin, "complete": self.complete, "note": self.note}

    @classmethod
    def unpack(cls, values: Mapping[str, Any]) -> History:
        """From primitives."""
        if values["origin"] not in ORIGINS:
            raise ValueError(f"expected an origin of {', '.join(ORIGINS)}, got {values['origin']!r}")
        return cls(values["origin"], values["init"] == "inherited", str(values["note"]))


@dataclass
class Term:
    """What one kind of loss term of a pair has seen: steps, examples, and media by modality."""

    steps: int = 0
    examples: int = 0
    media: dict[str, DigestSet] = field(default_factory=dict)

    def update(self, other: Term) -> None:
        """Adds another record: steps are summed, media united."""
        self.steps += other.steps
        self.examples += other.examples
        for name, media in other.media.items():
            self.media.setdefault(name, DigestSet()).update(media)

    def pack(self, table: MediaTable) -> dict[str, Any]:
        """As primitives, with the media put into the table."""
        media = {name: table.add(digests) for name, digests in sorted(self.media.items())}
        return {"steps": self.steps, "examples": self.examples, "media": media}

    @classmethod
    def unpack(cls, values: Mapping[str, Any], media: np.ndarray) -> Term:
        """From primitives and the table's rows."""
        sets = {name: take(media, place) for name, place in values["media"].items()}
        return cls(as_count(values["steps"]), as_count(values["examples"]), sets)


@dataclass
class PairRecord:
    """All that is on record of one pair: loss terms by kind, examples by source (SHA-256 of its manifest), groups.

    `gradient`: the modalities whose towers got gradient from it; None in a record of before this was kept, which may
    have been any.
    """

    paired: Term = field(default_factory=Term)
    unpaired: Term = field(default_factory=Term)
    sources: dict[str, int] = field(default_factory=dict)
    groups: DigestSet = field(default_factory=DigestSet)
    shaped_by: list[str] = field(default_factory=list)
    gradient: list[str] | None = field(default_factory=list)

    @property
    def terms(self) -> dict[str, Term]:
        """The loss terms by kind."""
        return {"paired": self.paired, "unpaired": self.unpaired}

    def update(self, other: PairRecord) -> None:
        """Adds another record of the same pair: steps are summed, media united."""
        self.paired.update(other.paired)
        self.unpaired.update(other.unpaired)
        for source, examples in other.sources.items():
            self.sources[source] = self.sources.get(source, 0) + examples
        self.groups.update(other.groups)
        extend(self.shaped_by, other.shaped_by)
        if self.gradient is None or other.gradient is None:
            self.gradient = None
        else:
            extend(self.gradient, other.gradient)

    def reaches(self, names: Collection[str], pair: Collection[str]) -> bool:
        """Whether one of these towers got gradient from the pair."""
        return bool(set(names) & set(pair if self.gradient is None else self.gradient))

    def pack(self, table: MediaTable) -> dict[str, Any]:
        """As primitives, with media and groups put into the table."""
        terms = {kind: term.pack(table) for kind, term in self.terms.items()}
        rest = {"sources": dict(self.sources), "groups": table.add(self.groups), "shaped_by": list(self.shaped_by)}
        return {**terms, **rest, **({} if self.gradient is None else {"gradient": sorted(self.gradient)})}

    @classmethod
    def unpack(cls, values: Mapping[str, Any], media: np.ndarray) -> PairRecord:
        """From primitives and the table's rows."""
        return cls(
            Term.unpack(values["paired"], media),
            Term.unpack(values["unpaired"], media),
            {str(source): as_count(examples) for source, examples in values["sources"].items()},
            take(media, values["groups"]),
            as_names(values["shaped_by"]),
            as_names(values["gradient"]) if "gradient" in values else None,
        )


def extend(known: list[Any], more: Iterable[Any]) -> None:
    """Appends what the list does not hold yet."""
    for item in more:
        if item not in known:
            known.append(item)
