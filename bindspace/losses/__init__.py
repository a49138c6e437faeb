"""Losses: functions of tensors, exact and without the matrix of similarities."""

from bindspace.losses.contrastive import info_nce
from bindspace.losses.plain import Bank, content_keys, info_nce_plain, siglip_plain
from bindspace.losses.sigmoid import siglip
from bindspace.losses.transitive import transitive

__all__ = ["Bank", "content_keys", "info_nce", "info_nce_plain", "siglip", "siglip_plain", "transitive"]
