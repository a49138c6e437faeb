"""How a ledger is kept: two files, bound to each other and to the weights by SHA-256.

* `ledger.json` (schema 1), for people: towers, pairs with steps and examples, sources, declarations, statuses. It holds
  the hash of the weights, of `ledger.media`, and of its own body, so that an edit or a damaged copy is noticed. Anybody
  who wants to forge it can compute these hashes too.
* `ledger.media`: 8 bytes `BINDMEDI`, format version and digest size as uint32 (little endian, 1 and 32), then digests
  of 32 bytes. `{"first": i, "count": n}` in `ledger.json` names n of them from number i on, ascending and distinct.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bindspace.contract import UserError
from bindspace.io.files import inside, write_bytes, write_json
from bindspace.ledger.records import SIZE

SCHEMA = 1
JSON, MEDIA = "ledger.json", "ledger.media"
ABOUT = (
    "What contributed gradient to the weights beside this file, as recorded while training. It records and does not "
    "prove: it shows accidents and swapped files, not forgery."
)
HEADER = struct.pack("<8sII", b"BINDMEDI", 1, SIZE)
DAMAGE = (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError)  # what reading a spoilt one raises
_MAX_JSON = 64 << 20


def write(folder: str | Path, weights_sha256: str, record: Mapping[str, Any], media: np.ndarray) -> Path:
    """Writes both files for the weights of that hash, and returns the path of `ledger.json`."""
    data = HEADER + media.tobytes()
    write_bytes(Path(folder) / MEDIA, data)
    hashes = {"weights_sha256": weights_sha256, "media_sha256": hashlib.sha256(data).hexdigest()}
    body = {"schema": SCHEMA, "about": ABOUT, **hashes, **record}
    return write_json(Path(folder) / JSON, {**body, "body_sha256": _body_hash(body)})


def read(folder: str | Path, weights_sha256: str) -> tuple[dict[str, Any], np.ndarray]:
    """What `write` was given. Raises `UserError` with the reason where they are not of these weights, else `DAMAGE`."""
    path, media_path = inside(folder, JSON), inside(folder, MEDIA)
    for part in (path, media_path):
        if not part.is_file():
            raise UserError(f"there is no {part.name}")
    if path.stat().st_size > _MAX_JSON:
        raise UserError(f"{JSON} is larger than {_MAX_JSON >> 20} MiB")
    body = json.loads(path.read_bytes())
    if body["schema"] != SCHEMA:
        raise UserError(f"{JSON} has schema {body['schema']!r}, this bindspace reads schema {SCHEMA}")
    if _body_hash({key: value for key, value in body.items() if key != "body_sha256"}) != body["body_sha256"]:
        raise UserError(f"{JSON} was changed after it was written")
    if body["weights_sha256"] != weights_sha256:
        raise UserError(f"{JSON} was written for other weights than those beside it")
    data = media_path.read_bytes()
    if hashlib.sha256(data).hexdigest() != body["media_sha256"] or not data.startswith(HEADER):
        raise UserError(f"{MEDIA} is not the one that {JSON} was written with")
    return body, np.frombuffer(data, np.uint8, offset=len(HEADER)).reshape(-1, SIZE)


def _body_hash(body: Mapping[str, Any]) -> str:
    text = json.dumps(body, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
