"""The proof that what is frozen stood still, for every type that a tensor may have."""

from __future__ import annotations

import hashlib

import pytest
import torch
from plain import plain_space

from bindspace.training.freezing import check_frozen, frozen_tensors, set_trainable, tensor_hashes

TYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn, torch.float8_e5m2,
    torch.complex64, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16, torch.bool,
]  # fmt: skip


@pytest.mark.parametrize("dtype", TYPES, ids=str)
def test_tensors_of_every_type_are_hashed_by_their_bytes(dtype):
    tensor = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).to(dtype)
    other = tensor.clone()
    other[0, 0] = 1
    hashes = tensor_hashes({"it": tensor, "copy": tensor.clone(), "turned": tensor.t().t(), "other": other})
    assert hashes["it"] == hashes["copy"] == hashes["turned"] != hashes["other"]
    assert tensor_hashes({"scalar": tensor[0, 0], "none": tensor[:0]}).keys() == {"scalar", "none"}


def test_hashes_are_those_that_older_checkpoints_hold():
    tensor = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    assert tensor_hashes({"it": tensor})["it"] == hashlib.sha256(tensor.numpy().tobytes()).hexdigest()


def test_a_frozen_tower_in_bfloat16_is_watched():
    space = plain_space().to(torch.bfloat16)
    set_trainable(space, ["left"])
    before = tensor_hashes(frozen_tensors(space))
    check_frozen(before, space)
    with torch.no_grad():
        next(space.towers["left"].parameters()).view(-1)[0] += 1
    with pytest.raises(RuntimeError, match=r"frozen tensors changed during training: left\.encoder\.blocks\.0\.weight"):
        check_frozen(before, space)
