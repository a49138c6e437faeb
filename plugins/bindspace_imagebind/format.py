"""The format `imagebind`: the official checkpoint, or one with some of its modalities, as a space and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import FormatConfig, UserError
from bindspace_imagebind.audio import AudioImagebindConfig
from bindspace_imagebind.base import ImagebindConfig
from bindspace_imagebind.image import ImageImagebindConfig
from bindspace_imagebind.imu import ImuImagebindConfig
from bindspace_imagebind.maps import DepthImagebindConfig, ThermalImagebindConfig
from bindspace_imagebind.text import TextImagebindConfig

if TYPE_CHECKING:
    from torch import Tensor

    from bindspace import Space

PIVOT = "image"
CONFIGS: dict[str, type[ImagebindConfig]] = {
    kind.modality: kind
    for kind in (
        ImageImagebindConfig,
        TextImagebindConfig,
        AudioImagebindConfig,
        DepthImagebindConfig,
        ThermalImagebindConfig,
        ImuImagebindConfig,
    )
}
BY = "Girdhar et al. 2023"
TRAINED_ON = {
    ("image", "text"): "what open_clip's ViT-H-14 was trained on (LAION-2B)",
    ("image", "audio"): "AudioSet",
    ("image", "depth"): "SUN RGB-D",
    ("image", "thermal"): "LLVIP",
    ("image", "imu"): "Ego4D",
}
MAX_SCALE = 100.0


@dataclass(kw_only=True)
class ImagebindFormat(FormatConfig):
    """The state dict of the official ImageBind code, whole or in part, or of open_clip's ViT-H-14."""

    modalities: ClassVar[Sequence[str]] = tuple(CONFIGS)
    suffixes: ClassVar[Sequence[str]] = (".pth", ".pt")

    def load(self, path: Path, modalities: Sequence[str] | None) -> Space:
        """The towers of a checkpoint of `imagebind_huge`. The file is mapped: only what is requested is read."""
        return load_space(path, modalities, {name: kind() for name, kind in CONFIGS.items()})

    def save(self, space: Space, path: Path) -> Path:
        """A plain dict of the official names, shapes and types, by `torch.save`."""
        import torch

        torch.save(official(space), path)
        return path


def load_space(path: Path, modalities: Sequence[str] | None, configs: Mapping[str, ImagebindConfig]) -> Space:
    """The space of a checkpoint with towers of these sizes. `modalities`: only these; None: all that the file holds."""
    from dataclasses import replace

    from bindspace import Ledger, Space
    from bindspace_imagebind.keys import open_checkpoint

    with open_checkpoint(path) as checkpoint:
        there, openclip = checkpoint.modalities, checkpoint.openclip
    for name in modalities or ():
        if name not in there:
            raise UserError(f"{path} has no tensors of {name} (available: {', '.join(there)}): choose among those")
    chosen = {
        name: replace(config, weights=str(path))
        for name, config in configs.items()
        if name in (there if modalities is None else modalities)
    }
    space = Space(chosen, next(iter(chosen.values())).width, PIVOT, pretrained=True)
    for name, config in space.configs.items():
        config.weights = None
        if name != PIVOT and PIVOT in chosen:
            _take_scale(space, name)
    if openclip:
        space.ledger = Ledger.declared(chosen, f"open_clip ({path.name})", {("image", "text"): ""})
    else:
        said = {pair: on for pair, on in TRAINED_ON.items() if set(pair) & set(chosen)}
        space.ledger = Ledger.declared(chosen, BY, said)
    return space.eval()


def _take_scale(space: Space, name: str) -> None:
    """Gives the pair with the image exactly the scale of the tower. That of text is learned, the others fixed."""
    space.add_temperature(PIVOT, name, 1.0, learned=name == "text", minimum=1 / MAX_SCALE)
    temperature, tower = _temperature(space, name), _tower(space, name)
    temperature.log_scale.data.copy_(tower.log_scale)


def _tower(space: Space, name: str) -> Any:
    return space.towers[name].encoder


def _temperature(space: Space, name: str) -> Any:
    """The temperature of a modality's pair with the image, if it has one."""
    from bindspace.settings.pairs import pair_name

    return dict(space.temperatures.items()).get(pair_name(PIVOT, name, space.pivot))


def official(space: Space) -> dict[str, Tensor]:
    """The official state dict of a space of these towers. Raises `UserError` for one of another architecture.

    Where a pair with the image has a temperature, it is the scale; otherwise that of the tower is kept.
    """
    from bindspace_imagebind.keys import official_names, official_state

    for name, config in space.configs.items():
        if not isinstance(config, ImagebindConfig) or config.head.value != "identity":
            raise UserError(
                f"{name} is not an ImageBind tower (it is {type(config).__name__} with head={config.head.value}):"
                " the format holds the architecture of ImageBind only; choose others with modality="
            )
    towers = {name: _tower(space, name) for name in space.modalities}
    state = official_state(towers)
    for name, tower in towers.items():
        if (temperature := _temperature(space, name)) is not None:
            key = official_names(name, len(tower.blocks))["log_scale"]
            state[key] = temperature.log_scale.detach().cpu().float()
    return state
