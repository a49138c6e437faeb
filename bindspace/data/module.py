"""The data as a Lightning data module, for `bindspace train` and for other `Trainer`s."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pickle import PicklingError
from traceback import extract_tb
from typing import Any

import torch
from lightning import LightningDataModule
from torch.utils.data import DataLoader
from torch.utils.data.distributed import DistributedSampler

from bindspace.contract import ModalityConfig, Source, UserError
from bindspace.data.batch import Batch
from bindspace.data.dataset import TrainBatches, Vectors, load_manifest, one_thread
from bindspace.data.manifest import Manifest, Read, check_groups, split_validation
from bindspace.data.validation import LARGEST, ValidationBatches, holds
from bindspace.settings import DataSettings, Pair

PREFETCH = 4  # batches that a worker prefetches,
AHEAD = 2048  # but at most this many events beyond the first batch: prepared inputs of large batches fill memory
IN_WORKER = re.compile(
    r"^Caught .* in DataLoader worker process.*^[\w.]*(?:UserError|PluginError): (.*)", re.DOTALL | re.M
)


class StepSampler(DistributedSampler[int]):
    """Steps from `start()` on. Its length is that of the whole run, so that a resumed run counts steps alike.

    It is a `DistributedSampler` so that Lightning does not replace it: the data set itself distributes over ranks.
    """

    def __init__(self, dataset: TrainBatches | ValidationBatches, start: Callable[[], int]) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, shuffle=False)
        self.steps, self.start = len(dataset), start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start(), self.steps))

    def __len__(self) -> int:
        return self.steps


class BindData(LightningDataModule):
    """Training and validation batches of the listed pairs.

    `train`, `val`: sources, or manifests already loaded. With `val` None, a share of the training rows
    (`settings.val_fraction`) is held out, by whole groups; an empty list means no validation. `val_pairs`: further
    pairs to validate. `vectors`: cached vectors of frozen towers, see `TrainBatches`. Set `start_step` to resume: the
    batch of step t does not depend on earlier ones. `reads`: modalities that further terms of the loss read, see
    `bindspace.settings.reads`. Set `in_chunks` if the module encodes in chunks: it moves them to its device one by one.
    """

    def __init__(
        self,
        configs: Mapping[str, ModalityConfig],
        train: Sequence[Source | Manifest],
        val: Sequence[Source | Manifest] | None,
        pairs: Sequence[Pair],
        settings: DataSettings,
        steps: int,
        seed: int = 0,
        vectors: Vectors | None = None,
        reads: Sequence[Read] = (),
        val_pairs: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__()
        self.val_pairs = list(dict.fromkeys([*((pair.of[0], pair.of[1]) for pair in pairs), *val_pairs]))
        self.configs, self.pairs, self.settings = dict(configs), list(pairs), settings
        self.steps, self.seed, self.vectors, self.reads = steps, seed, vectors, list(reads)
        self.start_step = 0
        self.in_chunks = False
        names = list(dict.fromkeys([*(name for pair in pairs for name in pair.of), *(n for r, _ in reads for n in r)]))
        self.train_manifests = [load_manifest(source, names) for source in train]
        self.val_manifests = [load_manifest(source, names) for source in val or []]
        check_groups(self.train_manifests, self.val_manifests)
        if val is None:
            parts = split_validation(self.train_manifests, settings.val_fraction, seed)
            self.train_manifests, self.val_manifests = parts

    def setup(self, stage: str) -> None:
        """Without validation events the trainer is told so: Lightning warns of an empty loader."""
        held = any(holds(each, pair) for each in self.val_manifests for pair in self.val_pairs)
        if self.trainer is not None and not held:
            self.trainer.limit_val_batches = 0

    def train_dataloader(self) -> DataLoader[Batch]:
        """One batch per step, from `start_step` on, for this rank of the attached trainer (else the only one)."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        workers = self.settings.workers
        batches = TrainBatches(
            self.train_manifests,
            self.configs,
            self.pairs,
            self.settings.batch,
            self.steps,
            self.seed,
            rank,
            world_size,
            vectors=self.vectors,
            memory_gb=self.settings.memory_gb / max(1, workers),
            reads=self.reads,
        )
        return DataLoader(
            batches,
            batch_size=None,
            sampler=StepSampler(batches, lambda: self.start_step),
            num_workers=workers,
            persistent_workers=workers > 0,
            prefetch_factor=max(1, min(PREFETCH, AHEAD // self.settings.batch)) if workers else None,
            worker_init_fn=one_thread,
        )

    def val_dataloader(self) -> DataLoader[Batch] | list[Any]:
        """This rank's share of the validation set; no batches without validation events."""
        rank, world_size = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        settings, workers = self.settings, self.settings.workers
        batches = ValidationBatches(
            self.val_manifests,
            self.configs,
            self.val_pairs,
            min(settings.batch, LARGEST),
            settings.val_max,
            self.seed,
            rank,
            world_size,
            vectors=self.vectors,
            memory_gb=settings.memory_gb / max(1, workers),
        )
        if not len(batches):
            return []
        sampler = StepSampler(batches, int)
        return DataLoader(batches, batch_size=None, sampler=sampler, num_workers=workers, worker_init_fn=one_thread)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves a batch's tensors."""
        return batch.to(device, inputs=not self.in_chunks)


@contextmanager
def one_sentence() -> Iterator[None]:
    """Re-raises a user error of a loader worker with its own message, without the worker's traceback.

    What keeps a worker from starting, because it cannot be pickled, is a user error too.
    """
    try:
        yield
    except (PicklingError, AttributeError, TypeError) as error:
        if not any(
            frame.name == "dump" and "multiprocessing" in frame.filename for frame in extract_tb(error.__traceback__)
        ):
            raise
        raise UserError(
            f"a loader worker cannot be given the data ({error}): keep what cannot be pickled out of the modalities' "
            "settings, or set data.workers=0"
        ) from error
    except UserError as error:
        if (told := IN_WORKER.search(str(error))) is None:
            raise
        raise type(error)(told[1].strip()) from error
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise UserError(
            "a loader worker was killed, perhaps because memory ran out: lower data.workers, data.memory_gb or "
            "data.batch, then resume with run=FOLDER"
        ) from error
