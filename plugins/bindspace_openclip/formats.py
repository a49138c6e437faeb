"""open_clip's weights as a space, and back. Standard library only until a file is read or written."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bindspace import FormatConfig, Head, UserError
from bindspace_openclip import OpenClipConfig, OpenClipImageConfig, OpenClipTextConfig
from bindspace_openclip.hub import asks_to_fetch
from bindspace_openclip.models import is_local, model_config, weights_file, whose

if TYPE_CHECKING:
    from torch import Tensor

    from bindspace import Space

HALVES: dict[str, type[OpenClipConfig]] = {"image": OpenClipImageConfig, "text": OpenClipTextConfig}
PREFIX = "encoder.tower."  # of a tower's names, before open_clip's own


@dataclass(kw_only=True)
class OpenClipFormat(FormatConfig):
    """A state dict of open_clip (safetensors or a torch file), or a folder that holds one and open_clip_config.json."""

    modalities: ClassVar[Sequence[str]] = tuple(HALVES)
    suffixes: ClassVar[Sequence[str]] = (".safetensors",)

    model: str = "ViT-B-32"  # as open_clip names it
    tag: str | None = None  # import: the pretrained tag that the file is of, if its pictures are not prepared as CLIP's

    def load(self, path: Path, modalities: Sequence[str] | None) -> Space:
        """The requested halves, with the model's logit scale as the temperature of their pair."""
        from bindspace import Ledger, Space
        from bindspace.modules.trunks import put_weights, read_state

        names = [name for name in HALVES if modalities is None or name in modalities]
        configs = {name: self._config(name, path) for name in names}
        width = next(iter(configs.values())).width
        file = weights_file(self.model, str(path))
        state = read_state(file)
        space = Space(configs, width, "image" if "image" in names else names[0])
        for name in names:
            put_weights(space.towers[name].encoder, state, file)  # type: ignore[arg-type]
        if len(names) == len(HALVES):
            _take_scale(space, state, file)
        space.ledger = Ledger.declared(names, whose(self.model, str(path)), {("image", "text"): self.tag or ""})
        return space.eval()

    def save(self, space: Space, path: Path) -> Path:
        """A file that `open_clip.create_model(model, pretrained=path)` loads strictly."""
        from safetensors.torch import save_file

        self._check(space)
        found = model_config(self.model)
        custom = found.get("custom_text", False) or "hf_model_name" in found["text_cfg"]
        before = {"image": "visual.", "text": "text." if custom else ""}
        state: dict[str, Tensor] = {}
        for name in HALVES:
            for key, value in space.towers[name].state_dict().items():
                state[before[name] + key.removeprefix(PREFIX)] = value.detach().cpu().contiguous().clone()
        state["logit_scale"] = _scale(space).reshape([1] if found.get("nonscalar_logit_scale") else [])
        if "init_logit_bias" in found:
            warnings.warn("a space has no logit bias, so open_clip will use 0: rankings are unchanged", stacklevel=2)
        save_file(state, path)
        return path

    def _config(self, name: str, path: Path) -> OpenClipConfig:
        """One half's settings as they are kept in the space: prepared as tag or folder say, and no weights to load."""
        if self.tag is not None and (is_local(self.tag) or asks_to_fetch(self.tag)):
            raise UserError(f"tag={self.tag}: expected the name of a pretrained tag; the file is weights=FILE")
        HALVES[name](model=self.model, weights=str(path))  # checks the folder
        config = HALVES[name](model=self.model, weights=self.tag or str(path))
        return replace(config, weights=None)

    def _check(self, space: Space) -> None:
        """Raises `UserError` unless the space has both halves of this model."""
        for name, kind in HALVES.items():
            config: Any = space.configs.get(name)
            if config is None:
                raise UserError(f"expected a space with image and text, got one without {name}")
            if not isinstance(config, kind):
                raise UserError(f"the {name} tower of the space is not an open_clip model: choose another format")
            if config.model != self.model:
                raise UserError(f"the {name} tower of the space is {config.model}: write model={config.model}")
            if config.head is not Head.identity:
                raise UserError(f"the {name} tower has a head {config.head.name}, which open_clip does not support")


def _take_scale(space: Space, state: dict[str, Tensor], file: Path) -> None:
    """Gives the pair of the two halves the temperature 1 / exp(logit_scale), learned on as CLIP's."""
    import torch

    key = "logit_scale" if "logit_scale" in state else "module.logit_scale"
    if key not in state or state[key].numel() != 1:
        raise UserError(f"{file} holds no logit_scale of one number: expected the weights of an open_clip model")
    space.add_temperature("image", "text", 1.0, learned=True, minimum=0.01)  # CLIP's limit, a scale of 100
    with torch.no_grad():
        for parameter in space.temperatures.parameters():
            parameter.copy_(state[key].reshape(()))


def _scale(space: Space) -> Tensor:
    """The logarithm of the logit scale of the image-text pair; CLIP's first value where that pair has none."""
    import torch

    from bindspace.settings.pairs import pair_name

    name = pair_name("image", "text", space.pivot)
    if name not in space.temperatures:
        warnings.warn("the space has no temperature for image-text: open_clip gets CLIP's initial one", stacklevel=2)
        return -torch.tensor(0.07).log()
    return space.temperatures[name].log_scale.detach().cpu().clone()  # type: ignore[union-attr]
