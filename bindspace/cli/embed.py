"""`bindspace embed`: the vectors of files, texts, or a column of a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bindspace.cli.arguments import need, settings, split, texts
from bindspace.contract import UserError, unknown
from bindspace.io.files import check_place

if TYPE_CHECKING:
    from torch import Tensor

    from bindspace.space import Space

OWN = ["space", "out", "data", "modality", "batch_size", "device", "cache"]
SUFFIXES = [".safetensors", ".npz"]
HELP = """\
usage: bindspace embed space=DIR 'MODALITY=[ITEM,...]' ... out=FILE
       bindspace embed space=DIR data=manifest.jsonl 'modality=[NAME,...]' out=FILE

Writes unit vectors (N, dim) in float32 by modality. out=FILE.safetensors stores the names of the items as JSON in its
metadata; out=FILE.npz stores them as arrays MODALITY.items.

  batch_size=64   items per batch
  device=auto     cpu, cuda, ...; auto is a GPU if available
  cache=DIR       with data=: a folder for cached embeddings, reused by later calls

examples:
  bindspace embed space=runs/latest/space 'audio=[bark.flac,rain.wav]' 'text=["a dog"]' out=z.npz
  bindspace embed space=S data=my/manifest.jsonl modality=audio out=z.npz"""


def run(arguments: list[str]) -> int:
    """`bindspace embed space=DIR 'MODALITY=[ITEM,...]' out=FILE`."""
    given = split(arguments)
    if given.help:
        print(HELP)
        return 0
    values = settings(given.overrides, None, "embed")
    folder = Path(str(need(values, "space", "space=DIR, the `space` folder of a run")))
    out = Path(str(need(values, "out", "out=vectors.safetensors")))
    if out.suffix not in SUFFIXES:
        raise UserError(f"out={out}: expected a name that ends in {' or '.join(SUFFIXES)}")
    batch_size = values.get("batch_size", 64)
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"batch_size: expected a whole number of 1 or more, got {batch_size!r}")
    items = {name: [str(item) for item in texts(value)] for name, value in values.items() if name not in OWN}
    if "data" not in values and not items:
        raise UserError("nothing to embed: write e.g. 'audio=[a.flac,b.flac]', or data=manifest.jsonl modality=audio")
    if "data" in values and items:
        raise UserError(f"data= and {next(iter(items))}= exclude each other: embed a manifest, or items")
    if "cache" in values and items:
        raise UserError("cache= works only with data=, whose cells have hashes: leave it out for single items")
    check_place(out.parent)
    _known(folder, [*items, *texts(values.get("modality", []))])
    vectors, names = _embed(folder, items, values, batch_size)
    _write(vectors, names, out)
    print(f"{out}: " + ", ".join(f"{name} {tuple(vector.shape)}" for name, vector in vectors.items()))
    return 0


def _known(folder: Path, names: list[Any]) -> None:
    """Raises `UserError` for a misspelt space or modality, before torch is imported."""
    if not (folder / "space.json").is_file():
        raise UserError(f"space={folder} holds no space.json: give the `space` folder of a run")
    try:
        held = json.loads((folder / "space.json").read_text(encoding="utf-8"))["modalities"]
        known = [str(name) for name in held]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return  # damaged: loading the space reports it
    for name in names:
        if name not in known:
            raise UserError(unknown("modality of this space", str(name), known))


def _embed(
    folder: Path, items: dict[str, list[str]], values: dict[str, Any], batch_size: int
) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    from bindspace.cli.benchmark import device
    from bindspace.space import load

    names = list(items) or texts(values.get("modality", [])) or None
    space = load(folder, modalities=names, device=device(str(values.get("device", "auto"))))
    if items:
        return space.embed(batch_size=batch_size, **items), items
    cache = Path(str(values["cache"])) if values.get("cache") is not None else None
    return _of_manifest(space, str(values["data"]), batch_size, cache)


def _of_manifest(
    space: Space, path: str, batch_size: int, cache: Path | None
) -> tuple[dict[str, Tensor], dict[str, list[str]]]:
    """Each distinct content of each modality with a column in the manifest, named by the ids of its events."""
    import torch

    from bindspace.benchmark.measure import shared
    from bindspace.contract import Source
    from bindspace.data import load_pool
    from bindspace.vectors import embed_items, open_caches

    source = Source(path)
    vectors, names = {}, {}
    chosen = shared(space, [source])
    if not chosen:
        raise UserError(f"{path} has no column of a modality of this space ({', '.join(space.modalities)}): name it so")
    for name in chosen:  # one at a time, since a pool holds only the events that have all of its modalities
        pool = load_pool([source], space.configs, [name])
        vectors[name] = torch.cat(list(embed_items(space, pool, name, batch_size, open_caches(space, [name], cache))))
        names[name] = [" ".join(pool.ids[event] for event in item.event) for item in pool.items[name]]
    return vectors, names


def _write(vectors: dict[str, Tensor], names: dict[str, list[str]], out: Path) -> None:
    from bindspace.io.files import write_bytes

    if out.suffix == ".safetensors":
        from safetensors.torch import save

        metadata = {f"{name}.items": json.dumps(items, ensure_ascii=False) for name, items in names.items()}
        write_bytes(out, save({name: vector.contiguous() for name, vector in vectors.items()}, metadata))
        return
    from io import BytesIO

    import numpy as np

    arrays: dict[str, Any] = {name: vector.numpy() for name, vector in vectors.items()}
    arrays |= {f"{name}.items": np.array(items) for name, items in names.items()}
    buffer = BytesIO()
    np.savez(buffer, **arrays)
    write_bytes(out, buffer.getvalue())
