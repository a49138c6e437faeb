"""Each check of the kit passes a plugin that keeps the contract, and finds the one that breaks it, with its line."""

from __future__ import annotations

import linecache

import pytest
from broken import BROKEN

from bindspace.contract.errors import PluginError
from bindspace.testing import all_checks, check_modality
from bindspace.testing.kit import FAILED, NOT_APPLICABLE, PASSED, WIDTH, run_check
from bindspace.testing.training_checks import least_beyond_chance

CHECKS = {check.name: check for check in all_checks()}


@pytest.mark.parametrize("name", CHECKS)
def test_a_plugin_that_keeps_the_contract_passes(thing, name):
    result = run_check(CHECKS[name], thing())
    assert result.outcome == PASSED, str(result)


@pytest.mark.parametrize(
    ("name", "old", "new", "said", "line"), BROKEN, ids=[f"{b[0]}-{i}" for i, b in enumerate(BROKEN)]
)
def test_one_that_breaks_it_is_found_with_the_line_to_look_at(thing, name, old, new, said, line):
    result = run_check(CHECKS[name], thing(old, new))
    assert result.outcome == FAILED, str(result)
    assert said in result.note
    file, _, number = result.place.rpartition(":")
    assert "bindspace_thing" in file
    linecache.checkcache()
    assert line in linecache.getline(file, int(number))


def test_the_names_of_all_broken_checks_are_checks_and_every_check_was_broken_once():
    assert {name for name, *_ in BROKEN} == set(CHECKS)
    assert max(map(len, CHECKS)) == WIDTH


@pytest.mark.parametrize(("n", "chance", "accident", "needed"), [(1, 0.5, 0.5, 1), (2, 0.5, 0.25, 2), (2, 0.5, 0.2, 3)])
def test_what_lies_beyond_chance_by_hand(n, chance, accident, needed):
    assert least_beyond_chance(n, chance, accident) == needed


def test_what_lies_beyond_chance_agrees_with_scipy():
    binom = pytest.importorskip("scipy.stats").binom
    needed = least_beyond_chance(60, 0.1, 1e-6)
    assert binom.sf(needed - 1, 60, 0.1) <= 1e-6 < binom.sf(needed - 2, 60, 0.1)


def test_one_mistake_is_told_once(thing):
    subject = thing("        time = np", "        raise KeyError('time')\n        time = np")
    results = {
        name: run_check(CHECKS[name], subject) for name in ("read_gives_one_answer", "rows_do_not_see_each_other")
    }
    assert [result.outcome for result in results.values()] == [FAILED, FAILED]
    later = run_check(CHECKS["padding_changes_nothing"], subject)
    assert later.outcome == NOT_APPLICABLE
    assert later.note == "cannot run before `rows do not see each other` is fixed"


def test_the_public_call_raises_with_every_failure(thing):
    thing('Image.new("L", (len(sample), 8))', "sample")
    with pytest.raises(AssertionError, match=r"thing: 1 of 27 checks failed\nFAIL  show draws a picture .*got ndarray"):
        check_modality("thing")


def test_small_settings_are_checked_by_name(thing):
    with pytest.raises(PluginError, match=r"unknown setting of thing \(in its `small`, or given\) 'wdith': did you"):
        thing('small: ClassVar[dict] = {"width": 8}', 'small: ClassVar[dict] = {"wdith": 8}')


def test_what_cannot_be_exported_may_say_so(thing):
    subject = thing(
        "    width: int = 10", '    not_exportable: ClassVar[str] = "it reads a clock"\n    width: int = 10'
    )
    result = run_check(CHECKS["torch_export_takes_it"], subject)
    assert (result.outcome, result.note) == (NOT_APPLICABLE, "stated: it reads a clock")
