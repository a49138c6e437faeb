"""Settings that were removed, and what replaces them: a config of an older version is answered with the new one."""

from __future__ import annotations

MOVED = {
    "teach": "write terms=[{use: distillation, of: [STUDENT,OTHER]}]",
    "loss.kind": "write loss=siglip, or loss=learned",
    "loss.hubs": "write callbacks=[hubness] callbacks.hubness.of=NAME",
    "loss.bias": "it belongs to loss=siglip",
    "loss.soft": "soft targets gained nothing (docs/LOG.md): leave it out",
    "loss.mask_above": "masks by similarity gained nothing (docs/LOG.md): leave it out",
    "loss.subspace": "it gained nothing (docs/LOG.md): leave it out",
    "loss.centroid": "it gained nothing (docs/LOG.md): leave it out",
    "loss.noise": "noise on the pivot gained nothing (docs/LOG.md): leave it out",
    "loss.bank": "the memory bank was removed: raise data.batch and set trainer.micro_batch",
    "loss.local": "the loss is that of the global batch on every rank: leave it out",
    "data.views": "augmented views of frozen towers gained nothing (docs/LOG.md): leave it out",
}


def moved_key(key: str) -> str | None:
    """The sentence for a setting that was removed, None for one that never existed."""
    for old, now in MOVED.items():
        if key == old or key.startswith((f"{old}.", f"{old}[")):
            return f"the setting {old} was removed: {now}"
    return None
