"""The image and text towers of ImageBind are open_clip's ViT-H-14: its state dict under the official names.

Two things differ. A still picture is two equal frames here, so each frame's kernel is half of open_clip's. And
open_clip adds 1e-5 in its LayerNorms where ImageBind adds 1e-6: vectors agree closely, and not to the last digit.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

Change = Callable[[Tensor], Tensor]
MARK = "visual.conv1.weight"  # what every such file has, and no official one


def _same(value: Tensor) -> Tensor:
    return value


def _transposed(value: Tensor) -> Tensor:
    return value.T.contiguous()


def _two_frames(value: Tensor) -> Tensor:
    """(D, 3, h, w) -> (D, 3, 2, h, w): half of it for each of two frames."""
    return (value / 2).unsqueeze(2).repeat(1, 1, 2, 1, 1)


def _row(value: Tensor) -> Tensor:
    return value.unsqueeze(0)


# open_clip's name as a pattern, the official name, what is done to the values
TABLE: list[tuple[str, str, Change]] = [
    (r"visual\.conv1\.weight", "modality_preprocessors.vision.rgbt_stem.proj.1.weight", _two_frames),
    (r"visual\.class_embedding", "modality_preprocessors.vision.cls_token", lambda value: value.view(1, 1, -1)),
    (r"visual\.positional_embedding", "modality_preprocessors.vision.pos_embedding_helper.pos_embed", _row),
    (r"visual\.ln_pre\.(\w+)", r"modality_trunks.vision.pre_transformer_layer.0.\1", _same),
    (r"visual\.ln_post\.(\w+)", r"modality_heads.vision.0.\1", _same),
    (r"visual\.proj", "modality_heads.vision.2.weight", _transposed),
    (r"token_embedding\.weight", "modality_preprocessors.text.token_embedding.weight", _same),
    (r"positional_embedding", "modality_preprocessors.text.pos_embed", _row),
    (r"ln_final\.(\w+)", r"modality_heads.text.proj.0.\1", _same),
    (r"text_projection", "modality_heads.text.proj.1.weight", _transposed),
    (r"logit_scale", "modality_postprocessors.text.1.log_logit_scale", lambda value: value.view(())),
]
for before, tower in ((r"visual\.", "vision"), ("", "text")):
    block = rf"modality_trunks.{tower}.blocks.\1"
    start = rf"{before}transformer\.resblocks\.(\d+)"
    TABLE += [
        (rf"{start}\.ln_([12])\.(\w+)", rf"{block}.norm_\2.\3", _same),
        (rf"{start}\.attn\.(in_proj_\w+|out_proj\.\w+)", rf"{block}.attn.\2", _same),
        (rf"{start}\.mlp\.c_fc\.(\w+)", rf"{block}.mlp.fc1.\2", _same),
        (rf"{start}\.mlp\.c_proj\.(\w+)", rf"{block}.mlp.fc2.\2", _same),
    ]


def is_openclip(names: Iterable[str]) -> bool:
    """Whether a file with these names is open_clip's."""
    return MARK in set(names)


def as_official(
    shapes: Mapping[str, tuple[int, ...]], value: Callable[[str], Tensor]
) -> tuple[dict[str, tuple[int, ...]], Callable[[str], Tensor]]:
    """Shapes and values of an open_clip file by official names; a name that has none stays, to be refused."""
    places = {}
    for name in shapes:
        official, change = _official(name)
        places[official] = (name, change)
    told = {
        official: tuple(change(torch.empty(shapes[name], device="meta")).shape)
        for official, (name, change) in places.items()
    }

    def changed(official: str) -> Tensor:
        name, change = places[official]
        return change(value(name))

    return told, changed


def _official(name: str) -> tuple[str, Change]:
    for pattern, official, change in TABLE:
        if found := re.fullmatch(pattern, name.removeprefix("text.")):
            return found.expand(official), change
    return name, _same
