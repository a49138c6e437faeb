"""Errors that a person is meant to read: one sentence with what was expected, what came, and the next step."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A mistake of the user's. The command line prints its message without a traceback and exits with 2."""


class AbsentError(UserError):
    """Files of somebody else's that a person has to bring; the message says from where and into which folder."""


class PluginError(UserError):
    """A plugin that is missing, does not load, or breaks the contract."""


def unknown(kind: str, name: str, options: Iterable[str], hint: str = "") -> str:
    """The sentence for a name that nothing answers to: the closest name, the list, and a next step.

    >>> unknown("modality", "audoi", ["audio", "text"])
    "unknown modality 'audoi': did you mean 'audio'? (available: audio, text)"
    """
    options = sorted(options)
    close = get_close_matches(name, options, n=1, cutoff=0.5)
    guess = f" did you mean {close[0]!r}?" if close else ""
    listing = f" (available: {', '.join(options)})" if options else " (none available)"
    return f"unknown {kind} {name!r}:{guess}{listing}{'; ' + hint if hint else ''}"
