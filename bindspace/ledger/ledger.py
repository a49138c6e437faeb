"""The ledger: which pairs, sources and media the weights have seen, written from what contributed to the loss.

It records and does not prove: it detects accidents and swaps, not forgery. `bindspace.ledger.file` says how it is kept.
"""

from __future__ import annotations

import hashlib
import itertools
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bindspace.contract import UserError
from bindspace.ledger import file as ledger_file
from bindspace.ledger.records import (
    ORIGINS,
    DigestSet,
    History,
    MediaTable,
    PairRecord,
    Term,
    as_names,
    as_rows,
    extend,
)


class Ledger:
    """The record of one space. Pairs are unordered; `status` says what may be claimed of two modalities."""

    def __init__(self) -> None:
        self.towers: dict[str, History] = {}
        self.pairs: dict[tuple[str, str], PairRecord] = {}
        self.selected_on: list[str] = []
        self.declarations: list[dict[str, Any]] = []
        self.unknown_reason: str | None = None

    @classmethod
    def new(cls, modalities: Mapping[str, str]) -> Ledger:
        """An empty record; `modalities` tells of each tower if it begins `random`, from `weights`, or `declared`."""
        ledger = cls()
        for name, origin in modalities.items():
            assert origin in ORIGINS, origin
            ledger.towers[name] = History(origin)
        return ledger

    @classmethod
    def declared(cls, modalities: Iterable[str], by: str, pairs: Mapping[tuple[str, str], str]) -> Ledger:
        """The record of third-party weights: nothing was seen, but `by` names trained pairs and their data.

        A pair may name a modality that is not among `modalities`: it is then a leg to what has been left out.
        """
        ledger = cls.new(dict.fromkeys(modalities, "declared"))
        for pair, data in pairs.items():
            ledger.declare(pair, by, data)
        return ledger

    @classmethod
    def unknown(cls, reason: str) -> Ledger:
        """A ledger that knows nothing, and why: every status is `unknown`."""
        ledger = cls()
        ledger.unknown_reason = reason
        return ledger

    def record(
        self,
        pair: tuple[str, str],
        source: str,
        digests: Mapping[str, Any],
        kind: str = "paired",
        shaped_by: Iterable[str] = (),
        groups: Iterable[str] = (),
        gradient: Iterable[str] | None = None,
    ) -> None:
        """Adds one step that contributed gradient: the media of its n examples, as uint8 (n, 32) by modality.

        `source`: SHA-256 of the manifest. `shaped_by`: further columns that shaped masks, targets or sampling.
        `groups`: the events' groups, where the source has any. `gradient`: the modalities whose towers got gradient
        from it; None: both.
        """
        record = self._pair(*pair)
        term = record.terms[kind]
        rows = {name: as_rows(digests[name]) for name in pair}
        examples = max(len(seen) for seen in rows.values())
        term.steps += 1
        term.examples += examples
        record.sources[source] = record.sources.get(source, 0) + examples
        record.groups.add(_group_digests(groups))
        extend(record.shaped_by, shaped_by)
        if record.gradient is not None:
            extend(record.gradient, pair if gradient is None else sorted(gradient))
        for name, seen in rows.items():
            term.media.setdefault(name, DigestSet()).add(seen)

    def record_references(
        self, pair: tuple[str, str], name: str, digests: Any, sources: Iterable[str], groups: Iterable[str]
    ) -> None:
        """Adds media of one side that every step of the pair's unpaired term has met, beside the rows of its examples.

        Their sources get no examples of it. To say it again changes nothing.
        """
        record = self._pair(*pair)
        record.unpaired.media.setdefault(name, DigestSet()).add(as_rows(digests))
        for source in sources:
            record.sources.setdefault(source, 0)
        record.groups.add(_group_digests(groups))

    def declare(self, pair: tuple[str, str], by: str, note: str = "") -> None:
        """Notes that somebody says of third-party weights that the pair was trained."""
        declaration = {"pair": list(_key(*pair)), "by": by, "note": note}
        if declaration not in self.declarations:
            self.declarations.append(declaration)

    def select(self, metric: str) -> None:
        """Notes a metric that chose a checkpoint, or stopped or swept a run."""
        extend(self.selected_on, [metric])

    def inherit(self, ancestor: Ledger, modalities: Iterable[str] | None = None, note: str = "") -> None:
        """Takes over the record of a space whose towers this one takes over (`modalities`; by default all of them).

        Steps are summed and media united; of an ancestor that is unknown, the towers' pasts are unknown from here on.
        """
        reason = ancestor.unknown_reason
        for name in ancestor.towers if modalities is None else modalities:
            past = ancestor.towers.get(name)
            origin = "weights" if past is None or reason else past.origin
            said = "; ".join(text for text in (note, reason, past.note if past else "") if text)
            known = self.towers.get(name)
            if known is not None and known.inherited:  # two parents of one tower: what is known of it is what both know
                origin = max(origin, known.origin, key=ORIGINS.index)
            self.towers[name] = History(origin, inherited=True, note=said)
        for pair, theirs in ancestor.pairs.items():
            self._pair(*pair).update(theirs)
        extend(self.selected_on, ancestor.selected_on)
        extend(self.declarations, ancestor.declarations)

    def without(self, dropped: Iterable[str]) -> Ledger:
        """The record of the space without these towers: a pair stays only if a kept one got gradient from it."""
        ledger, gone = Ledger(), set(dropped)
        ledger.towers = {name: past for name, past in self.towers.items() if name not in gone}
        for pair, record in self.pairs.items():
            if not gone & set(pair) or record.reaches(ledger.towers, pair):
                ledger.pairs[pair] = record
        ledger.selected_on, ledger.unknown_reason = list(self.selected_on), self.unknown_reason
        ledger.declarations = list(self.declarations)
        return ledger

    def trained_pairs(self) -> list[tuple[str, str]]:
        """The pairs of which a paired term contributed gradient, here or in an ancestor."""
        if self.unknown_reason is not None:
            return []
        return sorted(pair for pair, record in self.pairs.items() if record.paired.steps)

    def status(self, a: str, b: str) -> str:
        """What the record says of a and b: the first that holds of `unknown`, `trained`, `declared-trained`,
        `unlinked`, `bridged`, `emergent`, `declared-emergent`."""
        assert a != b, "a status is of two modalities"
        pasts = [self.towers.get(name) for name in (a, b)]
        if self.unknown_reason is not None or any(past is None or past.origin == "weights" for past in pasts):
            return "unknown"
        if _key(a, b) in self.trained_pairs():
            return "trained"
        if _key(a, b) in self._declared():
            return "declared-trained"
        if not self.legs(a, b):
            return "unlinked"
        if self.bridge(a, b):
            return "bridged"
        return "emergent" if any(past is not None and past.complete for past in pasts) else "declared-emergent"

    def legs(self, a: str, b: str) -> list[list[str]]:
        """Every shortest path from a to b over trained and declared pairs, as lists of names; empty: there is none."""
        if self.unknown_reason is not None:
            return []
        links = {*self.trained_pairs(), *self._declared()}
        paths, visited = [[a]], {a}
        while paths and not any(path[-1] == b for path in paths):
            paths = [[*path, name] for path in paths for name in _neighbours(path[-1], links) if name not in visited]
            visited |= {path[-1] for path in paths}
        return sorted(path for path in paths if path[-1] == b)

    def bridge(self, a: str, b: str) -> int:
        """How many distinct media of a third modality were trained both with a and with b."""
        count = 0
        for middle in {name for pair in self.pairs for name in pair} - {a, b}:
            terms = [self._term(middle, name) for name in (a, b)]
            if all(term is not None and middle in term.media for term in terms):
                first, second = (term.media[middle] for term in terms if term is not None)
                count += int(first.seen(second.rows()).sum())
        return count

    def unpaired_steps(self, a: str, b: str) -> int:
        """Steps of losses that touched both without any correspondence, such as distillation through the pivot."""
        record = self.pairs.get(_key(a, b))
        return record.unpaired.steps if record else 0

    def shaped_by(self, a: str, b: str) -> list[str]:
        """Further columns that shaped masks, targets or sampling of the pair."""
        record = self.pairs.get(_key(a, b))
        return list(record.shaped_by) if record else []

    def declared_of(self, a: str, b: str) -> list[str]:
        """Who says of third-party weights that the pair was trained, and on what: for people."""
        return [said(each) for each in self.declarations if _key(*each["pair"]) == _key(a, b)]

    def seen(self, name: str, digests: Any) -> np.ndarray:
        """Which of these contents were seen in training under that modality, in any pair: bool (n,)."""
        rows = as_rows(digests)
        known = np.zeros(len(rows), bool)
        for record in self.pairs.values():
            for term in record.terms.values():
                if name in term.media:
                    known |= term.media[name].seen(rows)
        return known

    def overlap(self, name: str, digests: Any) -> int:
        """How many of these contents were seen in training under that modality, in any pair."""
        return int(self.seen(name, digests).sum())

    def seen_groups(self, groups: Sequence[str | None]) -> np.ndarray:
        """Of which events the group was in training, as far as sources named groups: bool (n,)."""
        rows = _group_digests(group or "" for group in groups)
        known = np.zeros(len(rows), bool)
        for record in self.pairs.values():
            known |= record.groups.seen(rows)
        return known & np.array([group is not None for group in groups], bool)

    def state(self) -> dict[str, Any]:
        """The whole record as primitives and one uint8 tensor, for a checkpoint."""
        import torch

        record, media = self._pack()
        return {"record": record, "media": torch.from_numpy(media)}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Ledger:
        """The ledger of that state."""
        return cls._unpack(state["record"], as_rows(state["media"]))

    def summary(self) -> dict[str, Any]:
        """The record without media, with every status: for reports and people."""
        statuses = {f"{a}-{b}": self.status(a, b) for a, b in itertools.combinations(sorted(self.towers), 2)}
        return {**self._pack()[0], "statuses": statuses}

    def save(self, folder: str | Path, weights_sha256: str) -> Path:
        """Writes `ledger.json` and `ledger.media` for the weights of that hash, and returns the former's path."""
        return ledger_file.write(folder, weights_sha256, self.summary(), self._pack()[1])

    @classmethod
    def load(cls, folder: str | Path, weights_sha256: str) -> Ledger:
        """Reads the ledger of a space. Absent, damaged, or of other weights: every status is `unknown`, and
        `unknown_reason` says why."""
        try:
            return cls._unpack(*ledger_file.read(folder, weights_sha256))
        except UserError as error:
            return cls.unknown(str(error))
        except ledger_file.DAMAGE as error:
            return cls.unknown(f"{ledger_file.JSON} is damaged: {type(error).__name__}: {error}")

    def _pack(self) -> tuple[dict[str, Any], np.ndarray]:
        media = MediaTable()
        record = {
            "modalities": {name: past.pack() for name, past in self.towers.items()},
            "pairs": [{"of": list(pair), **record.pack(media)} for pair, record in sorted(self.pairs.items())],
            "selected_on": list(self.selected_on),
            "declarations": [dict(declaration) for declaration in self.declarations],
            "unknown_reason": self.unknown_reason,
        }
        return record, media.rows()

    @classmethod
    def _unpack(cls, record: Mapping[str, Any], media: np.ndarray) -> Ledger:
        ledger = cls()
        ledger.towers = {name: History.unpack(past) for name, past in record["modalities"].items()}
        for item in record["pairs"]:
            a, b = as_names(item["of"])
            ledger.pairs[_key(a, b)] = PairRecord.unpack(item, media)
        for declaration in record["declarations"]:
            a, b = as_names(declaration["pair"])
            ledger.declare((a, b), str(declaration["by"]), str(declaration["note"]))
        ledger.selected_on = as_names(record["selected_on"])
        if record["unknown_reason"] is not None:
            ledger.unknown_reason = str(record["unknown_reason"])
        return ledger

    def _pair(self, a: str, b: str) -> PairRecord:
        return self.pairs.setdefault(_key(a, b), PairRecord())

    def _term(self, a: str, b: str) -> Term | None:
        record = self.pairs.get(_key(a, b))
        return record.paired if record else None

    def _declared(self) -> set[tuple[str, str]]:
        return {_key(*declaration["pair"]) for declaration in self.declarations}


def said(declaration: Mapping[str, Any]) -> str:
    """A declaration as people read it: the pair, what it was trained on, and who says so."""
    on = f" on {declaration['note']}" if declaration["note"] else ""
    return f"{'-'.join(declaration['pair'])}{on}, by {declaration['by']}"


def _key(a: str, b: str) -> tuple[str, str]:
    return (a, b) if a < b else (b, a)


def _neighbours(name: str, links: Iterable[tuple[str, str]]) -> list[str]:
    return [b if a == name else a for a, b in links if name in (a, b)]


def _group_digests(groups: Iterable[str]) -> list[bytes]:
    return [hashlib.sha256(unicodedata.normalize("NFC", group).encode()).digest() for group in groups]
