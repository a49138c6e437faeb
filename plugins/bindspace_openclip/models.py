"""open_clip's model registry, read without importing open_clip if possible: it imports torch."""

from __future__ import annotations

import hashlib
import json
import sys
from difflib import get_close_matches
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from bindspace import UserError
from bindspace.contract.errors import unknown
from bindspace_openclip.hub import FETCH, asks_to_fetch, pretrained_file

LOCAL_DIR = "local-dir:"
CONFIG = "open_clip_config.json"
DEFAULTS: dict[str, Any] = {  # of open_clip's PreprocessCfg
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
    "interpolation": "bicubic",
    "resize_mode": "shortest",
}


def model_config(model: str) -> dict[str, Any]:
    """open_clip's own description of a model: `embed_dim`, `vision_cfg`, `text_cfg`. Raises `UserError`."""
    if find_spec("open_clip") is None:
        raise UserError("open_clip is not installed, which these towers need: pip install 'bindspace[clip]'")
    if "open_clip" in sys.modules:  # it also knows what was added to it in this process
        import open_clip

        if model not in open_clip.list_models():
            raise _no_model(model, open_clip.list_models())
        found = open_clip.get_model_config(model)
    else:
        files = _config_files()
        if model not in files:
            raise _no_model(model, list(files))
        found = json.loads(files[model].read_text(encoding="utf-8"))
    if "multimodal_cfg" in found:
        raise UserError(f"{model} is a CoCa, whose decoder a space does not support: choose a CLIP or a SigLIP")
    return found


def _no_model(model: str, names: list[str]) -> UserError:
    """Lists only the closest names: there are more than a hundred."""
    close = get_close_matches(model, names, n=4, cutoff=0.5) or [name for name in names if name.startswith("ViT-")][:4]
    hint = f"`python -c 'import open_clip; print(open_clip.list_models())'` prints all {len(names)}"
    return UserError(f"unknown open_clip model {model!r} (available: {', '.join(close)}); {hint}")


@cache
def _config_files() -> dict[str, Path]:
    spec = find_spec("open_clip")
    assert spec is not None
    assert spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "model_configs"
    return {path.stem: path for path in sorted(folder.glob("*.json"))}


def is_local(weights: str) -> bool:
    """Whether `weights` names a place on this machine, not one of open_clip's tags."""
    if asks_to_fetch(weights):
        return False
    return weights.startswith(LOCAL_DIR) or Path(weights).suffix != "" or "/" in weights or Path(weights).exists()


def tag_of(weights: str) -> str:
    """The pretrained tag that `weights` names, whether it may be fetched or not."""
    return weights.removeprefix(FETCH)


def check_weights(model: str, weights: str | None) -> None:
    """Raises `UserError` for a file that is missing, a folder of another model, or an unknown tag."""
    if weights is None:
        return
    if not is_local(weights):
        tag_config(model, tag_of(weights))
    elif (folder := _folder(weights)) is not None:
        held = _folder_config(folder).get("model_cfg", {})
        for part in ("embed_dim", "vision_cfg", "text_cfg"):
            if held.get(part) != model_config(model)[part]:
                raise UserError(f"{folder} holds another model than {model} ({part} differs): set model= to its name")
    elif not Path(weights).is_file():
        raise UserError(f"expected `weights` to be a file of weights, there is none at {weights}: check the path")


def weights_file(model: str, weights: str) -> Path:
    """The file of weights that is meant; that of a tag from open_clip's cache, or fetched where `weights` asks."""
    if not is_local(weights):
        tag = tag_of(weights)
        return pretrained_file(model, tag, tag_config(model, tag), fetch=asks_to_fetch(weights))
    folder = _folder(weights)
    if folder is None:
        return Path(weights)
    from open_clip.factory import _find_checkpoint_in_dir

    found = _find_checkpoint_in_dir(folder)
    if found is None:
        raise UserError(f"{folder} holds no weights: expected open_clip_model.safetensors beside {CONFIG}")
    return Path(found)


def preprocessing(model: str, weights: str | None) -> dict[str, Any]:
    """`mean`, `std`, `interpolation`, `resize_mode` that belong to the weights: of a tag or a folder, else CLIP's."""
    if weights is None:
        said: dict[str, Any] = {}
    elif not is_local(weights):
        said = tag_config(model, tag_of(weights))
    else:
        folder = _folder(weights)
        said = {} if folder is None else _folder_config(folder).get("preprocess_cfg", {})
    return {name: said[name] if said.get(name) is not None else value for name, value in DEFAULTS.items()}


def tag_config(model: str, tag: str) -> dict[str, Any]:
    """open_clip's config of a pretrained tag. Raises `UserError` for an unknown one, or one of another activation."""
    import open_clip

    tags = open_clip.list_pretrained_tags_by_model(model)
    if tag not in tags:
        raise UserError(unknown(f"pretrained tag of {model}", tag, tags, hint="or give weights=FILE"))
    found = open_clip.get_pretrained_cfg(model, tag)
    quick = bool(found.get("quick_gelu", False))
    if quick != bool(model_config(model).get("quick_gelu", False)):
        other = f"{model}-quickgelu" if quick else model.removesuffix("-quickgelu")
        raise UserError(f"the weights {tag!r} belong to the activation of {other}, not of {model}: set model={other}")
    return found


def whose(model: str, weights: str) -> str:
    """Identifies the weights for a declaration: the tag, or the name and the hash of the file."""
    if not is_local(weights):
        return f"open_clip {model} ({tag_of(weights)})"
    path = weights_file(model, weights)
    return f"open_clip {model} ({path.name}, sha256 {_sha256(path, path.stat().st_mtime_ns)[:12]})"


@cache
def _sha256(path: Path, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _folder(weights: str) -> Path | None:
    path = Path(weights.removeprefix(LOCAL_DIR))
    if weights.startswith(LOCAL_DIR) and not path.is_dir():
        raise UserError(f"weights={weights}: there is no such folder: check the path")
    return path if path.is_dir() else None


def _folder_config(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{folder} holds no {CONFIG} that can be read: give the file of weights itself") from error
    return found if isinstance(found, dict) else {}
