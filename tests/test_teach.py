"""What `teach` may ask for, by the sentence that refuses the rest."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from bindspace.contract.errors import UserError
from bindspace.settings.distillation import check_stages, check_teach
from bindspace.settings.run import Pair, StageSettings, Teach, TeachForm, TrainRun
from bindspace.training.stages import resolve

STAR = [Pair(["p", "a"]), Pair(["p", "b"]), Pair(["p", "c"], weight=0.0)]


def refused(*wanted: Teach) -> str:
    run = TrainRun(pivot="p", modality=dict.fromkeys("pabc", SimpleNamespace()), teach=list(wanted))
    with pytest.raises(UserError) as error:
        check_teach(run, STAR)
    return str(error.value)


@pytest.mark.parametrize(
    ("teach", "sentence"),
    [
        (Teach(["a"]), "teach 'a': expected two different modalities, got 1: write {of: [A,B]}"),
        (Teach(["a", "a"]), "teach 'a-a': expected two different modalities, got 1"),
        (Teach(["a", "bb"]), "unknown modality in teach 'a-bb' 'bb'"),
        (Teach(["a", "p"]), "p is the pivot, by way of which others are taught"),
        (Teach(["a", "b"], weight=0), "teach 'a-b': expected weight to be more than 0, got 0"),
        (Teach(["a", "b"], temperature=-1), "expected temperature to be more than 0, got -1"),
        (Teach(["a", "b"], learner_temperature=0), "expected learner_temperature to be more than 0, got 0"),
        (Teach(["a", "b"], landmarks=1), "expected 2 landmarks or more, or 0 for all, got 1"),
        (Teach(["c", "b"]), "c learns by way of its pair with the pivot, and p-c is not trained"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(teach, sentence):
    assert sentence in refused(teach)


def test_one_that_is_listed_twice_is_refused_and_another_direction_or_form_is_another():
    twice = refused(Teach(["a", "b"]), Teach(["a", "b"], weight=2))
    assert "teach 'a-b' is listed twice with the form proxy: keep one of the two" in twice
    others = [Teach(["a", "b"]), Teach(["b", "a"]), Teach(["a", "b"], form=TeachForm.sample)]
    check_teach(TrainRun(pivot="p", modality=dict.fromkeys("pab"), teach=others), STAR)


def resolved(*stages: StageSettings):
    return resolve(stages, STAR[:2], "p", [{"p", "a", "b"}], [1.0])


FIRST, REST = StageSettings("first", 2, ["p-b"]), StageSettings("rest", 2, ["rest"], freeze=["done"])


def check(*stages: StageSettings, known=()) -> None:
    check_stages("teach 'a-b'", "a", "b", "p", resolved(*stages), known)


def test_the_teacher_has_to_stand_still_and_to_have_learned_before():
    check(FIRST, REST)
    with pytest.raises(UserError, match="p is trained in stage 'joint' as well, and what teaches has to stand still"):
        check(StageSettings("joint", 2))
    with pytest.raises(UserError, match="b is trained in stage 'joint' as well"):
        check(FIRST, StageSettings("joint", 2, freeze=["p"]))
    early = StageSettings("early", 2, ["p-a"], freeze=["p"])
    with pytest.raises(UserError, match="before stage 'early' p has learned nothing that it could teach"):
        check(early, FIRST)
    with pytest.raises(UserError, match="before stage 'early' b has learned nothing"):
        check(early, FIRST, known={"p"})
    check(early, FIRST, known={"p", "b"})
