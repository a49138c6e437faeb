"""Cached embeddings of frozen encoders: their key, the cache on disk, and computing them once."""

from bindspace.vectors.cache import VectorCache, cache_keys
from bindspace.vectors.embedding import cache_vectors, embed_items, open_caches
from bindspace.vectors.key import TRAINING_ONLY, TowerKey, raw_bytes, tower_hash, tower_key

__all__ = [
    "TRAINING_ONLY",
    "TowerKey",
    "VectorCache",
    "cache_keys",
    "cache_vectors",
    "embed_items",
    "open_caches",
    "raw_bytes",
    "tower_hash",
    "tower_key",
]
