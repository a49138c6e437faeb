"""Errors for users: one sentence with what was expected, what was found, and the next step."""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(ValueError):
    """A user error. The command line prints its message without a traceback and exits with 2."""


class AbsentError(UserError):
    """Missing files that the user has to download; the message names the source and the folder."""


class PluginError(UserError):
    """A plugin that is missing, fails to load, or violates the contract."""


def unknown(kind: str, name: str, options: Iterable[str], hint: str = "") -> str:
    """The message for an unknown name: the closest name, the available names, and a hint.

    >>> unknown("modality", "audoi", ["audio", "text"])
    "unknown modality 'audoi': did you mean 'audio'? (available: audio, text)"
    """
    options = sorted(options)
    close = get_close_matches(name, options, n=1, cutoff=0.5)
    listing = f"available: {', '.join(options)}" if options else "none available"
    answer = f"did you mean {close[0]!r}? ({listing})" if close else listing
    return f"unknown {kind} {name!r}: {answer}{'; ' + hint if hint else ''}"
