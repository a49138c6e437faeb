import subprocess
import sys
from typing import Any

import pytest
import torch
from lightning import LightningModule, Trainer
from torch import nn

from bindspace import Source
from bindspace.contract.errors import UserError
from bindspace.data import Batch, TrainBatches
from bindspace.data.module import BindData
from bindspace.settings.run import DataSettings, Pair

PAIR = Pair(["touch", "words"])


def data(configs, train, val=(), steps=12, workers=0, **more: Any) -> BindData:
    settings = DataSettings(batch=8, workers=workers, val_fraction=0.2)
    return BindData(configs, train, val if val is None else list(val), [PAIR], settings, steps=steps, seed=3, **more)


def test_the_data_without_its_lightning_module_needs_neither_lightning_nor_hydra() -> None:
    code = "import sys, bindspace.data; print(sorted({'lightning', 'hydra', 'omegaconf'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[]"]


def test_batches_come_in_order_from_where_the_run_stopped(configs, folder) -> None:
    source = folder("a", 20)
    whole = [batch.ids for batch in data(configs, [source]).train_dataloader()]
    resumed = data(configs, [source])
    resumed.start_step = 9
    loader = resumed.train_dataloader()
    assert (len(whole), len(loader)) == (12, 12)
    assert [batch.ids for batch in loader] == whole[9:]


def test_workers_change_nothing_about_the_batches_and_run_one_thread(configs, folder) -> None:
    class Threads(type(configs["touch"])):
        def prepare(self, samples, *, seeds=None, augment="weak"):
            assert torch.utils.data.get_worker_info() is not None
            assert torch.get_num_threads() == 1
            return super().prepare(samples, seeds=seeds, augment=augment)

    source = folder("a", 20, rows={4: {"words": ""}})
    alone = list(data(configs, [source]).train_dataloader())
    loader = data(configs | {"touch": Threads()}, [source], workers=1).train_dataloader()
    for _ in range(2):  # the worker stays for a second pass
        shared = list(loader)
        assert [batch.ids for batch in shared] == [batch.ids for batch in alone]
        for a, b in zip(alone, shared):
            assert torch.equal(a.inputs["touch"]["seeds"], b.inputs["touch"]["seeds"])
            assert torch.equal(a.inputs["words"]["x"], b.inputs["words"]["x"])
    assert [row.id for batch in alone for row in batch.bad] == ["e4"]


def test_a_share_of_the_training_rows_is_held_out_only_where_no_validation_is_said(configs, folder) -> None:
    source = folder("a", 20)
    split = data(configs, [source], None)
    train = {name for batch in split.train_dataloader() for name in batch.ids}
    val = {name for batch in split.val_dataloader() for name in batch.ids}
    assert (len(train), len(val), train & val) == (16, 4, set())
    assert data(configs, [source], []).val_dataloader() == []
    given = data(configs, [source], [folder("b", 3)])
    assert [batch.ids for batch in given.val_dataloader()] == [["e0", "e1", "e2"]]
    assert len(given.train_manifests[0].rows) == 20


def test_a_group_that_is_trained_on_is_not_validated_on(configs, folder) -> None:
    sources = [folder(name, 3, rows={1: {"group": "g"}}) for name in "ab"]
    with pytest.raises(UserError, match="the group 'g' is trained on"):
        data(configs, sources[:1], sources[1:])


class Seen(LightningModule):
    """Somebody's own module: keeps what it was handed."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)
        self.train_ids: list[list[str]] = []
        self.val_ids: list[str] = []

    def training_step(self, batch: Batch, index: int) -> torch.Tensor:
        self.train_ids.append(batch.ids)
        return self.layer(batch.inputs["touch"]["x"]).square().mean()

    def validation_step(self, batch: Batch, index: int) -> None:
        self.val_ids += batch.ids

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=1e-6)


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*", "ignore:.*log_every_n_steps.*", "ignore:.*LeafSpec.*:FutureWarning"
)
def test_it_feeds_a_trainer_of_ones_own(configs, folder, tmp_path) -> None:
    sources: list[Source] = [folder("a", 20), folder("b", 9)]
    module = Seen()
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=tmp_path,
    )
    bound = data(configs, sources, [folder("c", 10)])
    trainer.fit(module, datamodule=bound)
    alone = TrainBatches(bound.train_manifests, configs, [PAIR], 8, 12, 3)
    assert module.train_ids == [alone[step].ids for step in range(12)]
    assert module.val_ids == [f"e{i}" for i in range(10)]


def test_lightning_leaves_the_order_of_steps_in_place_on_several_ranks(configs, folder) -> None:
    from torch.utils.data.distributed import DistributedSampler

    loader = data(configs, [folder()]).train_dataloader()
    assert isinstance(loader.sampler, DistributedSampler)
    assert list(loader.sampler) == list(range(12))
    assert len(loader.sampler) == 12


def test_workers_hurry_less_far_ahead_with_large_batches(configs, folder) -> None:
    ahead = {}
    for batch in (8, 1024, 32_768):
        settings = DataSettings(batch=batch, workers=1)
        loader = BindData(configs, [folder(f"b{batch}", 20)], [], [PAIR], settings, steps=3).train_dataloader()
        ahead[batch] = loader.prefetch_factor
    assert ahead == {8: 4, 1024: 2, 32_768: 1}


def test_inputs_that_are_encoded_in_chunks_stay_where_they_are(configs, folder) -> None:
    bind = data(configs, [folder("a", 20)])
    batch = next(iter(bind.train_dataloader()))
    assert bind.transfer_batch_to_device(batch, torch.device("meta"), 0).inputs["touch"]["x"].is_meta
    bind.in_chunks = True
    moved = bind.transfer_batch_to_device(batch, torch.device("meta"), 0)
    assert not moved.inputs["touch"]["x"].is_meta
    assert moved.digests["touch"].is_meta
    assert not moved.rows["touch"].is_meta  # positions, which are looked up on the CPU
