"""The `config.yaml` of a run folder: written resolved, read back without following anything in it.

Classes come from the registry by implementation name; an interpolation is refused; every setting is checked against its
dataclass. So a folder that somebody else wrote runs no code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from bindspace import registry
from bindspace.errors import UserError, unknown
from bindspace.files import write_text
from bindspace.settings import TrainRun

# What may change when a run goes on: nothing that its weights depend on, but how long, where and with what output.
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
    import yaml

    implementations = {name: registry.implementation(type(config)) for name, config in run.modality.items()}
    values = {"implementations": implementations, **_plain(asdict(run))}
    if is_dataclass(run.data.dataset):
        values["data"]["dataset"]["name"] = registry.implementation(type(run.data.dataset), registry.DATASETS)
    return write_text(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=120))


def load_run(path: str | Path) -> TrainRun:
    """Reads what `save_run` wrote. Raises `UserError` for a file that is missing, damaged, or of other plugins."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    path = Path(path)
    values = _read(path)
    implementations = values.pop("implementations", None)
    modality = values.pop("modality", None)
    if not isinstance(implementations, dict) or not isinstance(modality, dict) or set(implementations) != set(modality):
        raise UserError(f"{path} is damaged: expected `implementations` and `modality` with the same names")
    for name, implementation in implementations.items():
        if (served := registry.load(str(implementation)).modality) != name:
            raise UserError(f"{path} is damaged: {implementation!r} serves {served!r}, not {name!r}")
    dataset = values["data"].pop("dataset", None) if isinstance(values.get("data"), dict) else None
    try:
        run = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(TrainRun), values))
        assert isinstance(run, TrainRun)
        run.modality = {name: _typed(str(implementations[name]), modality[name]) for name in modality}
        run.data.dataset = None if dataset is None else _typed(str(dataset.pop("name")), dataset, registry.DATASETS)
    except (OmegaConfBaseException, TypeError, AttributeError, KeyError, ValueError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path} does not fit this version of bindspace: {str(error).splitlines()[0]}") from error
    return run


def changed_run(run: TrainRun, changes: Mapping[str, Any]) -> TrainRun:
    """The run with some settings changed, e.g. `{"trainer.devices": 2}`. Raises `UserError` for one that must stay."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for key, value in changes.items():
        *before, last = key.split(".")
        generic = ".".join("N" if part.isdigit() else part for part in key.split("."))
        if generic not in CHANGEABLE:
            hint = "the weights depend on all others, so start a new run for them"
            raise UserError(unknown("setting that may change when a run goes on", key, CHANGEABLE, hint=hint))
        try:
            part = _part(run, before)
            checked = OmegaConf.merge(OmegaConf.structured(type(part)), {**_plain(asdict(part)), last: value})
        except (OmegaConfBaseException, IndexError) as error:
            raise UserError(f"{key}: cannot be {value!r}: {str(error).splitlines()[0]}") from error
        setattr(part, last, getattr(OmegaConf.to_object(checked), last))
    return run


def _part(run: Any, path: Sequence[str]) -> Any:
    for name in path:
        run = run[int(name)] if isinstance(run, list) else getattr(run, name)
    return run


def _typed(name: str, values: Any, group: str = registry.MODALITIES) -> Any:
    from omegaconf import OmegaConf

    config_class = registry.load(name, group)
    known = {field.name for field in fields(config_class)}
    for key in values:
        if key not in known:
            raise UserError(unknown(f"setting of {name}", str(key), known, hint="was it written by another version?"))
    return OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(config_class), values))


def _read(path: Path) -> dict[str, Any]:
    import yaml

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


def _plain(value: Any) -> Any:
    """Only what YAML and JSON know: enums by name, tuples and paths as lists and strings."""
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value
