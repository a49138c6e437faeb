"""Metrics: pure functions of vectors and ranks, for training and the benchmark. Torch only."""

from bindspace.metrics.intervals import central, chunks, holm, share_interval
from bindspace.metrics.permutation import Permutations, levels, pairing_test
from bindspace.metrics.retrieval import Positives, incidence, match, ranks, recall, scores

__all__ = [
    "Permutations",
    "Positives",
    "central",
    "chunks",
    "holm",
    "incidence",
    "levels",
    "match",
    "pairing_test",
    "ranks",
    "recall",
    "scores",
    "share_interval",
]
