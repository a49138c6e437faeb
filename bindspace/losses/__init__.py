"""Losses: pure functions of tensors."""

from bindspace.losses.contrastive import content_keys, info_nce

__all__ = ["content_keys", "info_nce"]
