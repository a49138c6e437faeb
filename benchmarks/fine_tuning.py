"""Trained and stored parameters of each fine-tuning method: timm's vit_tiny_patch16_224 with a head to 128, one step.

usage: python benchmarks/fine_tuning.py     A markdown table: parameters that are trained, their share of the tower,
bytes of `last.ckpt` (with the state of AdamW), and how far the vectors of what is saved are from those of the trained.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import lightning as L
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from bindspace import BindModule
from bindspace.contract import registry
from bindspace.contract.modality import Lora, ModalityConfig, Tune
from bindspace.data import Batch
from bindspace.modules.picture_config import Trunk
from bindspace.settings.run import OptimSettings, Pair
from bindspace.space.merging import plain_state
from bindspace.space.space import Space
from bindspace.training.callbacks import SaveLast
from bindspace.training.freezing import adapt, always_frozen, tensor_hashes
from bindspace.training.logging import quiet

NETWORK, EVENTS = "vit_tiny_patch16_224", 4
WAYS = {
    "nothing set": Tune(),
    "`freeze=true`": Tune(freeze=True),
    "`freeze=true`, `unfreeze_last=2`": Tune(freeze=True, unfreeze_last=2),
    "`lora.rank=8`": Tune(lora=Lora(rank=8)),
    "`lora.rank=8`, `lora.targets=[qkv]`": Tune(lora=Lora(rank=8, targets=["qkv"])),
}


@dataclass(kw_only=True)
class Partner(ModalityConfig):
    """Four numbers, so that next to nothing beside the tower is counted."""

    modality: ClassVar[str] = "partner"
    expects: ClassVar[str] = "four numbers"
    width: int = 4

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """(B, 4) -> (B, 4)."""
        return nn.Linear(4, 4)


def main() -> None:
    """Prints the table."""
    quiet()
    torch.set_num_threads(1)
    print("| `modality.image.tune` | trained | share | `last.ckpt`, bytes | saved against trained vectors |")
    print("|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        torch.manual_seed(0)
        network = timm.create_model(NETWORK, num_classes=0)
        save_file(network.state_dict(), folder / "vit.safetensors")
        for way, tune in WAYS.items():
            print(f"| {way} | {' | '.join(measured(tune, folder))} |", flush=True)


def measured(tune: Tune, folder: Path) -> list[str]:
    """The cells of one way."""
    image = registry.load("image")(
        trunk=Trunk.timm, model=NETWORK, image_size=224, weights=str(folder / "vit.safetensors"), tune=tune
    )
    torch.manual_seed(0)
    space = Space({"image": image, "partner": Partner()}, 128, "image", pretrained=True)
    adapt(space, space.modalities)
    kept = tensor_hashes(always_frozen(space, [()]))
    module = BindModule(space, [Pair(["image", "partner"])], steps=1, rebuilt=kept, optim=OptimSettings(lr=1e-3))
    trainer = L.Trainer(
        max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=folder, callbacks=[SaveLast(folder / "last.ckpt", 1, 0)],
    )  # fmt: skip
    batch = random_batch()
    trainer.fit(module, torch.utils.data.DataLoader([batch], batch_size=None))
    tower = space.towers["image"]
    trained = sum(p.numel() for p in tower.parameters() if p.requires_grad)
    total = sum(p.numel() for p in tower.parameters())
    pixels = batch.inputs["image"]["pixels"]
    before = space.encode(image=pixels)["image"]
    saved = Space(space.configs, space.dim, space.pivot)
    saved.load_state_dict({name: value for name, value in plain_state(space).items() if name in saved.state_dict()})
    after = saved.encode(image=pixels)["image"]
    size = (folder / "last.ckpt").stat().st_size
    return [f"{trained:,}", f"{trained / total:.1%}", f"{size:,}", f"{float((after - before).abs().max()):.0e}"]


def random_batch() -> Batch:
    """Events that hold both sides."""
    rows = dict.fromkeys(("image", "partner"), torch.arange(EVENTS))
    digests = {name: torch.randint(0, 256, (EVENTS, 32), dtype=torch.uint8) for name in rows}
    inputs = {"image": {"pixels": torch.randn(EVENTS, 3, 224, 224)}, "partner": {"input": torch.randn(EVENTS, 4)}}
    return Batch("random", [str(event) for event in range(EVENTS)], rows, digests, inputs)


if __name__ == "__main__":
    main()
