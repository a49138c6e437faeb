"""Every installed modality keeps the contract: a plugin in the tree is tested by existing."""

from __future__ import annotations

from functools import cache

import pytest

from bindspace import registry
from bindspace.testing import all_checks
from bindspace.testing.kit import FAILED, NOT_APPLICABLE, run_check
from bindspace.testing.subject import Subject

subject = cache(Subject)  # what the checks of a plugin share is built once


@pytest.mark.parametrize("check", all_checks(), ids=lambda check: check.name)
@pytest.mark.parametrize("name", registry.installed())
def test_it_keeps_the_contract(name, check):
    result = run_check(check, subject(name))
    if result.outcome == NOT_APPLICABLE:
        pytest.skip(result.note)
    assert result.outcome != FAILED, str(result)
