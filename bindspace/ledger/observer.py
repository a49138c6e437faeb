"""What a term of the loss took in a step, and what of it is recorded. It observes: a term need not report anything.

The unit is one term over one optimiser step. For every two names of which it took rows of a common event, in any of its
calls, detached or not: `paired`, if one of the two is trainable, or the term itself is, and a gradient that is not zero
reached anything that the term took or owns. Names taken alone or as reference beside others: `unpaired`. It shows
accidents and carelessness, not forgery.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bindspace.ledger.ledger import Ledger

NONE = np.empty((0, 32), np.uint8)


Reached = dict[str, list[Tensor]]  # by name a bool scalar for each gradient that arrived: whether it was not zero


def watched(z: Tensor, name: str, reached: Reached) -> Tensor:
    """An alias of the tensor whose gradients are noted in `reached`."""
    if not z.requires_grad:
        return z
    z = z.view_as(z)
    z.register_hook(partial(note, name, reached))
    return z


def note(name: str, reached: Reached, gradient: Tensor) -> None:
    """Notes a gradient, as a hook of a tensor. Nothing is copied from the device yet."""
    reached.setdefault(name, []).append(gradient.detach().ne(0).any())


def names_of(reached: Reached) -> set[str]:
    """The names that a gradient other than zero arrived at."""
    return {name for name, flags in reached.items() if bool(torch.stack(flags).any())}


@dataclass
class EventKeys:
    """The identity of a batch's events, by position: id, group, and the content of the pivot."""

    ids: Sequence[str]
    groups: Sequence[str | None]
    pivots: tuple[np.ndarray, np.ndarray] | None = None  # digests (n, 32) of the pivot, and of which events (n,)

    @cached_property
    def pivot_of(self) -> dict[int, bytes]:
        """The digest of the pivot by position."""
        if self.pivots is None:
            return {}
        return {event: row.tobytes() for row, event in zip(self.pivots[0], self.pivots[1].tolist())}

    def keys(self, positions: Iterable[int]) -> set[tuple[str, Any]]:
        """What makes another event the same as one of these: any of the three."""
        found: set[tuple[str, Any]] = set()
        for position in positions:
            found.add(("id", self.ids[position]))
            if self.groups and self.groups[position] is not None:
                found.add(("group", self.groups[position]))
            if position in self.pivot_of:
                found.add(("pivot", self.pivot_of[position]))
        return found

    def groups_of(self, positions: Iterable[int]) -> list[str]:
        """The groups of these events, as far as they have any."""
        return [group for at in sorted(positions) if (group := self.groups[at]) is not None] if self.groups else []


@dataclass
class Reference:
    """Reference vectors of one modality as the ledger records them: media, manifests, groups."""

    name: str
    digests: np.ndarray
    sources: Sequence[str]
    groups: Sequence[str]


@dataclass
class Taken:
    """What one term took in one step. `media`: by name the digests (n, 32) of the batch and their events (n,)."""

    events: EventKeys
    source: str
    media: Mapping[str, tuple[np.ndarray, np.ndarray]]
    aligned: dict[str, set[int]] = field(default_factory=dict)  # by name, positions of events
    alone: dict[str, set[int]] = field(default_factory=dict)
    references: list[Reference] = field(default_factory=list)
    reached: Reached = field(default_factory=dict)
    owned: list[Tensor] = field(default_factory=list)  # the same of the term's own parameters

    def watch(self, name: str, z: Tensor) -> Tensor:
        """The tensor as the term gets it: whether a gradient reaches it is noted."""
        return watched(z, name, self.reached)


@dataclass
class Entry:
    """One candidate for the record, of one rank."""

    pair: tuple[str, str]
    kind: str
    source: str
    digests: dict[str, np.ndarray]
    groups: list[str]


class Observer:
    """Of one term instance: which events it has taken by name so far, since it may keep rows in its buffers."""

    def __init__(self, names: Iterable[str]) -> None:
        self.names = list(names)
        self.met: dict[str, set[tuple[str, Any]]] = {}

    def entries(self, taken: Taken) -> list[Entry]:
        """The candidates of a step: each two names with a common event, now or in the past, and those taken alone."""
        keeps = len(self.names) > 2  # of two names each call takes both: nothing beyond the record can be kept
        keys = {name: taken.events.keys(positions) for name, positions in taken.aligned.items()} if keeps else {}
        found: list[Entry] = []
        for a, b in itertools.combinations(sorted({*taken.aligned, *self.met}), 2):
            of_a, of_b = (taken.aligned.get(name, set()) for name in (a, b))
            if common := of_a & of_b:
                found.append(entry_of(taken, (a, b), common, common))
            elif keeps and self._joined(keys, a, b):
                found.append(entry_of(taken, (a, b), of_a, of_b))
        for name, positions in taken.alone.items():
            for other in sorted({*taken.aligned, *taken.alone} - {name}):
                found.append(entry_of(taken, (name, other), positions, taken.aligned.get(other, set()), "unpaired"))
        for name, seen in keys.items():
            self.met.setdefault(name, set()).update(seen)
        return found

    def _joined(self, keys: Mapping[str, set[tuple[str, Any]]], a: str, b: str) -> bool:
        now_a, now_b = keys.get(a, set()), keys.get(b, set())
        past_a, past_b = self.met.get(a, set()), self.met.get(b, set())
        return bool(now_a & (now_b | past_b)) or bool(now_b & past_a)


def entry_of(
    taken: Taken, pair: tuple[str, str], of_first: set[int], of_second: set[int], kind: str = "paired"
) -> Entry:
    """A candidate with the media of both sides at these events."""
    digests = {name: media_of(taken.media, name, positions) for name, positions in zip(pair, (of_first, of_second))}
    return Entry(pair, kind, taken.source, digests, taken.events.groups_of(of_first | of_second))


def media_of(media: Mapping[str, tuple[np.ndarray, np.ndarray]], name: str, positions: set[int]) -> np.ndarray:
    """The digests (n, 32) of a modality at these events."""
    if name not in media or not positions:
        return NONE
    digests, events = media[name]
    return digests if len(positions) == len(events) else digests[np.isin(events, np.fromiter(positions, np.int64))]


@dataclass
class Observed:
    """What a rank sends to the others of one term in one step: where gradient was not zero, and the candidates.

    `students`: the rows that were taken aligned beside reference vectors, by name.
    """

    reached: set[str]
    owned: bool
    entries: list[Entry]
    students: list[Entry]


def observed(observer: Observer, taken: Taken) -> Observed:
    """What one rank saw of a term in a step."""
    reached = names_of(taken.reached)
    owned = bool(taken.owned) and bool(torch.stack(taken.owned).any())
    aligned = taken.aligned.items() if taken.references else ()
    students = [_student(taken, name, positions) for name, positions in aligned]
    return Observed(reached, owned, observer.entries(taken), students)


def _student(taken: Taken, name: str, positions: set[int]) -> Entry:
    media = {name: media_of(taken.media, name, positions)}
    return Entry((name, name), "unpaired", taken.source, media, taken.events.groups_of(positions))


@dataclass
class Contribution:
    """What one pair contributed to one optimiser step, over terms and ranks."""

    entries: list[Entry] = field(default_factory=list)
    gradient: set[str] = field(default_factory=set)
    references: dict[str, Reference] = field(default_factory=dict)


class StepRecord:
    """What is recorded of one optimiser step: each pair once, however many terms took it.

    `trainable`: whether a modality's tower has a trainable parameter.
    """

    def __init__(self, trainable: Callable[[str], bool]) -> None:
        self.trainable = trainable
        self.reached: set[str] = set()  # the modalities that gradient reached
        self._found: dict[tuple[tuple[str, str], str, str], Contribution] = {}

    def add(self, gathered: Sequence[Observed], references: Sequence[Reference]) -> None:
        """Adds what all ranks saw of one term."""
        reached, owned = set().union(*(each.reached for each in gathered)), any(each.owned for each in gathered)
        self.reached |= reached
        if not reached and not owned:
            return
        for entry in (entry for each in gathered for entry in each.entries):
            if owned or any(self.trainable(name) for name in entry.pair):
                self._of(entry.pair, entry).gradient |= reached
        for reference in references:
            for entry in (entry for each in gathered for entry in each.students):
                if (owned or self.trainable(entry.pair[0])) and entry.pair[0] != reference.name:
                    found = self._of((entry.pair[0], reference.name), entry)
                    found.gradient |= reached
                    found.references[reference.name] = reference

    def _of(self, pair: tuple[str, str], entry: Entry) -> Contribution:
        found = self._found.setdefault((pair, entry.kind, entry.source), Contribution())
        found.entries.append(entry)
        return found

    def write(self, ledger: Ledger, pivot: str) -> None:
        """Writes it into the ledger."""
        for (pair, kind, source), found in self._found.items():
            media = {name: _distinct([each.digests.get(name, NONE) for each in found.entries]) for name in pair}
            groups = dict.fromkeys(group for each in found.entries for group in each.groups)
            shaped_by = [pivot] if found.references else []
            ledger.record(pair, source, media, kind, shaped_by, groups, gradient=found.gradient)
            for each in found.references.values():
                ledger.record_references(pair, each.name, each.digests, each.sources, each.groups)


def _distinct(parts: Sequence[np.ndarray]) -> np.ndarray:
    """The rows of all parts; of terms that took the same rows once."""
    kept: list[np.ndarray] = []
    for part in parts:
        if not any(part is other or np.array_equal(part, other) for other in kept):
            kept.append(part)
    return np.concatenate([NONE, *kept])
