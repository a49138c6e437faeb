"""The split of captioned pictures that retrieval is measured on (Karpathy and Fei-Fei, CVPR 2015), and its captions."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

from bindspace import UserError

HOME = "https://cs.stanford.edu/people/karpathy/deepimagesent/caption_datasets.zip"
CAPTIONS = 5  # of a picture that count; a few of COCO's have six or seven


def karpathy_split(file: Path, splits: Collection[str], path: Sequence[str]) -> Iterator[tuple[str, list[str]]]:
    """The pictures of `dataset_*.json` in some of its splits: their path, made of these keys, and five captions."""
    for entry in read_json(file, "images"):
        try:
            if entry["split"] in splits:
                captions = [sentence["raw"].strip() for sentence in entry["sentences"]]
                yield "/".join(entry[key] for key in path), captions[:CAPTIONS]
        except (KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{file}: expected images with split, sentences, {', '.join(path)} ({error!r}): download it again"
            ) from error


def read_json(file: Path, key: str | None = None) -> Any:
    """The content of a JSON file, under `key` if one is given. Raises `UserError` if it is missing."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        return told if key is None else told[key]
    except (ValueError, KeyError, TypeError) as error:
        expected = "JSON" if key is None else f"JSON with {key!r} in it"
        raise UserError(f"{file}: expected {expected} ({error!r}): download it again") from error
