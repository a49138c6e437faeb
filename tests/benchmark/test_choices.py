import numpy as np
import pytest
import torch

from bindspace.benchmark.tasks.choices import measure_choices
from bindspace.contract.dataset import Choice
from bindspace.contract.errors import UserError
from bindspace.data.tables import write_manifest
from bindspace.space.space import Space


class Same(torch.nn.Module):
    """Hands numbers through: a vector of six for a vector, and for words the axis that their first letter names."""

    def __init__(self):
        super().__init__()
        self.where = torch.nn.Parameter(torch.zeros(1))


class OfVector(Same):
    def forward(self, values):
        return values


class OfWords(Same):
    def forward(self, words):
        return torch.nn.functional.one_hot(words[:, 0] - 1, 6).float()


@pytest.fixture
def space(install_toys):
    toys = install_toys

    class Vector(toys.VectorConfig):
        def encoder(self, *, pretrained):
            return OfVector()

    class Words(toys.WordsConfig):
        def prepare(self, samples, *, seeds=None, augment="weak"):
            return {"words": torch.tensor([[1 + "abcdef".index(words[0])] for words in samples])}

        def encoder(self, *, pretrained):
            return OfWords()

    identity = {"width": 6, "head": __import__("bindspace").Head.identity}
    return Space({"vector": Vector(**identity), "words": Words(**identity)}, 6, "vector")


def choice(folder, rows):
    for i, (axis, _) in enumerate(rows):
        np.save(folder / f"{i}.npy", np.eye(6, dtype=np.float32)[axis])
    lines = [{"id": f"{i}", "vector": f"{i}.npy", "words": words} for i, (_, words) in enumerate(rows)]
    return Choice("probe", str(write_manifest(lines, folder / "manifest.jsonl")), "vector", "words")


def test_the_first_alternative_has_to_score_above_all_others(space, tmp_path):
    rows = [(0, ["a", "b"]), (1, ["a", "b"]), (2, ["c", "a", "b", "d"]), (3, ["a", "b"])]  # right, wrong, right, a tie
    (found,) = measure_choices(space, [choice(tmp_path, rows)])
    assert (found["n"], found["accuracy"]) == (4, 0.5)
    assert found["chance"] == pytest.approx((0.5 + 0.5 + 0.25 + 0.5) / 4)
    assert found["ci95"][0] < 0.5 < found["ci95"][1]


def test_a_probe_of_a_modality_that_the_space_lacks_is_left_out(space, tmp_path):
    assert measure_choices(space, [Choice("probe", "nowhere", "vector", "smell")]) == []


def test_a_row_without_a_wrong_answer_is_refused(space, tmp_path):
    with pytest.raises(UserError, match="expected one vector and two or more of words in each row"):
        measure_choices(space, [choice(tmp_path, [(0, ["a"])])])


def test_a_cell_that_cannot_be_read_is_named(space, tmp_path):
    probe = choice(tmp_path, [(0, ["a", "b"])])
    (tmp_path / "0.npy").unlink()
    with pytest.raises(UserError, match=r"manifest\.jsonl: 0, vector: .*expected a file"):
        measure_choices(space, [probe])
