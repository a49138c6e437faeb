"""Names of the official state dict and ours, both ways, and lazy reading of such a file.

The table holds names only; shapes are those of the towers, and nothing is transposed.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from bindspace import UserError
from bindspace_imagebind.openclip import as_official, is_openclip

OFFICIAL = {name: name for name in ("image", "text", "audio", "depth", "thermal", "imu")} | {"image": "vision"}
MASK = "modality_preprocessors.text.mask"  # a constant: written for the official loader, never read
PARTS = ("preprocessors", "trunks", "heads", "postprocessors")

# (our name, the official one, modalities). {m}: the official modality; {i}: block; {p}: weight, then bias.
_MAPS = ("audio", "depth", "thermal")
_ROWS = (*_MAPS, "imu")
TABLE = [
    ("class_token", "modality_preprocessors.{m}.cls_token", ("image", *_ROWS)),
    ("positions", "modality_preprocessors.{m}.pos_embedding_helper.pos_embed", ("image", *_MAPS)),
    ("positions", "modality_preprocessors.{m}.pos_embed", ("text", "imu")),
    ("embedding", "modality_preprocessors.{m}.token_embedding.weight", ("text",)),
    ("stem.weight", "modality_preprocessors.{m}.rgbt_stem.proj.1.weight", ("image",)),
    ("stem.weight", "modality_preprocessors.{m}.rgbt_stem.proj.weight", ("audio", "thermal")),
    ("stem.weight", "modality_preprocessors.{m}.{m}_stem.proj.weight", ("depth", "imu")),
    ("stem_norm.{p}", "modality_preprocessors.{m}.rgbt_stem.norm_layer.{p}", ("audio", "thermal")),
    ("stem_norm.{p}", "modality_preprocessors.{m}.{m}_stem.norm_layer.{p}", ("depth", "imu")),
    ("norm_in.{p}", "modality_trunks.{m}.pre_transformer_layer.0.{p}", ("image",)),
    ("blocks.{i}.norm1.{p}", "modality_trunks.{m}.blocks.{i}.norm_1.{p}", OFFICIAL),
    ("blocks.{i}.attention.qkv.{p}", "modality_trunks.{m}.blocks.{i}.attn.in_proj_{p}", OFFICIAL),
    ("blocks.{i}.attention.out.{p}", "modality_trunks.{m}.blocks.{i}.attn.out_proj.{p}", OFFICIAL),
    ("blocks.{i}.attention.extra_key", "modality_trunks.{m}.blocks.{i}.attn.bias_k", _ROWS),
    ("blocks.{i}.attention.extra_value", "modality_trunks.{m}.blocks.{i}.attn.bias_v", _ROWS),
    ("blocks.{i}.norm2.{p}", "modality_trunks.{m}.blocks.{i}.norm_2.{p}", OFFICIAL),
    ("blocks.{i}.fc1.{p}", "modality_trunks.{m}.blocks.{i}.mlp.fc1.{p}", OFFICIAL),
    ("blocks.{i}.fc2.{p}", "modality_trunks.{m}.blocks.{i}.mlp.fc2.{p}", OFFICIAL),
    ("norm_out.{p}", "modality_heads.{m}.0.{p}", ("image", *_ROWS)),
    ("norm_out.{p}", "modality_heads.{m}.proj.0.{p}", ("text",)),
    ("project.weight", "modality_heads.{m}.2.weight", ("image", *_MAPS)),
    ("project.weight", "modality_heads.{m}.3.weight", ("imu",)),
    ("project.weight", "modality_heads.{m}.proj.1.weight", ("text",)),
    ("log_scale", "modality_postprocessors.{m}.1.log_logit_scale", ("text", *_ROWS)),
]


def official_names(modality: str, layers: int) -> dict[str, str]:
    """Our names of a tower's tensors -> the official ones, in the order of the table."""
    names = {}
    for ours, theirs, modalities in TABLE:
        if modality in modalities:
            for i in range(layers if "{i}" in ours else 1):
                for p in ("weight", "bias") if "{p}" in ours else ("",):
                    names[ours.format(i=i, p=p)] = theirs.format(m=OFFICIAL[modality], i=i, p=p)
    return names


def modality_of(name: str) -> str | None:
    """Our name of the modality that an official name belongs to."""
    found = re.match(rf"modality_(?:{'|'.join(PARTS)})\.(\w+)\.", name)
    return next((ours for ours, theirs in OFFICIAL.items() if found and found[1] == theirs), None)


class Checkpoint:
    """The tensors of an open file by name: shapes at once, values on demand.

    `openclip`: it is a ViT-H-14 of open_clip, which is read as if it had the official names.
    """

    def __init__(self, path: Path, shapes: Mapping[str, tuple[int, ...]], value: Callable[[str], Tensor]) -> None:
        self.openclip = is_openclip(shapes)
        if self.openclip:
            shapes, value = as_official(shapes, value)
        self.path, self.shapes, self._value = path, dict(shapes), value

    @property
    def modalities(self) -> list[str]:
        """The modalities that it has tensors of. Raises `UserError` for a file of another model."""
        found = {modality_of(name) for name in self.shapes}
        strange = [name for name in self.shapes if modality_of(name) is None]
        if strange or not found:
            example = f" (it has {strange[0]!r})" if strange else ""
            raise UserError(
                f"{self.path} is not an ImageBind checkpoint{example}: expected names like"
                f" {official_names('depth', 1)['class_token']!r}"
            )
        return [name for name in OFFICIAL if name in found]

    def fill(self, tower: nn.Module, modality: str) -> None:
        """Gives a tower on the meta device its weights, as float32, read from the file into memory of their own."""
        names = official_names(modality, len(tower.blocks))  # type: ignore[arg-type]
        shapes = {name: tuple(tensor.shape) for name, tensor in tower.state_dict().items()}
        assert names.keys() == shapes.keys(), names.keys() ^ shapes.keys()
        self.check({names[name]: shape for name, shape in shapes.items()}, modality)
        state = {ours: self._value(theirs).to(torch.float32, copy=True) for ours, theirs in names.items()}
        tower.load_state_dict(state, assign=True)

    def check(self, expected: Mapping[str, tuple[int, ...]], modality: str) -> None:
        """Raises `UserError` unless the file has exactly these names and shapes for that modality."""
        own = {name for name in self.shapes if modality_of(name) == modality and name != MASK}
        missing, extra = sorted(expected.keys() - own), sorted(own - expected.keys())
        if not own:
            raise UserError(f"{self.path} has no tensors of {modality} (available: {', '.join(self.modalities)})")
        if missing or extra:
            said = [
                f"{names[0]} is {what}{_more(names)}"
                for names, what in ((missing, "missing"), (extra, "unexpected"))
                if names
            ]
            raise UserError(f"{self.path} is not a complete ImageBind checkpoint of {modality}: {' and '.join(said)}")
        for name, shape in expected.items():
            if self.shapes[name] != shape:
                raise UserError(
                    f"{self.path}: {name}: expected shape {shape}, got {self.shapes[name]}: set the sizes that the"
                    " weights were made with, or check the file"
                )


def _more(names: Collection[str]) -> str:
    return f" (and {len(names) - 1} more)" if len(names) > 1 else ""


@contextmanager
def open_checkpoint(path: str | Path) -> Iterator[Checkpoint]:
    """Opens a torch file of tensors (mapped, so that only what is used is read) or a safetensors file.

    No code in the file is executed. Raises `UserError` for a file that is damaged, or is not a plain state dict.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"there is no file {path}: expected a checkpoint of ImageBind")
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt", device="cpu") as file:
                names = list(file.keys())
                shapes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
                yield Checkpoint(path, shapes, file.get_tensor)
            return
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about unusual pickles, which are handled below
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, KeyError, OSError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(
            f"{path} is neither a whole torch file of tensors only nor a safetensors file: copy it again, or save a"
            " state dict there with torch.save"
        ) from error
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise UserError(f"{path} holds no state dict (names to tensors): save `model.state_dict()` there")
    yield Checkpoint(path, {str(name): tuple(value.shape) for name, value in state.items()}, state.__getitem__)


def official_state(towers: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    """The state dict that the official model of these modalities would have: names, float32, shapes."""
    state: dict[str, Tensor] = {}
    for modality, tower in towers.items():
        own = tower.state_dict()
        for ours, theirs in official_names(modality, len(tower.blocks)).items():  # type: ignore[arg-type]
            state[theirs] = own[ours].detach().to("cpu", torch.float32).contiguous()
        if modality == "text":
            length = own["positions"].shape[1]
            state[MASK] = torch.full((length, length), float("-inf")).triu(1)
    return state
