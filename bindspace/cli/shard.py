"""`bindspace shard`: writes a manifest and its media as tar shards, or indexes existing tar shards."""

from __future__ import annotations

from pathlib import Path

from bindspace.cli.arguments import need, settings, split, texts
from bindspace.contract import UserError

KNOWN = ["manifest", "out", "size", "modality", "root", "tars", "columns"]
HELP = """\
usage: bindspace shard manifest=MANIFEST out=DIR [size=256] ['modality=[NAME,...]'] [root=DIR]
       bindspace shard 'tars=PATTERN' out=DIR ['columns={jpg: image, txt: text}']

Writes the rows of a manifest and their files into tar shards, with an index; a source {path: DIR} then gives the same
batches as the loose files. With tars=, indexes shards of another tool in place.

  manifest=PATH    a .jsonl, .csv or .parquet file, or a folder that holds manifest.*
  out=DIR          an empty or new folder; with tars=, their folder or a parent of it
  size=256         MiB per shard; a larger row gets its own shard
  modality=[...]   only the columns of these modalities (default: all)
  root=DIR         base folder of the paths in the manifest (default: its own folder)
  tars=PATTERN     uncompressed tar files, e.g. 'shards/*.tar'
  columns={...}    maps keys of a sample (the part of a member's name after the first dot) to columns

examples:
  bindspace shard manifest=my/manifest.jsonl out=my-shards
  bindspace shard 'tars=cc3m/*.tar' 'columns={jpg: image, txt: text}' out=cc3m
  bindspace train data=manifest 'data.train=[{path: my-shards}]' 'modality=[image,text]'"""


def run(arguments: list[str]) -> int:
    """`bindspace shard manifest=MANIFEST out=DIR`, or `bindspace shard tars=PATTERN out=DIR`."""
    given = split(arguments)
    if given.help:
        print(HELP)
        return 0
    values = settings(given.overrides, KNOWN, "shard")
    out = Path(str(need(values, "out", "out=DIR")))
    if ("manifest" in values) == ("tars" in values):
        raise UserError("expected manifest=... to write shards, or tars=... to index existing shards: give one")
    other = [key for key in (["columns"] if "manifest" in values else ["size", "modality", "root"]) if key in values]
    if other:
        raise UserError(f"{other[0]} has no effect with {'manifest' if 'manifest' in values else 'tars'}: leave it out")
    return _write(values, out) if "manifest" in values else _index(values, out)


def _write(values: dict, out: Path) -> int:
    from bindspace.data import summary, write_shards

    size = values.get("size", 256)
    if isinstance(size, bool) or not isinstance(size, (int, float)):
        raise UserError(f"size: expected a number of MiB, got {size!r}")
    modalities = [str(name) for name in texts(values["modality"])] if "modality" in values else None
    root = str(values["root"]) if "root" in values else None
    done = write_shards(str(values["manifest"]), out, root=root, size_mib=size, modalities=modalities)
    print(summary(done, out))
    return 0


def _index(values: dict, out: Path) -> int:
    from bindspace.data import index_tars

    columns = values.get("columns", {})
    if not isinstance(columns, dict):
        raise UserError(f"columns: expected a mapping, got {columns!r}: write 'columns={{jpg: image, txt: text}}'")
    keys = {str(key): str(column) for key, column in columns.items()}
    rows = index_tars([str(pattern) for pattern in texts(values["tars"])], out, keys)
    print(f"{out}: {rows} rows")
    return 0
