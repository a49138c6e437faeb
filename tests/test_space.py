"""The space: items to unit vectors, one modality at a time, without side effects."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from bindspace.contract.errors import UserError
from bindspace.settings.pairs import pair_name
from bindspace.space.space import Space, evaluating


@pytest.fixture
def space(install_toys) -> Space:
    """Three toy modalities round `vector`."""
    toys = install_toys
    torch.manual_seed(0)
    configs = {"vector": toys.VectorConfig(), "curve": toys.CurveConfig(width=12), "words": toys.WordsConfig()}
    return Space(configs, dim=4, pivot="vector")


def vectors(count: int) -> list[np.ndarray]:
    """So many samples of six numbers."""
    return list(np.random.default_rng(0).normal(size=(count, 6)).astype(np.float32))


def test_a_pair_has_one_name_with_the_pivot_first():
    assert pair_name("zebra", "ant", "zebra") == pair_name("ant", "zebra", "zebra") == "zebra-ant"
    assert pair_name("zebra", "bee", "ant") == pair_name("bee", "zebra", "ant") == "bee-zebra"


def test_embed_gives_unit_float32_vectors_by_modality(space):
    z = space.embed(vector=vectors(5), words=["a b", "c"])
    assert {name: tuple(rows.shape) for name, rows in z.items()} == {"vector": (5, 4), "words": (2, 4)}
    for rows in z.values():
        assert rows.dtype == torch.float32
        assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)))


def test_embed_reads_files_by_path_or_by_the_path_as_a_string(space, tmp_path):
    values = vectors(1)[0]
    np.save(tmp_path / "a.npy", values)
    z = space.embed(vector=[values, tmp_path / "a.npy", str(tmp_path / "a.npy")])["vector"]
    assert torch.allclose(z, z[:1].expand(3, 4))


def test_a_sample_of_several_rows_is_the_normalised_mean_of_its_unit_vectors(space):
    samples = vectors(3)
    rows = [torch.from_numpy(np.stack(samples)) * scale for scale in (1.0, 0.5)]
    with evaluating(space), torch.no_grad():
        first, second = (space("vector", {"values": values}) for values in rows)
    expected = F.normalize((first + second) / 2, dim=-1)
    assert torch.allclose(space.embed(vector=samples)["vector"], expected, atol=1e-6)


def test_features_of_a_sample_of_several_rows_are_their_mean(space):
    batch = {"values": torch.eye(6)[:4], "owner": torch.tensor([0, 1, 0, 0])}
    rows = space.features(curve={"values": batch["values"]})["curve"]
    expected = torch.stack([rows[[0, 2, 3]].mean(0), rows[1]])
    assert torch.allclose(space.features(curve=batch)["curve"], expected, atol=1e-6)


def test_the_batch_size_changes_nothing_but_rounding(space):
    items = vectors(7)
    whole = space.embed(vector=items)["vector"]
    assert torch.allclose(space.embed(vector=items, batch_size=2)["vector"], whole, atol=1e-6)
    values = torch.from_numpy(np.stack(items))
    assert torch.allclose(space.encode(vector=values, batch_size=3)["vector"], space.encode(vector=values)["vector"])


def test_encode_takes_what_prepare_returned(space):
    batch = space.configs["words"].prepare([["a", "b"], ["c"]])
    assert torch.allclose(space.encode(words=batch)["words"], space.embed(words=["a b", "c"])["words"])


def test_encode_takes_the_main_stream_as_a_single_tensor(space):
    values = torch.from_numpy(np.stack(vectors(3)))
    assert torch.equal(space.encode(vector=values)["vector"], space.encode(vector={"values": values})["vector"])
    assert torch.equal(space.features(curve=values)["curve"], space.features(curve={"values": values})["curve"])


def test_further_streams_are_cut_into_batches_like_the_main_one(space):
    values, gain = torch.from_numpy(np.stack(vectors(5))), torch.arange(1.0, 6.0)
    plain = space.features(vector=values)["vector"]
    both = space.features(vector={"values": values, "gain": gain}, batch_size=2)["vector"]
    assert torch.allclose(both, plain * gain[:, None], atol=1e-5)


def test_features_come_before_head_and_normalisation(space):
    values = torch.from_numpy(np.stack(vectors(3)))
    features = space.features(curve=values)["curve"]
    assert features.shape == (3, 12)
    head = space.towers["curve"].head
    with torch.no_grad():
        assert torch.allclose(F.normalize(head(features), dim=-1), space.encode(curve=values)["curve"], atol=1e-6)


def test_nothing_in_gives_nothing_out_in_the_right_shape(space):
    assert space.embed(words=[])["words"].shape == (0, 4)
    assert space.encode(vector=torch.empty(0, 6))["vector"].shape == (0, 4)
    assert space.features(curve=torch.empty(0, 6))["curve"].shape == (0, 12)


def test_embedding_is_in_evaluation_mode_and_gives_every_part_its_mode_back(space):
    space.train()
    space.towers["vector"].encoder.eval()
    before = {name: part.training for name, part in space.named_modules()}
    statistics = space.towers["curve"].encoder.blocks[-1].running_mean.clone()
    items = vectors(4)
    first, second = (space.embed(vector=items, curve=items) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)  # dropout is off
    assert {name: part.training for name, part in space.named_modules()} == before
    assert torch.equal(space.towers["curve"].encoder.blocks[-1].running_mean, statistics)


def test_modes_come_back_when_an_item_cannot_be_read(space):
    space.train()
    with pytest.raises(UserError):
        space.embed(vector=[np.zeros(3)])
    assert all(part.training for part in space.modules())


def test_vectors_for_users_carry_no_gradient_and_forward_does(space):
    assert not space.embed(words=["a"])["words"].requires_grad
    assert space("words", {"words": torch.tensor([[1]])}).requires_grad


def test_an_unknown_modality_is_answered_with_the_closest_and_the_list(space):
    with pytest.raises(
        UserError, match=r"unknown modality of this space 'wrods': did you mean 'words'\? \(available: cur"
    ):
        space.embed(wrods=["a"])


def test_one_item_instead_of_a_list_is_told_how_to_write_it(space):
    with pytest.raises(UserError, match=r"words: expected a list of items, got one str: write \['a dog'\]"):
        space.embed(words="a dog")


def test_an_item_that_cannot_be_read_is_named_by_its_place(space, tmp_path):
    with pytest.raises(UserError, match=r"vector\[2\]: expected six finite numbers, got \(3,\)"):
        space.embed(vector=[*vectors(2), np.zeros(3)], batch_size=2)
    with pytest.raises(UserError, match=r"vector\[0\] \(.*gone\.npy\)"):
        space.embed(vector=[str(tmp_path / "gone.npy")])


def test_a_pair_keeps_the_temperature_that_it_has(space):
    space.add_temperature("words", "vector", 0.1, learned=False)
    space.add_temperature("vector", "words", 0.5, learned=True)
    assert space.logit_scale("words", "vector").item() == pytest.approx(10)
    assert list(space.temperatures) == ["vector-words"]


def test_a_space_of_one_modality_stands_alone(install_toys):
    space = Space({"words": install_toys.WordsConfig()}, dim=4, pivot="vector")
    assert space.modalities == ["words"]
    assert space.embed(words=["a"])["words"].shape == (1, 4)
