"""The protocol that two comparable reports share: the pool, the modalities, the templates, k and the tie rule."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from bindspace.settings import BenchmarkSettings

if TYPE_CHECKING:
    from bindspace.data import Pool

TIES = "pessimistic"
PRIMARY = 10  # the k of Holm's family, of legs and of the heat map


def primary(k: Sequence[int]) -> int:
    """The k of the primary metric: 10, or the largest that is configured."""
    return PRIMARY if PRIMARY in k else max(k)


def protocol_hash(pool: Pool, modalities: Sequence[str], attributes: Sequence[str], settings: BenchmarkSettings) -> str:
    """SHA-256 of the ordered pool (ids, contents, groups, attribute values), modalities, templates, k and ties.

    It does not depend on the space: two spaces measured alike have the same hash. Hexadecimal.
    """
    said = {
        "ids": list(pool.ids),
        "groups": list(pool.groups),
        "items": [[name, [[item.digest.hex(), list(item.event)] for item in pool.items[name]]] for name in modalities],
        "attributes": [[name, [_plain(value) for value in pool.attributes[name]]] for name in attributes],
        "templates": {name: list(settings.templates[name]) for name in sorted(settings.templates)},
        "k": sorted(set(settings.k)),
        "ties": TIES,
    }
    text = json.dumps(said, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def describe(
    pool: Pool, modalities: Sequence[str], attributes: Sequence[str], settings: BenchmarkSettings
) -> dict[str, Any]:
    """The `protocol` part of a report."""
    return {
        "pool": len(pool.ids),
        "left_out": pool.left_out,
        "bad": len(pool.bad),
        "modalities": list(modalities),
        "k": sorted(set(settings.k)),
        "primary_k": primary(settings.k),
        "ties": TIES,
        "score": "float32",
        "permutations": settings.permutations,
        "seed": settings.seed,
        "templates": {name: list(each) for name, each in settings.templates.items()},
        "hash": protocol_hash(pool, modalities, attributes, settings),
    }


def _plain(value: Any) -> str | None:
    return None if value is None else str(value)
