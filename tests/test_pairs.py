"""The star round the pivot, and what is wrong with other lists (its messages are tested in tests/cli/test_typos.py)."""

from __future__ import annotations

import pytest

from bindspace import Bind, ModalityConfig
from bindspace.contract.errors import UserError
from bindspace.settings.pairs import frozen, resolve_pairs, trainable_pairs, unpaired
from bindspace.settings.run import Pair, TrainRun


def run_of(*names: str, pairs: list[Pair] | None = None) -> TrainRun:
    """A run of made-up modalities with the pivot `a`."""
    return TrainRun(
        pivot="a", modality={name: ModalityConfig(bind=Bind(weight=ord(name))) for name in names}, pairs=pairs
    )


def test_the_default_is_a_star_round_the_pivot_in_the_order_of_selection():
    assert [(pair.of, pair.weight) for pair in resolve_pairs(run_of("c", "a", "b"))] == [
        (["a", "c"], 99),
        (["a", "b"], 98),
    ]


def test_a_list_of_pairs_is_taken_as_it_is():
    pairs = [Pair(["b", "c"], 0.5), Pair(["a", "b"])]
    assert resolve_pairs(run_of("a", "b", "c", pairs=pairs)) == pairs


def test_modalities_in_no_pair_are_known():
    run = run_of("a", "b", "c", "d", pairs=[Pair(["b", "c"])])
    assert unpaired(run, resolve_pairs(run)) == ["a", "d"]


def test_pairs_move_unless_both_of_their_towers_are_frozen_from_end_to_end():
    run = run_of("a", "b", "c")
    for name in ("a", "b"):
        run.modality[name].tune.freeze = True
    pairs = resolve_pairs(run)
    assert frozen(run.modality) == {"a", "b"}
    assert [pair.of for pair in trainable_pairs(pairs, frozen(run.modality))] == [["a", "c"]]
    with pytest.raises(UserError, match=r"both towers of every pair are frozen \(a-b\): nothing is left to train"):
        trainable_pairs(pairs[:1], {"a", "b"})
    run.modality["b"].tune.unfreeze_last = 1
    assert frozen(run.modality) == {"a"}
