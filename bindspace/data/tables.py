"""The files a manifest may be: JSON lines, CSV and Parquet, read into rows (dicts without missing cells) and written.

CSV holds text only. An empty cell is missing; a cell that is a JSON list (`["a ball", "a thud"]`) is a list of
alternatives; a column with a dot in its name (`audio.rate`) is info for `read`, and its numbers and true/false are
parsed. Everything else stays text: an id `007` keeps its zeros, and a caption `42` is a caption.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bindspace.contract import UserError
from bindspace.data.shards import INDEX
from bindspace.io.files import write_bytes

SUFFIXES = (".jsonl", ".csv", ".parquet")

Row = dict[str, Any]


def missing(value: Any) -> bool:
    """Whether a cell is missing: null, or NaN as written by data frames."""
    return value is None or (isinstance(value, float) and value != value)


def alternatives(value: Any) -> list[Any]:
    """The content of a cell as a list: empty, one value, or several alternatives for the same event."""
    if missing(value):
        return []
    if isinstance(value, (list, tuple)):
        return [item for item in value if not missing(item)]
    return [value]


def find_manifest(path: str | Path) -> Path:
    """The manifest file of a path: itself, `manifest.*` in the folder, or the one beside an index of shards.

    Raises `UserError`.
    """
    path = Path(path).expanduser()
    if path.name == INDEX and path.is_file():
        path = path.parent
    if path.is_dir():
        names = [f"manifest{suffix}" for suffix in SUFFIXES]
        found = [path / name for name in names if (path / name).is_file()]
        if not found:
            verb = "shard tars='*.tar'" if any(path.glob("*.tar")) else "manifest"
            raise UserError(
                f"no manifest in the folder {path}: looked for {', '.join(names)}; `bindspace {verb}` writes one"
            )
        if len(found) > 1:
            raise UserError(
                f"{path} holds {' and '.join(file.name for file in found)}: give the path of the one to read"
            )
        return found[0].resolve()
    if path.suffix not in SUFFIXES:
        raise UserError(
            f"expected a manifest that ends in {', '.join(SUFFIXES)} or a folder that holds one, got {path}"
        )
    if not path.is_file():
        raise UserError(f"no manifest at {path}: looked in {path.parent.absolute()}; `bindspace manifest` writes one")
    return path.resolve()


def parse_table(content: bytes, path: Path) -> tuple[list[Row], list[str]]:
    """The rows of a manifest's bytes, missing cells left out, and its columns in order. Raises `UserError`."""
    parse = {".jsonl": _parse_jsonl, ".csv": _parse_csv, ".parquet": _parse_parquet}[path.suffix]
    rows = parse(content, path)
    if not rows:
        raise UserError(f"{path} is empty: a manifest needs at least one row, see `bindspace manifest --help`")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    return [{key: value for key, value in row.items() if not missing(value)} for row in rows], columns


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise UserError(f"{path}, line {line} is not UTF-8: save the manifest as UTF-8") from error


def _parse_jsonl(content: bytes, path: Path) -> list[Row]:
    rows = []
    for number, line in enumerate(_text(content, path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {number} is not JSON ({error}): each line is one object") from error
        if not isinstance(row, dict):
            raise UserError(
                f"{path}, line {number}: expected a JSON object with columns as keys, got {type(row).__name__}"
            )
        rows.append(row)
    return rows


def _parse_csv(content: bytes, path: Path) -> list[Row]:
    lines = csv.reader(io.StringIO(_text(content, path), newline=""), strict=True)
    rows: list[Row] = []
    header: list[str] = []
    try:
        for cells in lines:
            if not cells:
                continue
            if not header:
                header = _checked_header(cells, path)
                continue
            if len(cells) != len(header):
                raise UserError(
                    f"{path}, line {lines.line_num} has {len(cells)} cells and the header {len(header)}: "
                    "quote cells that hold commas"
                )
            rows.append({name: _csv_value(name, cell) for name, cell in zip(header, cells)})
    except csv.Error as error:
        raise UserError(f"{path}, line {lines.line_num} is not CSV ({error}): check its quotes") from error
    return rows


def _checked_header(names: list[str], path: Path) -> list[str]:
    twice = [name for name in names if names.count(name) > 1]
    if twice:
        raise UserError(f"{path} has two columns named {twice[0]!r}: for alternatives write a JSON list into one cell")
    return names


def _csv_value(column: str, cell: str) -> Any:
    if cell == "":
        return None
    if cell.startswith("[") and cell.endswith("]"):
        return _json_or_text(cell, (list,))
    return _json_or_text(cell, (int, float, bool)) if "." in column else cell


def _json_or_text(cell: str, kinds: tuple[type, ...]) -> Any:
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        return cell
    return value if isinstance(value, kinds) else cell


def _parse_parquet(content: bytes, path: Path) -> list[Row]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_table(pa.BufferReader(content)).to_pylist()
    except (pa.ArrowException, OSError) as error:
        first = str(error).splitlines()[0]
        raise UserError(f"{path} is not a readable Parquet file ({first}): write it again") from error


def write_manifest(rows: Iterable[Mapping[str, Any]], path: str | Path) -> Path:
    """Writes rows as `.jsonl`, `.csv` or `.parquet`, by the path's suffix, whole or not at all."""
    path = Path(path)
    return write_bytes(path, table_bytes([dict(row) for row in rows], path))


def table_bytes(rows: Sequence[Row], path: Path) -> bytes:
    """The bytes of a manifest: equal rows give equal bytes. Raises `UserError`."""
    if path.suffix not in SUFFIXES:
        raise UserError(f"expected a path that ends in {', '.join(SUFFIXES)}, got {path}")
    columns = list(dict.fromkeys(key for row in rows for key in row))
    if path.suffix == ".jsonl":
        return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    return (_csv_bytes if path.suffix == ".csv" else _parquet_bytes)(rows, columns)


def _csv_bytes(rows: Sequence[Row], columns: list[str]) -> bytes:
    out = io.StringIO(newline="")
    writer = csv.writer(out)  # line end CR LF (RFC 4180); with LF it would leave a lone CR in a cell unquoted
    writer.writerow(columns)
    writer.writerows([_csv_cell(row.get(name)) for name in columns] for row in rows)
    return out.getvalue().encode()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, (list, tuple, bool)):
        return json.dumps(value, ensure_ascii=False)
    return "" if missing(value) else value


def _parquet_bytes(rows: Sequence[Row], columns: list[str]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    cells = {name: [row.get(name) for row in rows] for name in columns}
    for name, values in cells.items():
        if any(isinstance(value, (list, tuple)) for value in values):  # a Parquet column has one type
            cells[name] = [None if missing(value) else alternatives(value) for value in values]
    sink = io.BytesIO()
    try:
        parquet.write_table(pa.table(cells), sink)
    except pa.ArrowException as error:
        raise UserError(f"a Parquet column holds one type only ({error}): write .jsonl instead") from error
    return sink.getvalue()
