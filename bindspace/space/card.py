"""The model card of a space, generated from the space itself."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bindspace.ledger import said

if TYPE_CHECKING:
    from bindspace.ledger import Ledger
    from bindspace.space.space import Space

_LIMITS = """\
* Vectors of this space are comparable with each other, not with those of another space or another training run.
* Emergent pairs were never trained: measure them on your own data before you rely on them.
* Each modality accepts only the input listed in the table above.
* The ledger is a record, not a proof: it detects accidents and swapped files, not forgery."""


def model_card(space: Space, description: Mapping[str, Any], extra: str | None = None) -> str:
    """Markdown: modalities and their input, trained pairs, emergent pairs, how to load, settings, limits.

    `description`: the content of `space.json`. `extra`: a section of the caller, e.g. results.
    """
    names = ", ".join(f"`{name}`" for name in space.modalities)
    head = f"One embedding space of {space.dim} dimensions for {names}, with `{space.pivot}` as the pivot."
    sections = {
        "": f"# A bindspace space\n\n{head}",
        "Use": _usage(space),
        "Modalities": _modalities(space, description),
        "Trained pairs": _trained(space.ledger),
        "Status of each pair": _claims(space),
        "Measured": extra.strip() if extra else "",
        "Limits": _LIMITS,
        "Settings": f"```json\n{json.dumps(description, indent=2, ensure_ascii=False)}\n```",
    }
    parts = [f"## {title}\n\n{text}" if title else text for title, text in sections.items() if text]
    return "\n\n".join(parts) + "\n"


def _usage(space: Space) -> str:
    items = ", ".join(f"{name}=[...]" for name in space.modalities[:2])
    lines = ["import bindspace", 'space = bindspace.load("path/of/this/folder")', f"vectors = space.embed({items})"]
    return "```python\n" + "\n".join(lines) + "\n```\n\nUnit vectors, by modality; `a @ b.T` are cosine similarities."


def _modalities(space: Space, description: Mapping[str, Any]) -> str:
    rows = []
    for name, config in space.configs.items():
        entry = description["modalities"][name]
        rows.append(
            [f"`{name}`", config.expects, f"`{entry['implementation']}`", f"{entry['package']} {entry['version']}"]
        )
    return _table(["modality", "expects", "plugin", "package"], rows)


def _trained(ledger: Ledger | None) -> str:
    if ledger is None or ledger.unknown_reason is not None:
        return f"Not recorded: {ledger.unknown_reason if ledger else 'the space has no ledger'}."
    rows = []
    for a, b in ledger.trained_pairs():
        term = ledger.pairs[a, b].paired
        rows.append([f"{a}-{b}", str(term.steps), str(term.examples), ", ".join(ledger.shaped_by(a, b)) or "-"])
    lines = [
        _table(["pair", "steps", "examples", "also shaped by"], rows)
        if rows
        else "No pair was trained, according to the ledger."
    ]
    lines += [f"Declared, not recorded: {said(declaration)}." for declaration in ledger.declarations]
    if ledger.selected_on:
        lines.append(f"Selected on: {', '.join(ledger.selected_on)}.")
    return "\n\n".join(lines)


def _claims(space: Space) -> str:
    if space.ledger is None:
        return ""
    rows = [[f"{a}-{b}", space.ledger.status(a, b)] for a, b in itertools.combinations(space.modalities, 2)]
    return _table(["pair", "status"], rows) if rows else ""


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
