import pytest
import torch
from known_vectors import Pool, chain_ledger, make_space
from torch.nn import functional as F

from bindspace.benchmark.prompting import prompts
from bindspace.benchmark.tasks.zero_shot import (
    class_columns,
    class_vectors,
    labels_of,
    measure_zero_shot,
    permuted_accuracy,
    predict,
    prompt_modality,
)
from bindspace.contract.errors import UserError
from bindspace.metrics.permutation import Permutations
from bindspace.metrics.retrieval import scores
from bindspace.settings.run import BenchmarkSettings

WORDS = {"a red": [1.0, 0.0], "red!": [0.6, 0.8], "a blue": [0.0, -1.0], "blue!": [-0.6, -0.8]}
TEMPLATES = {"default": ["a {}", "{}!"]}


def settings(**changes):
    return BenchmarkSettings(templates=TEMPLATES, permutations=500, **changes)


def measured(pool, space=None, **changes):
    space = space or make_space(2, ["sight", "words"], chain_ledger(["sight", "words"]), WORDS)
    clusters = {name: torch.arange(len(each)) for name, each in pool.vectors.items()}
    return measure_zero_shot(space, pool, pool.vectors, clusters, settings(**changes), Permutations(500, 0))


def test_a_class_is_the_normalised_mean_of_its_prompts():
    space = make_space(2, ["sight", "words"], words=WORDS)
    found = class_vectors(space, "words", "colour", ["red", "blue"], TEMPLATES)
    assert torch.allclose(found, F.normalize(torch.tensor([[0.8, 0.4], [-0.3, -0.9]]), dim=1), atol=1e-6)


def test_accuracy_by_hand():
    """Rows 0 and 1 lie with red, 2 and 3 with blue; row 3 says red: three of four are right."""
    sight = torch.tensor([[1.0, 0.2], [0.9, 0.9], [-0.2, -1.0], [-1.0, -1.0]])
    pool = Pool(
        {"sight": sight, "words": torch.eye(4)[:, :2] + 1}, attributes={"colour": ["red", "red", "blue", "red"]}
    )
    (cell,) = measured(pool)
    assert (cell["modality"], cell["attribute"], cell["status"]) == ("sight", "colour", "trained")
    assert (cell["classes"], cell["n"], cell["accuracy"], cell["chance"], cell["majority"]) == (2, 4, 0.75, 0.5, 0.75)
    assert cell["ci95"] == pytest.approx([0.3006, 0.9544], abs=1e-4)  # Wilson, 3 of 4


def test_an_item_counts_where_its_events_agree_on_a_known_value():
    rows, labels = labels_of([[0], [1], [0, 2], [0, 1], [3]], ["red", "blue", "red", None])
    assert (rows, labels) == ([0, 1, 2], ["red", "blue", "red"])


def test_a_tie_between_the_nearest_classes_is_a_miss():
    classes = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    assert predict(scores(torch.tensor([[1.0, 0.0], [0.0, 1.0]]), classes)).tolist() == [-1, 2]


@pytest.mark.parametrize("seed", range(5))
def test_random_vectors_sit_inside_the_control_interval(seed):
    generator = torch.Generator().manual_seed(seed)
    words = {f"{t}": torch.randn(16, generator=generator).tolist() for c in "abcdef" for t in (f"a {c}", f"{c}!")}
    space = make_space(16, ["sight", "words"], words=words)
    labels = [("abcdef")[i % 6] for i in range(300)]
    pool = Pool(
        {name: torch.randn(300, 16, generator=generator) for name in ("sight", "words")}, attributes={"kind": labels}
    )
    (cell,) = measured(pool, space)
    low, high = cell["control999"]
    assert low <= cell["accuracy"] <= high
    assert cell["control95"][0] <= cell["chance"] <= cell["control95"][1]
    assert low <= cell["control95"][0] < cell["control95"][1] <= high


def test_what_is_known_stands_far_outside_the_control_interval():
    sight = torch.tensor([[1.0, 0.5], [-0.5, -1.0]]).repeat(50, 1)
    pool = Pool({"sight": sight, "words": torch.ones(100, 2)}, attributes={"colour": ["red", "blue"] * 50})
    (cell,) = measured(pool)
    assert cell["accuracy"] == 1.0
    assert cell["control999"][1] < 0.8


def test_one_constant_answer_scores_its_share_however_labels_are_permuted():
    labels, always = torch.tensor([0] * 70 + [1] * 30), torch.zeros(100, dtype=torch.int64)
    assert permuted_accuracy(always, labels, Permutations(50, 0)).unique().tolist() == [0.7]


def test_columns_with_repeated_discrete_values_are_classes():
    attributes = {
        "colour": ["red", "blue", "red", None],
        "flag": [True, False, True, True],
        "count": [1, 2, 1, 3],
        "radius": [0.1, 0.2, 0.1, 0.2],
        "name": ["a", "b", "c", "d"],
        "constant": ["x", "x", "x", "x"],
        "nothing": [None, None, None, None],
    }
    pool = Pool({"sight": torch.eye(4)}, attributes=attributes)
    assert class_columns(pool, None) == ["colour", "flag", "count"]
    assert class_columns(pool, ["radius"]) == ["radius"]
    assert class_columns(pool, []) == []


def test_a_misspelt_column_and_a_constant_one_get_a_sentence():
    pool = Pool({"sight": torch.eye(2)}, attributes={"colour": ["red", "blue"], "constant": ["x", "x"]})
    with pytest.raises(UserError, match="unknown attribute column 'color': did you mean 'colour'"):
        class_columns(pool, ["color"])
    with pytest.raises(UserError, match="column 'constant' needs two values or more"):
        class_columns(pool, ["constant"])


def test_templates_of_an_attribute_come_before_the_default_and_only_braces_are_filled():
    templates = {"colour": ["its colour is {}"], "default": ["{0.__class__} {}"]}
    assert prompts("colour", "red", templates) == ["its colour is red"]
    assert prompts("shape", "{cube}", templates) == ["{0.__class__} {cube}"]


@pytest.mark.parametrize("templates", [{}, {"default": []}, {"default": ["a thing"]}])
def test_templates_without_a_place_for_the_class_are_refused(templates):
    with pytest.raises(UserError, match=r"benchmark\.templates: expected for 'colour' \(or `default`\)"):
        prompts("colour", "red", templates)


def test_prompts_go_to_the_one_modality_that_holds_values():
    assert prompt_modality(make_space(2, ["sight", "words"]), ["sight"]) == "words"
    assert prompt_modality(make_space(2, ["sight", "sound"]), ["sight", "sound"]) is None


def test_without_such_a_modality_there_is_no_zero_shot():
    pool = Pool({name: torch.eye(2) for name in ("sight", "sound")}, attributes={"colour": ["red", "blue"]})
    assert measured(pool, make_space(2, ["sight", "sound"])) == []
