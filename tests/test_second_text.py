"""The second implementation of text, `bindspace_spelling`, is better at what it is for: misspelt words."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from bindspace.contract import registry
from bindspace.space.space import Space

PACKAGE = Path(__file__).parent / "packages" / "bindspace_spelling"
RIGHT = ["thunder", "footsteps", "engine", "whistle", "raindrops", "hammer", "waterfall", "trumpet"]
WRONG = ["thuner", "footstps", "engne", "whistel", "raindrps", "hamer", "waterfal", "trumpt"]


@pytest.fixture
def spelling(monkeypatch):
    """Its config, from the folder of the package."""
    monkeypatch.syspath_prepend(str(PACKAGE))
    from bindspace_spelling import SpellingConfig

    yield SpellingConfig()
    sys.modules.pop("bindspace_spelling", None)


def found(config) -> int:
    """How many misspelt words have the right one as their nearest, by untrained vectors."""
    torch.manual_seed(0)
    space = Space({"text": config}, dim=64, pivot="text")
    z = space.embed(text=[*RIGHT, *WRONG])["text"]
    return int(((z[len(RIGHT) :] @ z[: len(RIGHT)].T).argmax(1) == torch.arange(len(RIGHT))).sum())


def test_a_misspelt_word_stays_near_the_right_one_where_whole_words_are_lost(spelling):
    assert found(spelling) >= 6
    assert found(registry.load("text")()) <= 3
