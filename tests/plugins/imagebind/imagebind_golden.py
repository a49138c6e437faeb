"""Weights and inputs that golden numbers were made with, as README.md tells, and how to compare."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from bindspace_imagebind.base import ImagebindConfig
from bindspace_imagebind.format import CONFIGS
from bindspace_imagebind.keys import official_names

HERE = Path(__file__).parent
SMALL = {"image": 64, "text": 64, "audio": 48, "depth": 32, "thermal": 32, "imu": 32}  # channels
INPUTS: dict[str, tuple[int, tuple[int, ...]]] = {  # case: seed, shape
    "vision": (1001, (2, 3, 224, 224)),
    "vision_multi": (1002, (1, 2, 3, 224, 224)),
    "vision_clips": (1003, (1, 2, 3, 2, 224, 224)),
    "audio_clips": (1004, (2, 3, 1, 128, 204)),
    "audio": (1005, (2, 1, 128, 204)),
    "depth": (1006, (2, 1, 224, 224)),
    "thermal": (1007, (2, 1, 224, 224)),
    "imu": (1008, (2, 6, 2000)),
    "vision_280": (1009, (1, 3, 280, 280)),
    "vision_196": (1010, (1, 3, 196, 196)),
}
CASES = [*INPUTS, "text"]
WITH_CLIPS = ("vision_multi", "vision_clips", "audio_clips")
DOUBLE, SINGLE = 1e-10, 5e-6  # relative L2 distance that is allowed


def modality_of(case: str) -> str:
    """The modality that a case is an input of."""
    return case.partition("_")[0].replace("vision", "image")


def small_configs() -> dict[str, ImagebindConfig]:
    """Settings of the reduced model."""
    return {name: CONFIGS[name](width=64, channels=channels, layers=2, heads=4) for name, channels in SMALL.items()}


def inputs(case: str, file: str = "small") -> Tensor:
    """What a case's outputs were computed from."""
    if case == "text":
        return numbers(file)["text.tokens"]
    seed, shape = INPUTS[case]
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


def filled(name: str, shape: tuple[int, ...]) -> Tensor:
    """The deterministic weights of that official name."""
    drawn = np.random.default_rng(zlib.crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    leaf = name.rpartition(".")[2]
    if leaf in ("bias_k", "bias_v"):
        return torch.from_numpy(drawn)
    if leaf == "weight" and len(shape) == 1:
        return torch.from_numpy(1 + np.float32(0.02) * drawn)
    if leaf in ("weight", "in_proj_weight") and not name.endswith("token_embedding.weight"):
        return torch.from_numpy(drawn * np.float32(1 / np.sqrt(np.prod(shape[1:]))))
    return torch.from_numpy(np.float32(0.02) * drawn)


def tower(config: ImagebindConfig, *, reference: bool) -> Any:
    """The modality's tower with those weights, in evaluation mode."""
    with torch.device("meta"):
        built = config.tower(replace(config, reference=reference).shape())
    shapes = {name: tuple(value.shape) for name, value in built.state_dict().items()}
    names = official_names(config.modality, config.layers)
    state = {ours: filled(names[ours], shape) for ours, shape in shapes.items() if ours != "log_scale"}
    if config.scale is not None:
        state["log_scale"] = torch.tensor(config.scale).log()
    built.load_state_dict(state, assign=True)
    return built.eval()


def official_file(configs: Mapping[str, ImagebindConfig]) -> dict[str, Tensor]:
    """The official state dict with those weights."""
    from bindspace_imagebind.keys import official_state

    towers: dict[str, nn.Module] = {name: tower(config, reference=False) for name, config in configs.items()}
    return official_state(towers)


def keys(name: str) -> dict[str, Any]:
    """Names of a model's official state dict, and what is known of each."""
    return json.loads((HERE / f"{name}_keys.json").read_text())


@cache
def numbers(name: str) -> dict[str, Tensor]:
    """A file of golden numbers."""
    return load_file(HERE / f"{name}.safetensors")


def distance(got: Tensor, wanted: Tensor) -> float:
    """Relative L2 distance."""
    return float((got.double() - wanted.double()).norm() / wanted.double().norm())


def check_parity(config: ImagebindConfig, case: str, file: str) -> tuple[float, float]:
    """Asserts that the outputs of the official code come out; the distances in float64 and in float32."""
    built, given = tower(config, reference=True), inputs(case, file)
    with torch.no_grad():
        single = distance(built(given), numbers(file)[f"{case}.out.f32"])
        built.double()
        double = distance(built(given), numbers(file)[f"{case}.out.f64"])
    assert double <= DOUBLE, (case, double)
    assert single <= SINGLE, (case, single)
    return double, single
