import pytest
import torch

from bindspace.benchmark.tasks.probe import linear_probe


def blobs(noise, seed=0, n=120, classes=3, dim=8):
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % classes
    vectors = torch.eye(dim)[label] + noise * torch.randn(n, dim, generator=generator)
    return torch.nn.functional.normalize(vectors, dim=1), label


def test_classes_that_a_straight_cut_separates_are_read_with_few_examples():
    vectors, label = blobs(0.05)
    for cell in linear_probe(vectors, label, torch.arange(120), [1, 4, 0]):
        assert cell["accuracy"] > 0.98
        assert (cell["classes"], cell["n"], cell["chance"]) == (3, 60, pytest.approx(1 / 3))


def test_more_examples_read_more():
    vectors, label = blobs(0.6)
    one, eight, full = (cell["accuracy"] for cell in linear_probe(vectors, label, torch.arange(120), [1, 8, 0]))
    assert one + 0.05 < eight < full + 0.1
    assert one < full


def test_labels_that_the_vectors_do_not_know_stay_at_chance():
    vectors, label = blobs(0.1, n=600)
    shuffled = label[torch.randperm(600, generator=torch.Generator().manual_seed(1))]
    (cell,) = linear_probe(vectors, shuffled, torch.arange(600), [0])
    assert abs(cell["accuracy"] - 1 / 3) < 4 * (2 / 9 / 300) ** 0.5


def test_items_of_one_cluster_are_on_one_side_only():
    """Every cluster has a direction and a label of its own: known clusters would be named, unknown ones cannot be."""
    cluster = torch.arange(40).repeat_interleave(10)
    vectors = torch.eye(40)[cluster]
    label = torch.randint(2, (40,), generator=torch.Generator().manual_seed(0))[cluster]
    (cell,) = linear_probe(vectors, label, cluster, [0])
    assert cell["accuracy"] <= cell["majority"]


def test_more_shots_than_a_class_has_are_left_out():
    vectors, label = blobs(0.1, n=24)
    assert [cell["shots"] for cell in linear_probe(vectors, label, torch.arange(24), [1, 50, 0])] == [1, 0]


def test_the_seed_says_what_is_drawn():
    vectors, label = blobs(0.8)
    runs = [linear_probe(vectors, label, torch.arange(120), [2], seed=seed) for seed in (0, 0, 1)]
    assert runs[0] == runs[1] != runs[2]
