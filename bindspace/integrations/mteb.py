"""A space as a model of mteb 2: for its tasks on texts, pictures and sounds, and across them.

>>> import mteb  # doctest: +SKIP
>>> model = MtebModel(bindspace.load("my/space"), name="me/my-space")  # doctest: +SKIP
>>> mteb.evaluate(model, mteb.get_tasks(tasks=["Flickr30kT2IRetrieval"]))  # doctest: +SKIP

mteb names the columns of a batch after modalities, so its names are matched with those of the space; this module
contains no modality names. mteb does not use the ledger of the space, so its results do not show the status of a pair.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from bindspace.contract import UserError
from bindspace.space import Space
from bindspace.vectors import TRAINING_ONLY, tower_hash

if TYPE_CHECKING:
    from mteb.models.model_meta import ModelMeta

Info = Mapping[str, Mapping[str, Any]]
PRECISION = "float32"


class MtebModel:
    """A model for `mteb.evaluate`: mteb's `EncoderProtocol` for a space.

    `name`: `organisation/model`, under which mteb stores results. `read`: info for the plugin's `read` by modality, as
    in a source of a manifest, e.g. `{"image": {"background": "white"}}`. Raises `UserError` if mteb is not installed,
    or supports none of the space's modalities.
    """

    def __init__(self, space: Space, name: str = "bindspace/space", read: Info | None = None) -> None:
        self.space = space
        self.info = {key: dict(values) for key, values in (read or {}).items()}
        self.mteb_model_meta = model_meta(space, name, self.info)

    def encode(
        self, inputs: Iterable[Mapping[str, Any]], *, task_metadata: Any, precision: str = PRECISION, **asked: Any
    ) -> np.ndarray:
        """Unit vectors (N, dim) float32 of batches (dicts of lists, by modality), in order.

        Rows of several modalities get the normalised sum of their vectors. `asked`: further arguments of mteb, ignored.
        Raises `UserError` for an item that its plugin refuses.
        """
        if precision != PRECISION:
            raise UserError(f"precision={precision}: a space gives {PRECISION}: leave precision out")
        found = [np.zeros((0, self.space.dim), np.float32)]
        for number, batch in enumerate(inputs):
            try:
                found.append(self._vectors(batch).numpy())
            except UserError as error:
                raise UserError(f"{task_metadata.name}, batch {number}: {error}") from error
        return np.concatenate(found)

    def _vectors(self, batch: Mapping[str, Any]) -> Tensor:
        names = [name for name in self.mteb_model_meta.modalities if name in batch]
        if not names:
            raise UserError(f"expected {self._known()}, got columns {', '.join(batch)}: choose tasks of those")
        items = {name: [self._item(name, value) for value in batch[name]] for name in names}
        vectors = list(self.space.embed(batch_size=len(items[names[0]]), **items).values())
        return vectors[0] if len(vectors) == 1 else F.normalize(torch.stack(vectors).sum(0), dim=-1)

    def _item(self, name: str, value: Any) -> tuple[Any, dict[str, Any]]:
        """An item for `Space.embed`. A sound is a dict, or a decoder object of `datasets`."""
        info = self.info.get(name, {})
        if isinstance(value, Mapping) or hasattr(value, "get_all_samples"):
            return np.asarray(value["array"]), {**info, "rate": value["sampling_rate"]}
        return value, info

    def _known(self) -> str:
        return " or ".join(self.mteb_model_meta.modalities)

    def similarity(self, embeddings1: Any, embeddings2: Any) -> Any:
        """All pairwise cosine similarities (N, M), as mteb computes them."""
        from mteb.similarity_functions import cos_sim

        return cos_sim(embeddings1, embeddings2)

    def similarity_pairwise(self, embeddings1: Any, embeddings2: Any) -> Any:
        """Cosine similarities (N,) of partners, as mteb computes them."""
        from mteb.similarity_functions import pairwise_cos_sim

        return pairwise_cos_sim(embeddings1, embeddings2)


def model_meta(space: Space, name: str, info: Info) -> ModelMeta:
    """Metadata under which mteb stores results: name, revision, modalities. Unknown values are None."""
    try:
        from mteb.models.model_meta import ModelMeta
        from mteb.types import Modalities
    except ImportError as error:
        raise UserError(f"bindspace.integrations.mteb needs mteb ({error}): pip install 'bindspace[mteb]'") from error
    if name.count("/") != 1 or not all(name.split("/")):
        raise UserError(f"name: expected organisation/model, got {name!r}: write e.g. name='me/my-space'")
    known = [each for each in get_args(Modalities) if each in space.modalities]
    if not known:
        raise UserError(
            f"mteb supports {', '.join(get_args(Modalities))}, the space has {', '.join(space.modalities)}: none in"
            " common"
        )
    for each in info:
        if each not in known:
            raise UserError(f"read: expected settings of {', '.join(known)}, got {each!r}")
    parameters = list(space.parameters())
    return ModelMeta(
        loader=None,
        name=name,
        revision=revision(space, known, info),
        release_date=None,
        languages=None,
        n_parameters=sum(parameter.numel() for parameter in parameters),
        memory_usage_mb=sum(parameter.nbytes for parameter in parameters) / 2**20,
        max_tokens=None,
        embed_dim=space.dim,
        license=None,
        open_weights=None,
        public_training_code=None,
        public_training_data=None,
        framework=["PyTorch"],
        similarity_fn_name="cosine",  # type: ignore[arg-type]  # mteb converts it to its enum
        use_instructions=False,
        training_datasets=None,
        modalities=known,
    )


def revision(space: Space, names: Iterable[str], info: Info) -> str:
    """SHA-256 of the towers' weights, their settings and `info`: if one differs, mteb measures again."""
    said = []
    for name in names:
        settings = {key: value for key, value in asdict(space.configs[name]).items() if key not in TRAINING_ONLY}
        said.append([name, tower_hash(space.towers[name]), settings, dict(info.get(name, {}))])
    return hashlib.sha256(json.dumps(said, sort_keys=True, default=str).encode()).hexdigest()
