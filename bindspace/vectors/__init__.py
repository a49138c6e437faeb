"""Vectors of towers: what they depend on, where they are kept, and how they are computed once."""

from bindspace.vectors.cache import VectorCache, content_keys
from bindspace.vectors.embedding import cache_vectors, embed_items, open_caches
from bindspace.vectors.key import TRAINING_ONLY, TowerKey, raw_bytes, tower_hash, tower_key

__all__ = [
    "TRAINING_ONLY",
    "TowerKey",
    "VectorCache",
    "cache_vectors",
    "content_keys",
    "embed_items",
    "open_caches",
    "raw_bytes",
    "tower_hash",
    "tower_key",
]
