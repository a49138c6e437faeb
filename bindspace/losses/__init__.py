"""Losses: pure functions of tensors, exact and without the matrix of similarities. Torch only."""

from bindspace.losses.contrastive import info_nce
from bindspace.losses.distillation import perplexity, placed, proxies, sampled
from bindspace.losses.hubness import hub_direction
from bindspace.losses.monitoring import hit_rate, mean_negatives
from bindspace.losses.plain import content_keys, info_nce_plain, siglip_plain
from bindspace.losses.sigmoid import siglip
from bindspace.losses.volume import gram, volumes

__all__ = [
    "content_keys",
    "gram",
    "hit_rate",
    "hub_direction",
    "info_nce",
    "info_nce_plain",
    "mean_negatives",
    "perplexity",
    "placed",
    "proxies",
    "sampled",
    "siglip",
    "siglip_plain",
    "volumes",
]
