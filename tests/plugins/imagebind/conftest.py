"""Tests of full-size towers take minutes and gigabytes: they run when they are asked for, with `-m huge`."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips those of the mark `huge` unless the expression of `-m` names it."""
    if "huge" not in (config.getoption("markexpr") or ""):
        for item in items:
            if item.get_closest_marker("huge"):
                item.add_marker(pytest.mark.skip(reason="full size: ask for it with -m huge"))
