"""Writes packages as if pip had installed them."""

from __future__ import annotations

from pathlib import Path

from bindspace.contract import registry


def write_distribution(folder: Path, package: str, version: str, **modalities: str) -> None:
    """Writes the metadata of an installed package with these entry points, `name="module:attribute"`."""
    info = folder / f"{package.replace('-', '_')}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
    lines = [f"{name} = {value}" for name, value in modalities.items()]
    (info / "entry_points.txt").write_text("\n".join([f"[{registry.MODALITIES}]", *lines, ""]))
