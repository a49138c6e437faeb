"""`bindspace shard`: a manifest and its media as tar shards, or an index of tar shards that are there."""

from __future__ import annotations

from pathlib import Path

from bindspace.cli.arguments import need, settings, split, texts
from bindspace.contract import UserError

KNOWN = ["manifest", "out", "size", "modality", "root", "tars", "columns"]
HELP = """\
usage: bindspace shard manifest=MANIFEST out=DIR [size=256] ['modality=[NAME,...]'] [root=DIR]
       bindspace shard 'tars=PATTERN' out=DIR ['columns={jpg: image, txt: text}']

Writes the rows of a manifest and their files into tar shards, with an index; a source {path: DIR} then reads them like
the files themselves, equal batches included. Or indexes shards that another tool wrote, where they are.

  manifest=PATH    a .jsonl, .csv or .parquet file, or a folder that holds manifest.*
  out=DIR          an empty or new folder; of tars=, their folder or one above
  size=256         MiB a shard; a row that is larger gets a shard of its own
  modality=[...]   only the columns of these modalities; all otherwise
  root=DIR         what paths in the manifest are relative to; its folder otherwise
  tars=PATTERN     uncompressed tar files, e.g. 'shards/*.tar'
  columns={...}    which column a key of a sample is: what follows the first dot of a member's name

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
        raise UserError("expected manifest=... to write shards, or tars=... to index those that are there: give one")
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
