"""Checks, their execution, and the location of a failure in the plugin. Standard library only."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from bindspace.testing.subject import Subject

PASSED, FAILED, NOT_APPLICABLE = "ok", "FAIL", "n.a."


class Failed(Exception):
    """The failure of a check, in a sentence."""


class NotApplicable(Exception):
    """Why a check does not apply to this plugin."""


@dataclass(frozen=True)
class Check:
    """One requirement of the contract: its name, its reason, the member of the plugin that it tests, and the test.

    `run` returns a note for the report or None, and raises `Failed`, `NotApplicable`, or what the plugin raised.
    """

    name: str
    why: str
    part: str
    run: Callable[[Subject], str | None]


@dataclass(frozen=True)
class Result:
    """The result of a check: `ok`, `FAIL` or `n.a.`, a note, and for a failure the file and line."""

    check: Check
    outcome: str
    note: str = ""
    place: str = ""

    def __str__(self) -> str:
        """A line for the report; a failure has three."""
        line = f"{self.outcome:<4}  {self.check.name.replace('_', ' '):<{WIDTH}}"
        if self.outcome != FAILED:
            return f"{line}  {self.note or self.check.why}"
        return f"{line}  {self.note}\n{'':6}why: {self.check.why}\n{'':6}look at: {self.place}"


WIDTH = 34  # of the longest name of a check


def checked(part: str, checks: list[Check]) -> Callable[[Callable[[Subject], str | None]], Check]:
    """Adds a function to a list of checks: its name is the check's name, its docstring the reason."""

    def register(function: Callable[[Subject], str | None]) -> Check:
        why = " ".join((function.__doc__ or "").split()).rstrip(".")
        checks.append(Check(function.__name__, why, part, function))
        return checks[-1]

    return register


def expect(true: object, otherwise: str) -> None:
    """Raises `Failed` with the sentence unless the condition is true. (`python -O` would remove an `assert`.)"""
    if not true:
        raise Failed(otherwise)


def not_applicable(reason: str) -> NoReturn:
    """Ends a check that does not apply to this plugin."""
    raise NotApplicable(reason)


def run_check(check: Check, subject: Subject) -> Result:
    """Runs one check with a fixed seed of torch's random generator, which is restored afterwards."""
    import torch

    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return Result(check, PASSED, check.run(subject) or "")
    except NotApplicable as reason:
        return Result(check, NOT_APPLICABLE, str(reason))
    except Exception as error:  # a plugin may raise anything
        if (told := next((name for earlier, name in subject.told if earlier is error), None)) is not None:
            return Result(check, NOT_APPLICABLE, f"cannot run before `{told}` is fixed")
        subject.told.append(
            (error, check.name.replace("_", " "))
        )  # keeps a reference, so that no later error has the same id
        note = str(error) if isinstance(error, Failed) else f"{type(error).__name__}: {error}"
        return Result(check, FAILED, " ".join(note.split()), place_of(error, check.part, subject))


def place_of(error: Exception, part: str, subject: Subject) -> str:
    """`file:line` of the plugin's own code: where it raised, else the member that the check tests, or the class."""
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if subject.owns(frame.filename)]
    if own:
        return f"{own[-1].filename}:{own[-1].lineno}"
    config_class = type(subject.config)
    for member in (*subject.encoder_members(part), getattr(config_class, part, None), config_class):
        try:
            found = inspect.getsourcefile(inspect.unwrap(member))  # type: ignore[arg-type]
            line = inspect.getsourcelines(member)[1]  # type: ignore[arg-type]
        except (TypeError, OSError):
            continue
        if found is not None and subject.owns(found):
            return f"{Path(found)}:{line}"
    return inspect.getfile(config_class)
