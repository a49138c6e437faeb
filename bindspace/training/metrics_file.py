"""metrics.csv: every logged metric of a run, one row a step; a resumed run appends to the same file."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers.logger import Logger, rank_zero_experiment
from lightning.pytorch.utilities import rank_zero_only

from bindspace.contract import UserError
from bindspace.io.files import write_text


class MetricsFile(Logger):
    """A Lightning logger that keeps one CSV file, rewritten whole and atomically, with a column for each metric.

    `step`: rows of an earlier session up to this step are kept, later ones (which will come again) are dropped.
    Lightning's own CSVLogger deletes what it finds.
    """

    def __init__(self, path: Path, step: int = 0) -> None:
        super().__init__()
        self.path = path
        self.rows: dict[int, dict[str, Any]] = {}
        if path.exists():
            try:
                with path.open(newline="", encoding="utf-8") as file:
                    earlier = [row for row in csv.DictReader(file) if int(row["step"]) <= step]
            except (KeyError, TypeError, ValueError, csv.Error) as error:
                raise UserError(f"{path} is damaged ({error}): move it away to resume without it") from error
            self.rows = {int(row["step"]): {k: v for k, v in row.items() if v} for row in earlier}

    @property
    def name(self) -> str:
        """Lightning asks for one."""
        return ""

    @property
    def version(self) -> str:
        """Lightning asks for one."""
        return ""

    @property
    @rank_zero_experiment
    def experiment(self) -> MetricsFile:
        """Itself."""
        return self

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run's settings are in config.yaml."""

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """Adds metrics to the row of a step."""
        self.rows.setdefault(step or 0, {"step": step or 0}).update(metrics)

    @rank_zero_only
    def save(self) -> None:
        """Writes the file."""
        if not self.rows:
            return
        columns = ["step", *sorted({key for row in self.rows.values() for key in row} - {"step"})]
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows[step] for step in sorted(self.rows))
        write_text(self.path, text.getvalue())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        """Writes the file at the end of a fit."""
        self.save()
