"""Trunks for grids (B, C, H, W): a small CNN and timm's ViT. Import it inside `encoder()`."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace.contract import UserError

Grid = int | tuple[int, int]  # a square's side, or (height, width)


class ResidualBlock(nn.Module):
    """x + conv(gelu(conv(gelu(norm(x))))): no batch statistics, so a row does not depend on the other rows."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, channels)
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        return x_BCHW + self.second(F.gelu(self.first(F.gelu(self.norm(x_BCHW)))))


class ConvTrunk(nn.Module):
    """A patch stem, then stages of stride 2 with residual blocks; the map is pooled to `pool` and flattened.

    The features keep positions (flattening keeps them, global pooling would lose them).
    """

    def __init__(
        self,
        channels_in: int,
        widths: Sequence[int],
        stem: Grid,
        width: int,
        pool: tuple[int, int],
        depth: int,
    ) -> None:
        super().__init__()
        self.pool = pool
        self.stem = nn.Conv2d(channels_in, widths[0], stem, stride=stem)
        stages: list[nn.Module] = []
        for before, after in pairwise(widths):
            stages += [nn.GroupNorm(1, before), nn.Conv2d(before, after, 3, stride=2, padding=1)]
            stages += [ResidualBlock(after) for _ in range(depth)]
        self.stages = nn.Sequential(*stages)
        self.norm = nn.GroupNorm(1, widths[-1])
        # the head is the layer after this one: an extra layer in between learned more slowly
        self.last = nn.Sequential(nn.Linear(widths[-1] * pool[0] * pool[1], width), nn.GELU())

    @property
    def blocks(self) -> list[nn.Module]:
        """The residual blocks, from input to output (for `tune.unfreeze_last`)."""
        return [stage for stage in self.stages if isinstance(stage, ResidualBlock)]

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width)."""
        x_BCHW = F.gelu(self.norm(self.stages(self.stem(pixels))))
        return self.last(_mean_cells(x_BCHW, self.pool).flatten(1))


def _mean_cells(x_BCHW: Tensor, cells: tuple[int, int]) -> Tensor:
    """Adaptive average pooling; for cells of equal size, the plain kernel is faster and bitwise identical."""
    (height, more), (width, wider) = map(divmod, x_BCHW.shape[2:], cells)
    if more or wider:
        return F.adaptive_avg_pool2d(x_BCHW, cells)
    return F.avg_pool2d(x_BCHW, (height, width))


class VitTrunk(nn.Module):
    """timm's `VisionTransformer` with a class token and no classifier (Dosovitskiy et al. 2021, section 3.1)."""

    def __init__(self, channels_in: int, image_size: Grid, patch: Grid, width: int, depth: int, heads: int) -> None:
        from timm.models.vision_transformer import VisionTransformer

        super().__init__()
        self.vit = VisionTransformer(
            img_size=image_size,
            patch_size=patch,  # type: ignore[arg-type]  # timm takes a pair too
            in_chans=channels_in,
            num_classes=0,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
        )

    @property
    def blocks(self) -> list[nn.Module]:
        """The transformer blocks, from input to output (for `tune.unfreeze_last`)."""
        return list(self.vit.blocks)

    def tokens(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, 1 + patches, width): the class token first, then the patches row by row."""
        return self.vit.forward_features(pixels)

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width)."""
        return self.vit(pixels)

    @staticmethod
    def own_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The names of this module for a file of timm's, whose classifier (`head.*`) is left out."""
        if any(name.startswith("vit.") for name in state):
            return dict(state)
        return {f"vit.{name}": value for name, value in state.items() if not name.startswith("head.")}


def conv_trunk(
    channels_in: int,
    widths: Sequence[int] = (64, 128),
    stem: Grid = 4,
    width: int = 256,
    *,
    pool: tuple[int, int] = (4, 4),
    depth: int = 1,
) -> ConvTrunk:
    """A small CNN (B, channels_in, H, W) -> (B, width) for any H and W; for little data and few steps.

    `stem`: patch size of the first convolution. `widths`: channels by stage; each further stage halves the map and has
    `depth` residual blocks. The last map is pooled to `pool` cells and projected to `width`. Widths that are
    multiples of 32 suit matrix instructions (Tensor Cores, AMX).
    """
    return ConvTrunk(channels_in, widths, stem, width, pool, depth)


def vit_trunk(
    channels_in: int, image_size: Grid, patch: Grid = 16, width: int = 192, *, depth: int = 12, heads: int = 3
) -> VitTrunk:
    """A vision transformer (B, channels_in, *image_size) -> (B, width), with random weights; nothing is downloaded.

    Width 192, 3 heads, depth 12 is ViT-tiny; 768, 12, 12 with patch 16 at 224 is ViT-B/16. Raises `UserError` for sizes
    that do not divide.
    """
    for side, step in zip(grid_sides(image_size), grid_sides(patch)):
        if side % step:
            raise UserError(
                f"a ViT cuts its input into whole patches, got {side} for patch {step}:"
                f" choose a multiple, e.g. {multiple_above(side, step)}"
            )
    if width % heads:
        raise UserError(
            f"a ViT splits its width among its heads, got width {width} for heads {heads}:"
            f" choose a multiple, e.g. {multiple_above(width, heads)}"
        )
    return VitTrunk(channels_in, image_size, patch, width, depth, heads)


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Loads a local state dict (safetensors, or a torch file of tensors only), strictly. Raises `UserError`."""
    put_weights(module, read_state(Path(path)), path)


def put_weights(module: nn.Module, state: Mapping[str, Tensor], path: str | Path) -> None:
    """Loads a state dict read from `path`, strictly; `module.own_names` may translate its names first."""
    state = getattr(module, "own_names", dict)(state)
    own = module.state_dict()
    missing, extra = sorted(own.keys() - state.keys()), sorted(state.keys() - own.keys())
    if missing or extra:
        named = [f"{name} is missing" for name in missing[:2]] + [f"{name} has no place" for name in extra[:2]]
        raise UserError(
            f"{path} holds weights of another model ({', '.join(named)}): check `weights` and the settings of its trunk"
        )
    for name, value in own.items():
        if state[name].shape != value.shape:
            raise UserError(
                f"{path} holds {name} with shape {tuple(state[name].shape)}, this model needs {tuple(value.shape)}:"
                " set the sizes that those weights were made with"
            )
    module.load_state_dict(state)


def read_state(path: Path) -> dict[str, Tensor]:
    """A state dict from a local file; a torch file may hold tensors only, so that no code in it is executed."""
    if not path.is_file():
        raise UserError(f"expected `weights` to be a file of weights, there is none at {path}: check the path")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about unusual pickles, which are handled below
            state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, ValueError, EOFError, KeyError, OSError) as error:
        raise UserError(
            f"{path} is neither a safetensors file nor a torch file of tensors only: save a state dict there"
        ) from error
    for key in ("state_dict", "model"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict (names to tensors): save `module.state_dict()` there")
    return state


def grid_sides(value: Grid) -> tuple[int, int]:
    """(height, width) of a grid; an int is the side of a square."""
    return (value, value) if isinstance(value, int) else value


def multiple_above(value: int, step: int) -> int:
    """The smallest multiple of `step` that is at least `value`."""
    return -(-value // step) * step
