"""Shared code of the six implementations. Standard library only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import Head, ModalityConfig
from bindspace.contract import registry

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from torch import nn

    from bindspace_imagebind.towers import Shape, Trunk


@dataclass(kw_only=True)
class ImagebindConfig(ModalityConfig):
    """A tower with the arithmetic of the official one, including its projection into the space.

    Defaults are the sizes of `imagebind_huge`. `weights`: an official checkpoint, of which this modality is read.
    """

    small: ClassVar[Mapping[str, Any]] = {"width": 64, "channels": 32, "layers": 2, "heads": 4}  # for tests
    slow: ClassVar[str] = "transformers meant for pretrained weights: from random weights they need far more steps"
    scale: ClassVar[float | None] = None  # initial factor of the official code on unit vectors
    dropout: ClassVar[float] = 0.0  # before the projection
    extra: ClassVar[bool] = True  # each block has a learned key and value more

    width: int = 1024  # of the space
    head: Head = Head.identity
    channels: int = 768  # of the transformer
    layers: int = 12
    heads: int = 12
    drop_path: float = 0.0  # training: probability that the last block is left out for a row; rises linearly to it
    reference: bool = False  # reproduce known quirks of the official code, see README.md

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """Random weights, initialised like the official model, or those of the checkpoint `weights`."""
        import torch

        if not pretrained or self.weights is None:
            tower = self.tower(self.shape())
            tower.draw()
            return tower
        from bindspace_imagebind.keys import open_checkpoint

        with torch.device("meta"):
            tower = self.tower(self.shape())
        with open_checkpoint(self.weights) as checkpoint:
            checkpoint.fill(tower, self.modality)
        return tower

    def shape(self) -> Shape:
        """The settings and constants that the tower is built from."""
        from bindspace_imagebind.towers import Shape

        return Shape(
            channels=self.channels,
            layers=self.layers,
            heads=self.heads,
            width=self.width,
            extra=self.extra,
            drop_path=self.drop_path,
            dropout=self.dropout,
            scale=self.scale,
            reference=self.reference,
        )

    def tower(self, shape: Shape) -> Trunk:
        """The modality's tower of that shape, with uninitialised memory for its weights."""
        raise NotImplementedError

    def plain(self, **settings: Any) -> ModalityConfig:
        """bindspace's own implementation of the modality: its reading, examples and pictures are used here too."""
        return registry.load(self.modality)(**settings)

    def example(self, rng: np.random.Generator, concept: int) -> tuple[Any, dict[str, Any]]:
        """A generated signal, as bindspace's own implementation of the modality makes them."""
        return self.plain().example(rng, concept)

    def show(self, sample: Any) -> Image:
        """As bindspace's own implementation of the modality shows it."""
        return self.plain().show(sample)
