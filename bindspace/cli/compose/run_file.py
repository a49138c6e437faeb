"""The `config.yaml` of a run folder: written resolved, read back without following anything in it.

Classes come from the registry by implementation name; an interpolation is refused; every setting is checked against its
dataclass. So a folder that somebody else wrote runs no code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from bindspace.contract import UserError, registry, unknown
from bindspace.io.files import write_text
from bindspace.settings import TrainRun, from_named, from_primitives, to_named, to_primitives

# What may change when a run is resumed: nothing that its weights depend on, but how long, where and with what output.
CHANGEABLE = [
    "stages.N.steps",
    "trainer.devices",
    "trainer.nodes",
    "trainer.threads",
    "trainer.progress",
    "trainer.cache",
    "trainer.checkpoint_every",
    "trainer.log_every",
    "data.workers",
    "data.memory_gb",
    "data.max_bad_fraction",
    "logger.tensorboard",
    "extend",  # where the space that is extended has moved to; its weights have to be the same
]


def save_run(run: TrainRun, path: str | Path) -> Path:
    """Writes a run as YAML: its settings, and in `implementations` which plugin each modality's settings belong to."""
    implementations = {name: registry.implementation(type(config)) for name, config in run.modality.items()}
    values = {"implementations": implementations, **to_primitives(run)}
    values["loss"] = None if run.loss is None else to_named(run.loss, registry.TERMS)
    values["terms"] = [to_named(term, registry.TERMS) for term in run.terms]
    if run.data.dataset is not None:
        values["data"]["dataset"] = to_named(run.data.dataset, registry.DATASETS)
    return write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120))


def load_run(path: str | Path) -> TrainRun:
    """Reads what `save_run` wrote. Raises `UserError` for a file that is missing, damaged, or of other plugins."""
    path = Path(path)
    values = _read(path)
    implementations, modality = values.pop("implementations", None), values.pop("modality", None)
    if not isinstance(implementations, dict) or not isinstance(modality, dict) or set(implementations) != set(modality):
        raise UserError(f"{path} is damaged: expected `implementations` and `modality` with the same names")
    data = values.get("data")
    dataset = data.pop("dataset", None) if isinstance(data, dict) else None
    loss, terms, callbacks = (values.pop(key, None) for key in ("loss", "terms", "callbacks"))
    try:
        run = from_primitives(TrainRun, values, trusted=True)
        for name, settings in modality.items():
            kind = registry.load(str(implementations[name]))
            if kind.modality != name:
                raise UserError(f"it is damaged: {implementations[name]!r} serves {kind.modality!r}, not {name!r}")
            run.modality[name] = from_primitives(kind, settings, f"modality.{name}", trusted=True)
        if dataset is not None:
            run.data.dataset = from_named(dataset, registry.DATASETS, "data.dataset")
        run.loss = None if loss is None else from_named(loss, registry.TERMS, "loss")
        run.terms = [from_named(term, registry.TERMS, f"terms[{number}]") for number, term in enumerate(terms or [])]
        for name, settings in (callbacks or {}).items():
            kind = registry.load(str(name), registry.CALLBACKS)
            run.callbacks[name] = from_primitives(kind, settings, f"callbacks.{name}", trusted=True)
    except (UserError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{path} does not fit this version of bindspace: {error}: start the run anew") from error
    return run


def changed_run(run: TrainRun, changes: Mapping[str, Any]) -> TrainRun:
    """The run with some settings changed, e.g. `{"trainer.devices": 2}`. Raises `UserError` for one that must stay."""
    for key, value in changes.items():
        *before, last = key.split(".")
        generic = ".".join("N" if part.isdigit() else part for part in key.split("."))
        if generic not in CHANGEABLE:
            hint = "the weights depend on all others, so start a new run for them"
            raise UserError(unknown("setting that may change when a run is resumed", key, CHANGEABLE, hint=hint))
        try:
            part = _part(run, before)
        except IndexError as error:
            raise UserError(f"{key}: cannot be {value!r}: there is no {'.'.join(before)}") from error
        checked = from_primitives(type(part), {**to_primitives(part), last: value}, ".".join(before), trusted=True)
        setattr(part, last, getattr(checked, last))
    return run


def _part(run: Any, path: Sequence[str]) -> Any:
    for name in path:
        run = run[int(name)] if isinstance(run, list) else getattr(run, name)
    return run


def _read(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path.parent} is not a run folder: cannot read {path.name} ({error.strerror})") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is damaged: it is not YAML; start the run anew with out=...") from error
    if not isinstance(values, dict):
        raise UserError(f"{path} is damaged: expected a mapping of settings; start the run anew with out=...")
    _refuse_interpolations(values, path)
    return values


def _refuse_interpolations(value: Any, path: Path) -> None:
    if isinstance(value, str) and "${" in value:
        raise UserError(f"{path} holds an interpolation ({value!r}): write the value itself")
    if isinstance(value, (dict, list)):
        for item in [*value.keys(), *value.values()] if isinstance(value, dict) else value:
            _refuse_interpolations(item, path)
