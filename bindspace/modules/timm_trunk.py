"""Any network of timm, by name, as a trunk (B, C, H, W) -> (B, width). Import it inside `encoder()`.

Nothing is downloaded: weights are a local file, and a name that refers to a hub or a folder is refused, since it may
come from an untrusted space.
"""

from __future__ import annotations

import re
import sys
import warnings
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor, nn

from bindspace.contract import UserError, unknown
from bindspace.modules.trunks import Grid, grid_sides, multiple_above, read_state

NAME = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)?")  # of an architecture, or architecture.tag
# where families keep what they repeat; the first of a network's own attributes that holds all of them is taken
BLOCKS = (("blocks",), ("stages",), ("layers",), ("layer1", "layer2", "layer3", "layer4"), ("s1", "s2", "s3", "s4"))


class TimmTrunk(nn.Module):
    """A network of timm without its classifier; `width`: of its features, set by the network.

    `mean`, `std`: the normalisation of `pixels`, one number per channel, which is converted to the one that the network
    was trained with. None: the channels are measurements, and are not converted.
    """

    def __init__(
        self,
        name: str | None,
        channels_in: int,
        image_size: Grid,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        name = _checked(name)
        self.name, self.channels_in, self.sides = name, channels_in, grid_sides(image_size)
        fixed: dict[str, Any] = {"img_size": self.sides} if known(name).fixed_input_size else {}
        try:
            self.model = timm.create_model(name, pretrained=False, num_classes=0, in_chans=channels_in, **fixed)
        except (TypeError, ValueError, AssertionError, RuntimeError) as error:
            raise UserError(f"cannot build timm's {name} for {self._input()}: {_one_line(error)}") from error
        self._check_patches()
        self.width: int = getattr(self.model, "head_hidden_size", None) or self.model.num_features  # type: ignore[assignment]
        if mean is not None and std is not None:
            config: Any = self.model.pretrained_cfg
            theirs = [torch.tensor(config[key], dtype=torch.float32)[:, None, None] for key in ("mean", "std")]
            ours = [torch.tensor(values)[:, None, None] for values in (mean, std)]
            self.register_buffer("factor", ours[1] / theirs[1])  # saved with a space: timm's values may change
            self.register_buffer("offset", (ours[0] - theirs[0]) / theirs[1])
        else:
            self.factor = None

    @property
    def blocks(self) -> list[nn.Module]:
        """The repeated parts of the network, from input to output: transformer blocks or CNN stages (for `tune`)."""
        for names in BLOCKS:
            if all(hasattr(self.model, name) for name in names):
                parts = [getattr(self.model, name) for name in names]
                return list(parts[0]) if len(parts) == 1 else parts
        return []

    def forward(self, pixels: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, width)."""
        return self.model(pixels if self.factor is None else pixels * self.factor + self.offset)

    def start(self, weights: str | None) -> None:
        """Loads a local file if there is one, and runs the network once. Raises `UserError`."""
        if weights is not None:
            self._load(Path(weights))
        was_training = self.training
        try:
            with torch.no_grad():
                shape = tuple(self.eval()(torch.zeros(1, self.channels_in, *self.sides)).shape)
        except Exception as error:  # any error, at an unsupported input size
            raise UserError(f"timm's {self.name} does not support {self._input()}: {_one_line(error)}") from error
        finally:
            self.train(was_training)
        if shape != (1, self.width):
            raise UserError(
                f"timm's {self.name} gives features of shape {shape}, expected (1, {self.width}): choose a network "
                "that ends in one vector"
            )

    def _load(self, path: Path) -> None:
        """The file's tensors after timm's own conversions: old names, position tables of another size, channels."""
        from timm.models import load_pretrained, model_entrypoint

        state = _own_names(read_state(path))
        config: Any = self.model.pretrained_cfg
        heads = config.get("classifier") or ()
        heads = (heads,) if isinstance(heads, str) else tuple(heads)
        left_out = sorted(name for name in state if name.rpartition(".")[0] in heads)
        state = {name: value for name, value in state.items() if name not in left_out}
        if not state:  # timm would download its own
            raise UserError(f"{path} holds no weights beside a classifier: give the file of a whole timm {self.name}")
        family = sys.modules[model_entrypoint(self.name.partition(".")[0]).__module__]
        rename = getattr(family, "checkpoint_filter_fn", None) or getattr(family, "_checkpoint_filter_fn", None)

        def strict(_: nn.Module, found: Any) -> None:
            _check_names(path, self.name, found.missing_keys, found.unexpected_keys)

        hook = self.model.register_load_state_dict_post_hook(strict)
        try:
            load_pretrained(self.model, config | {"state_dict": state}, 0, self.channels_in, rename, strict=False)
        except UserError:
            raise
        except Exception as error:  # timm's filters may fail in any way at tensors of another network
            reason = f"{type(error).__name__}: {_one_line(error)}"
            raise UserError(f"{path} does not fit timm's {self.name} ({reason}): check `model`") from error
        finally:
            hook.remove()
        if left_out:
            warnings.warn(
                f"{path}: left out its classifier ({', '.join(left_out)}), which the head of the space replaces",
                stacklevel=2,
            )

    def _check_patches(self) -> None:
        patch = getattr(getattr(self.model, "patch_embed", None), "patch_size", None)
        for side, step in zip(self.sides, grid_sides(patch)) if isinstance(patch, int | tuple) else ():
            if side % step:
                raise UserError(
                    f"timm's {self.name} cuts its input into whole patches, got {side} for patch {step}:"
                    f" choose a multiple, e.g. {multiple_above(side, step)}"
                )

    def _input(self) -> str:
        return f"{self.channels_in} channels of {self.sides[0]} x {self.sides[1]}"


def known(name: str) -> Any:
    """timm's config of a name: `mean`, `std`, `fixed_input_size` ... Raises `UserError` with the closest names."""
    architecture, _, tag = name.partition(".")
    if not timm.is_model(architecture):
        close = get_close_matches(architecture, timm.list_models(), n=5, cutoff=0.5)
        guess = f"the closest are {', '.join(close)}" if close else "no name is close to it"
        raise UserError(
            f"unknown timm model {name!r}: {guess}; `python -c 'import timm; print(timm.list_models())'` lists them"
        )
    tags = [other for other in timm.models.get_arch_pretrained_cfgs(architecture) if other]
    if tag and tag not in [other.rpartition(".")[2] for other in tags]:
        raise UserError(unknown(f"tag of timm's {architecture}", tag, [other.rpartition(".")[2] for other in tags]))
    return timm.get_pretrained_cfg(name) or timm.models.PretrainedCfg()


def _checked(name: str | None) -> str:
    if name is None:
        raise UserError("trunk=timm needs the name of a network: add model=NAME, e.g. model=resnet18")
    if not NAME.fullmatch(name):
        raise UserError(
            f"model: expected a plain name of timm's, e.g. resnet18 or resnet18.a1_in1k, got {name[:80]!r}: hubs and"
            " folders are never followed, so give the weights as a local file, weights=FILE"
        )
    return name


def _own_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The network's names for a file saved from this trunk, or from DDP."""
    if all(name.startswith("module.") for name in state):
        state = {name.removeprefix("module."): value for name, value in state.items()}
    own = {name: value for name, value in state.items() if name not in ("factor", "offset")}
    if all(name.startswith("model.") for name in own):
        return {name.removeprefix("model."): value for name, value in own.items()}
    return state


def _check_names(path: Path, name: str, missing: Sequence[str], unexpected: Sequence[str]) -> None:
    if missing or unexpected:
        named = [f"{key} is missing" for key in missing[:2]] + [f"{key} has no place" for key in unexpected[:2]]
        counts = f"{len(missing)} missing and {len(unexpected)} without a place in all"
        raise UserError(
            f"{path} holds weights of another model than timm's {name} ({', '.join(named)}; {counts}): check `model`"
        )


def _one_line(error: Exception) -> str:
    return (" ".join(str(error).split()) or type(error).__name__)[:240]
