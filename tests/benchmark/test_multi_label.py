import pytest
import torch
from known_vectors import Pool, make_space
from torchmetrics.functional.classification import multilabel_average_precision

from bindspace.benchmark.tasks.multi_label import Ranking, average_precision, rank_labels
from bindspace.benchmark.tasks.zero_shot import class_columns, measure_zero_shot
from bindspace.metrics.permutation import Permutations
from bindspace.settings.run import BenchmarkSettings


def drawn(seed=0, n=60, classes=5):
    generator = torch.Generator().manual_seed(seed)
    present = torch.rand(n, classes, generator=generator) < 0.3
    return torch.randn(n, classes, generator=generator), present


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_is_that_of_torchmetrics(seed):
    score, present = drawn(seed)
    expected = multilabel_average_precision(score.sigmoid(), present.int(), num_labels=5, average=None)
    assert average_precision(score, present) == pytest.approx(expected.double().numpy(), abs=1e-5)


def test_average_precision_by_hand_and_ties_stand_against_it():
    present = torch.tensor([[True], [False], [True], [False]])
    assert float(average_precision(torch.tensor([[4.0], [3.0], [2.0], [1.0]]), present)) == pytest.approx(
        (1 + 2 / 3) / 2
    )
    assert float(average_precision(torch.zeros(4, 1), present)) == pytest.approx((1 / 3 + 2 / 4) / 2)


def by_counting(score, present):
    """Average precision of one class: each right item stands behind every wrong one that scores as much."""
    found = sorted((-value, right) for value, right in zip(score.tolist(), present.tolist()))
    hits, precisions = 0, []
    for place, (_, right) in enumerate(found, start=1):
        hits += right
        precisions += [hits / place] if right else []
    return sum(precisions) / len(precisions) if precisions else float("nan")


@pytest.mark.parametrize("seed", range(4))
def test_items_drawn_anew_are_ranked_as_if_they_had_been_sorted(seed):
    score, present = drawn(seed, n=40)
    score, present[:, 4] = (2 * score).round() / 2, False  # many ties; a class that nobody has
    rows = torch.randint(40, (40,), generator=torch.Generator().manual_seed(seed))
    ranking = Ranking(score)
    for precision, order in ((ranking.precision(present), torch.arange(40)), (ranking.precision(present, rows), rows)):
        expected = [by_counting(score[order, c], present[order, c]) for c in range(5)]
        assert precision.tolist() == pytest.approx(expected, abs=1e-12, nan_ok=True)
        assert precision[4].isnan()


def test_scores_that_know_nothing_lie_among_the_permuted_ones_and_perfect_ones_do_not():
    score, present = drawn(1, n=200)
    blind = rank_labels(score, present, Permutations(200, 0))
    assert blind["control95"][0] <= blind["map"] <= blind["control95"][1]
    assert blind["control95"][0] < blind["chance"] + 0.05
    perfect = rank_labels(present.float(), present, Permutations(200, 0))
    assert perfect["map"] == 1.0
    assert perfect["control95"][1] < 0.6


def test_a_column_of_lists_is_measured_by_mean_average_precision():
    sight = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, 0.1]])
    labels = [["dog"], ["rain"], ["dog", "rain"], None]
    words = {"dog": [1.0, 0.0], "rain": [0.0, 1.0]}
    pool = Pool({"sight": sight, "words": sight}, attributes={"heard": labels})
    assert class_columns(pool, None) == ["heard"]
    space = make_space(2, ["sight", "words"], words=words)
    vectors = {name: pool.vectors[name] for name in ("sight", "words")}
    settings = BenchmarkSettings(templates={"default": ["{}"]})
    (cell,) = measure_zero_shot(
        space, pool, vectors, dict.fromkeys(vectors, torch.arange(4)), settings, Permutations(50, 0)
    )
    assert (cell["map"], cell["n"], cell["classes"], cell["chance"]) == (1.0, 3, 2, pytest.approx(4 / 6))
