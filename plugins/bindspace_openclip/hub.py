"""What lies on hubs: taken from their local caches, and fetched only where the running command asks for it.

A space may be a stranger's, and its `model` one whose tokenizer or text half is kept on the Hugging Face hub, so that
loading it would open a connection. The one who asks is `weights=fetch:TAG`: a space cannot carry that, since weights
are never saved into one, nor loaded from its settings. Standard library only until something is looked for.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bindspace import UserError

FETCH = "fetch:"  # before a pretrained tag in `weights`: it may be downloaded, with what its towers need beside it
URL_CACHE = Path("~/.cache/clip")  # where open_clip keeps what it fetched from a plain address


def asks_to_fetch(weights: str | None) -> bool:
    """Whether `weights` allows the network."""
    return weights is not None and weights.startswith(FETCH)


@contextmanager
def cached_only() -> Iterator[None]:
    """Within it the clients of the Hugging Face hub see their cache and no network, as under HF_HUB_OFFLINE=1."""
    from huggingface_hub import constants

    before, constants.HF_HUB_OFFLINE = constants.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before


@contextmanager
def of_the_hub(what: str, name: str | None, command: str, *, fetch: bool) -> Iterator[None]:
    """Within it nothing is fetched unless `fetch`. Where `name` is on the hub, what its client raises is a `UserError`.

    `what`: of which model, for the sentence. `command`: the line of Python that puts it into the cache.
    """
    try:
        with nullcontext() if fetch else cached_only():
            yield
    except Exception as error:  # the client raises all kinds of errors
        if not name:
            raise
        if fetch:
            raise UserError(
                f"{what} ({name}) cannot be fetched from the Hugging Face hub: {_first_line(error)}"
            ) from error
        raise UserError(
            f"{what} ({name}) is kept on the Hugging Face hub and not in its cache here, and nothing is fetched "
            f"unasked ({_first_line(error)}): run `python -c '{command}'` once, or choose a model that brings its own"
        ) from error


def pretrained_file(model: str, tag: str, said: Mapping[str, Any], *, fetch: bool) -> Path:
    """The file of one of open_clip's tags, of which it says `said`. Raises `UserError` where there is none.

    It is looked for in the caches of open_clip and the hub, and downloaded only with `fetch`.
    """
    import open_clip

    if not fetch and "file" not in said and not said.get("hf_hub"):
        place = (URL_CACHE / str(said.get("url", "")).rpartition("/")[2]).expanduser()
        if not place.is_file():
            raise _not_cached(model, tag)
        return place
    try:
        with nullcontext() if fetch else cached_only():
            return Path(open_clip.download_pretrained(dict(said)))
    except Exception as error:
        if not fetch:
            raise _not_cached(model, tag) from error
        raise UserError(
            f"the weights {tag!r} of {model} cannot be fetched ({_first_line(error)}): "
            "give a local file by weights=FILE"
        ) from error


def _not_cached(model: str, tag: str) -> UserError:
    return UserError(
        f"the weights {tag!r} of {model} are not in open_clip's cache, and nothing is fetched unasked: write "
        f"weights={FETCH}{tag} to download them, or give a local file by weights=FILE"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
