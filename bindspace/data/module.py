"""The data as a Lightning module, for `bindspace train` and for anybody's own `Trainer`."""

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
from bindspace.data.dataset import TrainBatches, ValBatches, Vectors, load_manifest, one_thread
from bindspace.data.manifest import Manifest, check_groups, split_validation
from bindspace.settings import DataSettings, Pair

PREFETCH = 4  # batches that a worker is ahead,
AHEAD = 2048  # but no more events than these beyond the first batch: prepared inputs of large batches fill memory
IN_WORKER = re.compile(
    r"^Caught .* in DataLoader worker process.*^[\w.]*(?:UserError|PluginError): (.*)", re.DOTALL | re.M
)


class StepSampler(DistributedSampler[int]):
    """Steps from `start()` on. Its length stays that of the whole run, so that a resumed run counts steps alike.

    It is a `DistributedSampler` in order that Lightning leaves it in place: dealing to ranks is the data set's work.
    """

    def __init__(self, dataset: TrainBatches, start: Callable[[], int]) -> None:
        super().__init__(dataset, num_replicas=1, rank=0, shuffle=False)
        self.steps, self.start = len(dataset), start

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.start(), self.steps))

    def __len__(self) -> int:
        return self.steps


class BindData(LightningDataModule):
    """Training and validation batches of the listed pairs.

    `train`, `val`: sources, or manifests already loaded. With `val` None, a share of the training rows
    (`settings.val_fraction`) is parted off, whole groups at a time; an empty list means no validation. `vectors`:
    cached vectors of frozen towers, see `TrainBatches`. Set `start_step` to resume: the batch of step t does not depend
    on those before. Set `in_chunks` where the module encodes in chunks: it moves them to its device one by one.
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
    ) -> None:
        super().__init__()
        self.configs, self.pairs, self.settings = dict(configs), list(pairs), settings
        self.steps, self.seed, self.vectors = steps, seed, vectors
        self.start_step = 0
        self.in_chunks = False
        names = list(dict.fromkeys(name for pair in pairs for name in pair.of))
        self.train_manifests = [load_manifest(source, names) for source in train]
        self.val_manifests = [load_manifest(source, names) for source in val or []]
        check_groups(self.train_manifests, self.val_manifests)
        if val is None:
            parts = split_validation(self.train_manifests, settings.val_fraction, seed)
            self.train_manifests, self.val_manifests = parts

    def train_dataloader(self) -> DataLoader[Batch]:
        """One batch a step, from `start_step` on, for this rank of the attached trainer (else the only one)."""
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
        """Every validation event once, in order, on every rank; no batches where there are no validation events."""
        if not self.val_manifests:
            return []
        batches = ValBatches(self.val_manifests, self.configs, self.pairs, self.settings.batch, self.vectors)
        return DataLoader(batches, batch_size=None, sampler=range(len(batches)))

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Moves a batch's tensors."""
        return batch.to(device, inputs=not self.in_chunks)


@contextmanager
def one_sentence() -> Iterator[None]:
    """What a loader worker raises for people comes back as they would read it, without the worker's traceback.

    So does what keeps a worker from being started at all.
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
            "a loader worker was killed, as happens when memory runs out: lower data.workers, data.memory_gb or "
            "data.batch, then go on with run=FOLDER"
        ) from error
