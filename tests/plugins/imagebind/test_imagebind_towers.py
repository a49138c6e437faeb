"""The towers against outputs of the official code, and what this project's own arithmetic adds to it."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest
import torch
from imagebind_golden import (
    CASES,
    DOUBLE,
    SINGLE,
    WITH_CLIPS,
    check_parity,
    distance,
    filled,
    inputs,
    keys,
    modality_of,
    numbers,
    small_configs,
    tower,
)  # fmt: skip
from torch import Tensor
from torch.nn import functional as F

from bindspace import Tune
from bindspace.contract.errors import UserError
from bindspace.space.space import Space
from bindspace_imagebind.format import CONFIGS
from bindspace_imagebind.towers import Block

NAMES = list(CONFIGS)


def rows(case: str) -> tuple[Tensor, dict[str, Tensor]]:
    """A case as rows, and the owner of each where there are clips."""
    given = inputs(case)
    if case not in WITH_CLIPS:
        return given, {}
    return given.flatten(0, 1), {"owner": torch.arange(given.shape[0]).repeat_interleave(given.shape[1])}


def test_the_weights_are_drawn_as_the_golden_ones_were():
    drawn = {name: (shape, digest) for name, (shape, _, digest) in keys("small").items() if digest is not None}
    assert len(drawn) == 205
    for name, (shape, digest) in drawn.items():
        found = hashlib.sha256(filled(name, tuple(shape)).numpy().astype("<f4").tobytes()).hexdigest()
        assert found[:16] == digest, name


@pytest.mark.parametrize("case", CASES)
def test_the_reduced_model_computes_what_the_official_code_does(case):
    check_parity(small_configs()[modality_of(case)], case, "small")


@pytest.mark.parametrize("case", CASES)
def test_before_normalisation_every_row_is_that_of_the_official_head(case):
    built = tower(small_configs()[modality_of(case)], reference=False)
    with torch.no_grad():
        assert distance(built(rows(case)[0]), numbers("small")[f"{case}.head.f32"]) <= SINGLE
        assert distance(built.double()(rows(case)[0]), numbers("small")[f"{case}.head.f64"]) <= DOUBLE


@pytest.mark.parametrize("case", CASES)
def test_a_space_gives_the_official_direction_at_unit_length(case):
    name = modality_of(case)
    space = Space({name: small_configs()[name]}, 64, name).eval()
    space.towers[name].encoder.load_state_dict(tower(space.configs[name], reference=False).state_dict())
    given, owner = rows(case)
    vectors = space.encode(**{name: {"inputs": given, **owner}})[name]
    assert distance(vectors, F.normalize(numbers("small")[f"{case}.out.f64"], dim=1)) <= SINGLE
    torch.testing.assert_close(vectors.norm(dim=1), torch.ones(len(vectors)))


@pytest.mark.parametrize("name", NAMES)
def test_tokens_hold_the_vector(name):
    built = tower(small_configs()[name], reference=False)
    case = "vision" if name == "image" else name
    given = inputs(case)
    with torch.no_grad():
        tokens, vectors = built.tokens(given), built(given)
    at = given.argmax(1) if name == "text" else torch.zeros(len(given), dtype=torch.int64)
    torch.testing.assert_close(tokens[torch.arange(len(given)), at], vectors, atol=1e-5, rtol=1e-4)


def test_a_text_is_the_same_alone_and_beside_a_longer_one():
    built, ids = tower(small_configs()["text"], reference=False).double(), inputs("text")
    assert ids.argmax(1).tolist() == [4, 6, 10, 76]
    with torch.no_grad():
        alone = torch.cat([built(row[None]) for row in ids])
    assert distance(alone, numbers("small")["text.head.f64"]) <= DOUBLE


def test_a_still_picture_is_two_equal_frames():
    built, stills = tower(small_configs()["image"], reference=False).double(), inputs("vision").double()
    with torch.no_grad():
        assert distance(built(stills[:, :, None].expand(-1, -1, 2, -1, -1)), built(stills)) <= 1e-14


@pytest.mark.parametrize(("by_position", "constant"), [(False, 1), (True, 0)])
def test_paths_are_dropped_by_row_and_by_position_only_in_the_reference(by_position, constant):
    torch.manual_seed(0)
    block = Block(8, 2, extra=True, drop=0.5, by_position=by_position).train()
    kept = block._dropped(torch.ones(16, 16, 8))
    assert set(kept.unique().tolist()) == {0.0, 2.0}
    assert (kept == kept.select(constant, 0).unsqueeze(constant)).all()
    assert torch.equal(block.eval()._dropped(torch.ones(2, 3, 8)), torch.ones(2, 3, 8))


def test_paths_are_dropped_more_often_towards_the_end():
    built = CONFIGS["imu"](channels=32, heads=4, width=8).encoder(pretrained=False)
    assert [round(block.drop, 2) for block in built.blocks] == [0, 0.14, 0.28, 0.42, 0.56, 0.7]
    assert built.dropout.p == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_a_fresh_tower_trains_in_all_its_parts(name):
    torch.manual_seed(0)
    built = small_configs()[name].encoder(pretrained=False).train()
    for _ in range(20):  # some blocks may be left out of a step
        built(inputs("vision" if name == "image" else name)).square().sum().backward()
    still = [key for key, value in built.named_parameters() if value.grad is None or not value.grad.abs().sum()]
    assert still == []


def test_the_last_blocks_can_be_trained_alone():
    from bindspace.training.freezing import set_trainable

    config = replace(small_configs()["depth"], tune=Tune(freeze=True, unfreeze_last=1))
    space = Space({"depth": config}, 64, "depth")
    set_trainable(space, [])
    moving = {
        key.removeprefix("towers.depth.encoder.")[:9] for key, value in space.named_parameters() if value.requires_grad
    }
    assert moving == {"blocks.1."}


@pytest.mark.parametrize("name", NAMES)
def test_half_precision_stays_close(name):
    built = tower(small_configs()[name], reference=False)
    given = inputs("vision" if name == "image" else name)
    with torch.no_grad():
        exact, rounded = built(given), built.bfloat16()(given).float()
    assert F.cosine_similarity(exact, rounded).min() > 0.999


def test_text_can_be_exported_although_it_is_cut_where_it_ends():
    built, given = tower(small_configs()["text"], reference=False), inputs("text")
    program = torch.export.export(built, (given,))
    torch.testing.assert_close(program.module()(given), built(given), atol=1e-5, rtol=1e-4)


def test_sizes_that_do_not_fit_are_named():
    with pytest.raises(UserError, match=r"splits its channels among heads, got channels=30, layers=2, heads=4"):
        CONFIGS["depth"](channels=30, layers=2, heads=4).encoder(pretrained=False)
    with pytest.raises(ValueError, match=r"expected \(14, 14\) patches, got \(12, 12\)"):
        tower(small_configs()["depth"], reference=False)(torch.zeros(1, 1, 192, 192))
    with pytest.raises(ValueError, match="squares whose side is a multiple of 14"):
        tower(small_configs()["image"], reference=False)(torch.zeros(1, 3, 224, 238))
    with pytest.raises(ValueError, match=r"expected rows of \(6, 2000\), got \(1, 6, 1000\)"):
        tower(small_configs()["imu"], reference=False)(torch.zeros(1, 6, 1000))
