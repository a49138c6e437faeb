"""Which sources a data set is asked for."""

from dataclasses import dataclass, field

import pytest

from bindspace import DatasetConfig
from bindspace.cli.train import with_sources
from bindspace.settings import DataSettings, Pair, TrainRun
from bindspace.training.named import HubnessConfig
from bindspace.training.terms import DistillationConfig


@dataclass(kw_only=True)
class Asked(DatasetConfig):
    """Remembers what it was asked for."""

    pairs: list = field(default_factory=list)

    def sources(self, pairs, modalities):
        self.pairs += pairs
        return {}


@pytest.mark.parametrize(
    "settings",
    [
        {"terms": [DistillationConfig(of=["sound", "words"]), DistillationConfig(of=["heat", "words"])]},
        {"callbacks": {"hubness": HubnessConfig(of="words")}},
    ],
)
def test_reference_vectors_are_asked_for_where_no_pair_of_the_run_brings_them(settings):
    """A space that is extended by a sound has words already, and the run trains no pair of them."""
    run = TrainRun(pivot="view", modality=dict.fromkeys(["view", "words", "sound", "heat"]), **settings)
    run.data = DataSettings(dataset=Asked())
    with_sources(run, [Pair(of=["view", "sound"]), Pair(of=["view", "heat"])])
    assert run.data.dataset.pairs == [("view", "sound"), ("view", "heat"), ("view", "words")]


def test_a_pair_that_brings_them_is_asked_for_once():
    run = TrainRun(pivot="view", modality={}, terms=[DistillationConfig(of=["sound", "words"])])
    run.data = DataSettings(dataset=Asked())
    with_sources(run, [Pair(of=["words", "view"]), Pair(of=["view", "sound"])])
    assert run.data.dataset.pairs == [("words", "view"), ("view", "sound")]
