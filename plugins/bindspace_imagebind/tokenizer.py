"""CLIP's tokenizer: byte-level byte-pair encoding (Sennrich et al. 2016) over lower-case text.

The table of merges is the one that open_clip's wheel carries (OpenAI's, MIT); open_clip itself is not imported.
"""

from __future__ import annotations

import gzip
import html
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from bindspace import UserError

START, END = "<|startoftext|>", "<|endoftext|>"
MERGES = 49152 - 256 - 2  # what is used of the table, whose first line is a title
LENGTH = 77
# Special tokens, contractions, runs of letters, single digits, runs of anything else.
PIECES = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"


def tokenize(texts: Sequence[str]) -> Tensor:
    """Ids (B, 77) int64: start, at most 75 ids, end, zeros. Built once per process; repeated words are looked up."""
    tokenizer = _tokenizer()
    ids = torch.zeros(len(texts), LENGTH, dtype=torch.int64)
    for row, text in zip(ids, texts):
        found = [tokenizer.ids[START], *tokenizer.encode(text)][: LENGTH - 1]
        row[: len(found) + 1] = torch.tensor([*found, tokenizer.ids[END]])
    return ids


@cache
def _tokenizer() -> Tokenizer:
    try:
        import ftfy
        import regex
    except ImportError as error:
        raise _not_installed() from error
    package = find_spec("open_clip")
    if package is None or package.origin is None:
        raise _not_installed()
    table = Path(package.origin).parent / "bpe_simple_vocab_16e6.txt.gz"
    lines = gzip.decompress(table.read_bytes()).decode().split("\n")[1 : MERGES + 1]
    merges = [(first, second) for first, second in (line.split() for line in lines)]
    return Tokenizer(merges, ftfy.fix_text, regex.compile(PIECES, regex.IGNORECASE).findall)


def _not_installed() -> UserError:
    return UserError("text_imagebind needs the vocabulary of open_clip: pip install 'bindspace[clip]'")


class Tokenizer:
    """Ids of a text by a ranked list of merges. `fix` repairs Unicode, `split` cuts cleaned text into pieces."""

    def __init__(
        self, merges: list[tuple[str, str]], fix: Callable[[str], str], split: Callable[[str], list[str]]
    ) -> None:
        self.letters = byte_letters()
        letters = list(self.letters.values())
        words = [*letters, *(f"{letter}</w>" for letter in letters), *(a + b for a, b in merges), START, END]
        self.ids = {word: i for i, word in enumerate(words)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.fix, self.split = fix, split
        self.piece = lru_cache(maxsize=65536)(self._piece)  # captions repeat their words

    def encode(self, text: str) -> list[int]:
        """The ids of a text, without start and end."""
        text = html.unescape(html.unescape(self.fix(text)))
        return [i for piece in self.split(" ".join(text.split()).lower()) for i in self.piece(piece)]

    def _piece(self, piece: str) -> tuple[int, ...]:
        if piece in (START, END):
            return (self.ids[piece],)
        parts = [self.letters[byte] for byte in piece.encode()]
        parts[-1] += "</w>"
        while len(parts) > 1:
            pair = min(pairwise(parts), key=lambda pair: self.ranks.get(pair, MERGES))
            if pair not in self.ranks:
                break
            parts = merged(parts, pair)
        return tuple(self.ids[part] for part in parts)


def merged(parts: list[str], pair: tuple[str, str]) -> list[str]:
    """The parts with each occurrence of the pair joined, from left to right."""
    joined: list[str] = []
    for part in parts:
        if joined and (joined[-1], part) == pair:
            joined[-1] += part
        else:
            joined.append(part)
    return joined


def byte_letters() -> dict[int, str]:
    """A printable letter for each byte: itself where it is one, otherwise the letters from 256 on, in order."""
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in own]
    return {byte: chr(byte) for byte in own} | {byte: chr(256 + i) for i, byte in enumerate(others)}
