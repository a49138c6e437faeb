"""Published results measured on a space: the same data sets, the same metrics.

A suite lists the data sets, metrics and published results. A row whose data are missing, or whose modality the space
does not have, is left blank, with the reason.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from bindspace.benchmark.cell import Side, measure_cell
from bindspace.benchmark.emergent import SCHEMA, check_settings, embed_pool, system_of
from bindspace.benchmark.prompting import expand
from bindspace.benchmark.report.published import print_table, render_markdown
from bindspace.benchmark.tasks.multi_label import present_of, rank_labels
from bindspace.benchmark.tasks.zero_shot import class_vectors, classes_of, classify, labels_of
from bindspace.contract import AbsentError, Source, UserError, unknown
from bindspace.data import LISTING, BadRows, Manifest, Reader, load_pool
from bindspace.io.files import json_bytes, write_together
from bindspace.metrics import Permutations, scores
from bindspace.settings import BenchmarkSettings, DataSettings, Published
from bindspace.vectors import open_caches

if TYPE_CHECKING:
    from bindspace.contract import DatasetConfig
    from bindspace.data import Pool
    from bindspace.space import Space

RECALL = "recall@"
CLASSIFIED = {"accuracy": "accuracy", "map": "map"}  # metric -> its key in the zero-shot result


def measure_published(
    space: Space,
    dataset_of: Callable[[Published], DatasetConfig],
    settings: BenchmarkSettings,
    data: DataSettings,
    out: Path,
    *,
    name: str,
    progress: bool = True,
    cache: Path | None = None,
) -> dict[str, Any]:
    """Measures the rows of `settings.published`, writes report.json and report.md into `out`, prints the table.

    `dataset_of`: the config of a row's data set; raises `AbsentError` if it is not available. Raises `UserError` at
    the end, with the table written, if a row with available data failed.
    """
    from rich.console import Console

    check_settings(settings)
    for row in settings.published:
        _k(row)
    (out / LISTING).unlink(missing_ok=True)
    table = _Table(space, dataset_of, settings, data, BadRows(out / LISTING), progress, cache)
    cells = [table.cell(row) for row in settings.published]
    ledger = space.ledger.summary() if space.ledger else {}
    report = {"schema": SCHEMA, "system": system_of(space, name), "published": cells, "ledger": ledger}
    write_together({out / "report.json": json_bytes(report), out / "report.md": render_markdown(report).encode()})
    print_table(report, Console())
    print(f"report: {out}")
    if failed := [cell for cell in cells if cell["failed"]]:
        first = failed[0]
        raise UserError(f"{len(failed)} of {len(cells)} rows failed, {first['dataset']} first: {first['blank']}")
    return report


class _Table:
    """Measures rows; rows with the same query and gallery of the same data set are measured once."""

    def __init__(
        self,
        space: Space,
        dataset_of: Callable[[Published], DatasetConfig],
        settings: BenchmarkSettings,
        data: DataSettings,
        bad: BadRows,
        progress: bool,
        cache: Path | None,
    ) -> None:
        self.space, self.dataset_of, self.settings, self.data = space, dataset_of, settings, data
        self.bad, self.progress, self.cache = bad, progress, cache
        self.permutations = Permutations(settings.permutations, settings.seed)
        self._measured: dict[str, dict[str, Any]] = {}

    def cell(self, row: Published) -> dict[str, Any]:
        """A row of the report: the published and the measured result as shares; `blank`: why there is none."""
        ledger = self.space.ledger
        both = row.query in self.space.modalities and row.gallery in self.space.modalities
        cell = {
            "dataset": row.dataset,
            "metric": row.metric,
            "query": row.query,
            "gallery": row.gallery,
            "published": row.figure / 100,
            "source": row.source,
            "status": (ledger.status(row.query, row.gallery) if ledger else "unknown") if both else None,
        }
        asked = json.dumps([_task(row), row.dataset, row.query, row.gallery, row.attribute, row.settings], default=str)
        if asked not in self._measured:
            self._measured[asked] = self._try(row)
        found = self._measured[asked]
        if "blank" in found:
            return {**cell, "ours": None, **found}
        return {**cell, "blank": None, "failed": False, **_figure(row, found)}

    def _try(self, row: Published) -> dict[str, Any]:
        if lacking := [each for each in (row.query, row.gallery) if each not in self.space.modalities]:
            return {"blank": f"the space has no {' and no '.join(lacking)}", "failed": False}
        try:
            return self._measure(row, self.dataset_of(row))
        except AbsentError as error:
            return {"blank": str(error), "failed": False}
        except UserError as error:
            return {"blank": str(error), "failed": True}

    def _measure(self, row: Published, dataset: DatasetConfig) -> dict[str, Any]:
        names = [row.query, row.gallery] if row.metric.startswith(RECALL) else [row.query]
        pool = self._load(dataset.sources([], self.space.modalities)["test"], names)
        caches = open_caches(self.space, names, self.cache)
        sides = embed_pool(self.space, pool, names, self.settings.batch_size, row.dataset, self.progress, caches=caches)
        if len(names) == 2:
            asked = [k for each in self.settings.published if (k := _k(each)) is not None]
            settings = replace(self.settings, k=sorted({*self.settings.k, *asked}))
            found, _ = measure_cell(sides[row.query], sides[row.gallery], settings, self.permutations)
        else:
            found = self._classify(row, dataset, pool, sides[row.query])
        return {**found, "events": len(pool), "left_out": pool.left_out}

    def _load(self, sources: Sequence[Source], names: Sequence[str]) -> Pool:
        """The pool. A tower that can read none of the files (an image tower and videos) lacks the modality."""
        reader = Reader(self.data.memory_gb)
        try:
            return load_pool(sources, self.space.configs, names, reader, self.data.max_bad_fraction, self.bad)
        except UserError as error:
            manifests = [Manifest.load(source, names) for source in sources]
            asked = {(str(each.path), row["id"]) for each in manifests for row in each.rows if row.keys() >= {*names}}
            refused = {(row.source, row.id): row for row in self.bad}
            if asked and asked <= refused.keys():
                first = refused[min(asked)]
                raise AbsentError(f"the space's {first.modality} reads none of the files: {first.reason}") from error
            raise

    def _classify(self, row: Published, dataset: DatasetConfig, pool: Pool, side: Side) -> dict[str, Any]:
        """Zero-shot among all classes of the data set, classes without an event in the pool included."""
        if row.attribute not in pool.attributes:
            raise UserError(unknown(f"column of {row.dataset}", row.attribute, pool.attributes))
        values = pool.attributes[row.attribute]
        classes = dataset.classes().get(row.attribute) or classes_of(values)
        if strange := sorted(set(classes_of(values)) - set(classes)):
            raise UserError(f"{row.dataset} has the label {strange[0]!r}, which is none of its {len(classes)} classes")
        templates = expand({**dataset.templates(), **self.settings.templates})
        words = dataset.names().get(row.attribute, {})
        class_scores = self._class_scores(row, side.vectors, [words.get(each, [each]) for each in classes], templates)
        if row.metric == "map":
            rows, present = present_of(side.events, values, classes)
            return rank_labels(class_scores[rows], present, self.permutations)
        rows, labels = labels_of(side.events, values)
        return classify(class_scores[rows], labels, classes, side.clusters[rows], self.permutations)

    def _class_scores(
        self, row: Published, vectors: Tensor, words: Sequence[Sequence[str]], templates: dict[str, list[str]]
    ) -> Tensor:
        """Scores (N, C) of vectors (N, D); a class with several names takes the best of their scores."""
        flat = [word for each in words for word in each]
        score_NW = scores(vectors, class_vectors(self.space, row.gallery, row.attribute, flat, templates))
        return torch.stack([part.amax(1) for part in score_NW.split([len(each) for each in words], dim=1)], dim=1)


def _k(row: Published) -> int | None:
    """The K of a row of recall@K, or None. Raises `UserError` for an unknown metric."""
    if row.metric in CLASSIFIED:
        return None
    k = row.metric.removeprefix(RECALL)
    if k == row.metric or not k.isdigit() or int(k) < 1:
        raise UserError(f"unknown metric {row.metric!r} of {row.dataset}: available: accuracy, map, recall@K")
    return int(k)


def _task(row: Published) -> str:
    """Key of a measurement: all recalls come from one ranking."""
    return RECALL if row.metric.startswith(RECALL) else row.metric


def _figure(row: Published, found: dict[str, Any]) -> dict[str, Any]:
    """The value of a row, from the measurement."""
    k = _k(row)
    if k is None:
        results: dict[str, Any] = {
            "ours": found[CLASSIFIED[row.metric]],
            "ci95": found["ci95"],
            "chance": found["chance"],
        }
    else:
        results = {"ours": found["recall"][str(k)], "ci95": found["ci95"][str(k)], "chance": found["chance"][str(k)]}
    sizes: dict[str, Any] = {name: found[name] for name in ("classes", "gallery_size") if name in found}
    return {**results, **sizes, "n": found["n"], "events": found["events"], "left_out": found["left_out"]}
