"""Losses: functions of tensors, exact and without the matrix of similarities."""

from bindspace.losses.contrastive import info_nce
from bindspace.losses.plain import content_keys, info_nce_plain, siglip_plain
from bindspace.losses.sigmoid import siglip

__all__ = ["content_keys", "info_nce", "info_nce_plain", "siglip", "siglip_plain"]
