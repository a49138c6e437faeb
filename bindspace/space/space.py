"""The space: encoders, heads and temperatures. Pure torch: no Lightning, no Hydra, and no modality by name."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bindspace.contract import BadSample, Cell, ModalityConfig, UserError, unknown
from bindspace.modules.heads import build_head
from bindspace.settings import pair_name
from bindspace.space.temperature import Temperature

if TYPE_CHECKING:
    from bindspace.ledger import Ledger


class Tower(nn.Module):
    """One modality: its encoder and its head."""

    def __init__(self, config: ModalityConfig, dim: int, *, pretrained: bool) -> None:
        super().__init__()
        self.encoder = config.encoder(pretrained=pretrained)
        self.head = build_head(config.head, config.width, dim)

    @property
    def main_stream(self) -> str:
        """The batch key of a single tensor: the first parameter of the encoder's `forward`."""
        return next(iter(inspect.signature(self.encoder.forward).parameters))

    def features(self, owner: Tensor | None = None, **batch: Tensor) -> Tensor:
        """Features before head and normalisation, (R, width); rows of one sample are averaged to (n, width)."""
        features = self.encoder(**batch)
        return features if owner is None else _mean_by_owner(features, owner)

    def forward(self, owner: Tensor | None = None, **batch: Tensor) -> Tensor:
        """Unit vectors (n, dim) in float32: a sample of several rows is the normalised mean of their unit vectors."""
        z = F.normalize(self.head(self.encoder(**batch)).float(), dim=-1)
        return z if owner is None else F.normalize(_mean_by_owner(z, owner), dim=-1)


def _mean_by_owner(rows: Tensor, owner: Tensor) -> Tensor:
    total = int(owner.max()) + 1
    sums = rows.new_zeros(total, rows.shape[1]).index_add(0, owner, rows)
    return sums / torch.bincount(owner, minlength=total).unsqueeze(1).to(rows.dtype)


class Space(nn.Module):
    """Encoders and heads by modality, a temperature by trained pair, and the ledger of their training.

    `configs`: modality name -> its plugin's config. `pretrained`: towers load the `weights` of their config.
    """

    def __init__(
        self, configs: Mapping[str, ModalityConfig], dim: int, pivot: str, *, pretrained: bool = False
    ) -> None:
        super().__init__()
        self.configs = dict(configs)
        self.dim = dim
        self.pivot = pivot
        self.towers = nn.ModuleDict(
            {name: Tower(config, dim, pretrained=pretrained) for name, config in configs.items()}
        )
        self.temperatures = nn.ModuleDict()
        self.ledger: Ledger | None = None

    @property
    def modalities(self) -> list[str]:
        """Names of the modalities that are built."""
        return list(self.configs)

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def add_towers(self, other: Space) -> None:
        """Adds the towers of another space with the same dim and pivot, and with other modalities."""
        assert (self.dim, self.pivot) == (other.dim, other.pivot)
        assert not set(self.configs) & set(other.configs)
        self.configs.update(other.configs)
        self.towers.update(dict(other.towers.items()))

    def add_temperature(
        self, a: str, b: str, temperature: float, learned: bool, minimum: float = 0.01, bias: float | None = None
    ) -> None:
        """Gives the pair a temperature, and a bias if one is given, unless it has them."""
        name = pair_name(a, b, self.pivot)
        if name not in self.temperatures:
            self.temperatures[name] = Temperature(temperature, learned, minimum)
        self.temperatures[name].add_bias(bias)  # type: ignore[operator]

    def logit_scale(self, a: str, b: str) -> Tensor:
        """The factor on cosine similarities of the pair: a scalar tensor."""
        return self.temperatures[pair_name(a, b, self.pivot)]()

    def logit_bias(self, a: str, b: str) -> Tensor:
        """The bias of a sigmoid loss on the scaled similarities of the pair: a scalar tensor, 0 if there is none."""
        temperature = self.temperatures[pair_name(a, b, self.pivot)]
        assert isinstance(temperature, Temperature)
        return torch.zeros((), device=self.device) if temperature.bias is None else temperature.bias

    def training_dim(self, name: str) -> int:
        """The width of a modality's unit vectors in training mode: `dim`, unless its head learns a metric."""
        return int(getattr(self._tower(name).head, "training_dim", self.dim))

    def forward(self, name: str, batch: Mapping[str, Tensor]) -> Tensor:
        """Unit vectors (n, dim) of a prepared batch of one modality, with gradient."""
        return self.towers[self._known(name)](**batch)

    @torch.inference_mode()
    def encode(self, *, batch_size: int = 64, **prepared: Mapping[str, Tensor] | Tensor) -> dict[str, Tensor]:
        """Unit vectors (n, dim) of batches from `prepare`, or of single tensors, by modality."""
        return {name: self._batched(name, batch, batch_size) for name, batch in prepared.items()}

    @torch.inference_mode()
    def features(self, *, batch_size: int = 64, **prepared: Mapping[str, Tensor] | Tensor) -> dict[str, Tensor]:
        """Features before head and normalisation, (n, width), by modality."""
        return {name: self._batched(name, batch, batch_size, features=True) for name, batch in prepared.items()}

    @torch.inference_mode()
    def embed(self, *, batch_size: int = 64, **items: Sequence[Any]) -> dict[str, Tensor]:
        """Reads, prepares and encodes items: paths, bytes, arrays, tensors or strings, as the plugins accept them.

        Returns unit float32 vectors (N, dim) on the CPU by modality, e.g. `embed(audio=["a.flac"], text=["a dog"])`.
        Raises `UserError` with the name of an item that cannot be read.
        """
        return {name: self._embed(name, values, batch_size) for name, values in items.items()}

    def _embed(self, name: str, items: Sequence[Any], batch_size: int) -> Tensor:
        tower, config = self._tower(name), self.configs[name]
        if isinstance(items, (str, bytes)):
            raise UserError(f"{name}: expected a list of items, got one {type(items).__name__}: write [{items[:40]!r}]")
        vectors = []
        with evaluating(tower):
            for start in range(0, len(items), batch_size):
                samples = [
                    read_item(config, item, start + i) for i, item in enumerate(items[start : start + batch_size])
                ]
                batch = {key: value.to(self.device) for key, value in config.prepare(samples).items()}
                vectors.append(tower(**batch).cpu())
        return torch.cat(vectors) if vectors else torch.empty(0, self.dim)

    def _batched(
        self, name: str, batch: Mapping[str, Tensor] | Tensor, batch_size: int, *, features: bool = False
    ) -> Tensor:
        tower = self._tower(name)
        call, width = (tower.features, self.configs[name].width) if features else (tower, self.dim)
        rows = dict(batch) if isinstance(batch, Mapping) else {tower.main_stream: batch}
        total = len(next(iter(rows.values())))
        size = max(total, 1) if "owner" in rows else batch_size  # rows of one sample stay together
        with evaluating(tower):
            parts = [
                call(**{key: value[start : start + size].to(self.device) for key, value in rows.items()})
                for start in range(0, total, size)
            ]
        return torch.cat(parts) if parts else torch.empty(0, width, device=self.device)

    def _tower(self, name: str) -> Tower:
        tower = self.towers[self._known(name)]
        assert isinstance(tower, Tower)
        return tower

    def _known(self, name: str) -> str:
        if name not in self.configs:
            raise UserError(unknown("modality of this space", name, self.configs))
        return name


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode for the block; afterwards each module is in its previous mode."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def read_item(config: ModalityConfig, item: Any, index: int) -> Any:
    """Reads one item of a user: a source, or (source, info). Raises `UserError` with its index."""
    source, info = item if isinstance(item, tuple) and len(item) == 2 and isinstance(item[1], Mapping) else (item, {})
    if config.cell is Cell.path and isinstance(source, str):
        source = Path(source)
    try:
        return config.read(source, info)
    except Exception as error:  # decoders may raise anything
        shown = f" ({source})" if isinstance(source, (str, Path)) else ""
        got = f"expected {config.expects}, got {type(error).__name__}: {error}"
        reason = error if isinstance(error, BadSample) else got
        raise UserError(f"{config.modality}[{index}]{shown}: {reason}") from error
