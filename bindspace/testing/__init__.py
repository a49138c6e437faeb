"""The conformance kit: checks of the requirements for modality plugins, which anyone can run.

`bindspace check NAME` prints them, `pytest --bindspace NAME` runs each as a test, and in your own tests:

>>> from bindspace.testing import check_modality
>>> check_modality("tactile")  # doctest: +SKIP
"""

from __future__ import annotations

from typing import Any

from bindspace.testing.kit import FAILED, Check, Result, run_check

__all__ = ["Check", "Result", "all_checks", "check_modality"]


def all_checks() -> list[Check]:
    """The checks in order of execution. Imports torch."""
    from bindspace.testing import data_checks, encoder_checks, training_checks

    return [*data_checks.CHECKS, *encoder_checks.CHECKS, *training_checks.CHECKS]


def check_modality(name: str, **settings: Any) -> list[Result]:
    """Runs all checks on the installed plugin `name`, built with its `small` settings, overridden by these settings.

    Returns the results. Raises `AssertionError` with the failures, each with a line of the plugin, or `PluginError` if
    the plugin is missing or does not load.
    """
    from bindspace.testing.subject import Subject

    subject = Subject(name, settings)
    results = [run_check(check, subject) for check in all_checks()]
    failures = [str(result) for result in results if result.outcome == FAILED]
    if failures:
        raise AssertionError("\n".join([f"{name}: {len(failures)} of {len(results)} checks failed", *failures]))
    return results
