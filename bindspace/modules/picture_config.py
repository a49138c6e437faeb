"""Shared settings of picture-like modalities: a trunk for a square grid. Standard library only."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, ClassVar

from bindspace.contract import ModalityConfig, UserError

if TYPE_CHECKING:
    from torch import nn


class Trunk(Enum):
    """`conv`: a small CNN, for little data and few steps. `vit`: a vision transformer. `timm`: timm's model `model`."""

    conv = "conv"
    vit = "vit"
    timm = "timm"


def check_model(modality: str, trunk: Trunk, model: str | None) -> None:
    """Raises `UserError` for a `model` that would have no effect."""
    if model is not None and trunk is not Trunk.timm:
        raise UserError(
            f"modality.{modality}.model={model} has no effect with trunk={trunk.name}:"
            f" add modality.{modality}.trunk=timm"
        )


@dataclass(kw_only=True)
class PictureConfig(ModalityConfig):
    """Settings of a modality whose batch is `pixels` (B, channels, image_size, image_size), and its encoder."""

    channels: ClassVar[int]  # of `pixels`
    stem: ClassVar[int] = 4  # of trunk=conv: patch size of its first layer
    widths: ClassVar[tuple[int, ...]] = (64, 128)  # of trunk=conv: channels by stage
    mean: ClassVar[tuple[float, ...] | None] = None  # normalisation of colours; None: measurements, not normalised
    std: ClassVar[tuple[float, ...] | None] = None

    trunk: Trunk = Trunk.conv
    image_size: int = 64  # side of the square that the encoder sees
    model: str | None = None  # for trunk=timm: a model name of timm, e.g. resnet18, which also sets `width`
    patch: int = 8  # this and the following: for trunk=vit only
    layers: int = 12
    heads: int = 4

    def encoder(self, *, pretrained: bool) -> nn.Module:
        """The trunk: `pixels` -> (B, width). `pretrained` loads the file `weights`, strictly."""
        from bindspace.modules.trunks import conv_trunk, load_weights, vit_trunk

        check_model(self.modality, self.trunk, self.model)
        if self.trunk is Trunk.timm:
            return self._timm(pretrained)
        trunk: nn.Module
        if self.trunk is Trunk.conv:
            trunk = conv_trunk(self.channels, self.widths, self.stem, self.width)
        else:
            trunk = vit_trunk(
                self.channels, self.image_size, self.patch, self.width, depth=self.layers, heads=self.heads
            )
        if pretrained and self.weights is not None:
            load_weights(trunk, self.weights)
        return trunk

    def _timm(self, pretrained: bool) -> nn.Module:
        """timm's network; the space records its width."""
        from bindspace.modules.timm_trunk import TimmTrunk

        trunk = TimmTrunk(self.model, self.channels, self.image_size, self.mean, self.std)
        self.width = trunk.width
        if pretrained:
            trunk.start(self.weights)
        return trunk
