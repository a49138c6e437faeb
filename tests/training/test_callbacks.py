"""When callbacks act."""

import lightning as L
import torch
from plain import ByHand, Left, plain_batch, plain_space, quiet_trainer

from bindspace import Pair
from bindspace.training import BindModule
from bindspace.training.callbacks import SaveLast

ALL = {name: list(range(6)) for name in ("middle", "left", "right")}


class CountBatches(L.Callback):
    """Writes into each checkpoint how many batches had been seen."""

    def __init__(self):
        self.seen, self.saved = 0, []

    def on_train_batch_start(self, *_):
        self.seen += 1

    def on_save_checkpoint(self, trainer, module, checkpoint):
        self.saved.append((trainer.global_step, self.seen))


def test_with_accumulation_a_checkpoint_is_written_once_a_step_and_after_its_last_batch(tmp_path):
    count = CountBatches()
    callbacks = [count, SaveLast(tmp_path / "last.ckpt", every=1, stage=0)]
    module = BindModule(plain_space(), [Pair(["middle", "left"])], steps=3)
    batches = [plain_batch(ALL, 6, seed) for seed in range(6)]
    trainer = quiet_trainer(3, tmp_path, accumulate_grad_batches=2, callbacks=callbacks)
    trainer.fit(module, datamodule=ByHand([batches]))
    assert count.saved == [(1, 2), (2, 4), (3, 6)]
    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["global_step"] == 3


def test_a_tower_that_began_from_a_file_is_not_recorded_as_random():
    module = BindModule(plain_space(left=Left(weights="somewhere.safetensors")), [Pair(["middle", "left"])], steps=1)
    ledger = module.space.ledger
    assert (ledger.towers["left"].origin, ledger.towers["middle"].origin) == ("weights", "random")
