"""Data: manifests, reading, batches, pools. Only `bindspace.data.module` imports Lightning."""

from bindspace.data.bad_rows import LISTING, BadRows
from bindspace.data.batch import BadRow, Batch, batch_of
from bindspace.data.cached import CachedVectors
from bindspace.data.dataset import TrainBatches
from bindspace.data.folders import build_manifest
from bindspace.data.manifest import (
    Manifest,
    broken_pairs,
    cells_of,
    check_groups,
    split_validation,
    write_manifest,
)
from bindspace.data.pool import Item, Pool, load_pool
from bindspace.data.reading import Column, Reader, evaluation_batches, read_cell
from bindspace.data.shard_index import index_tars
from bindspace.data.shard_writing import summary, write_shards
from bindspace.data.validation import ValidationBatches

__all__ = [
    "LISTING",
    "BadRow",
    "BadRows",
    "Batch",
    "CachedVectors",
    "Column",
    "Item",
    "Manifest",
    "Pool",
    "Reader",
    "TrainBatches",
    "ValidationBatches",
    "batch_of",
    "broken_pairs",
    "build_manifest",
    "cells_of",
    "check_groups",
    "evaluation_batches",
    "index_tars",
    "load_pool",
    "read_cell",
    "split_validation",
    "summary",
    "write_manifest",
    "write_shards",
]
