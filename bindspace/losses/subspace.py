"""The part of a space that the vectors of one modality reach. Shapes: B rows, M landmarks, D dims, K of them kept."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


@torch.no_grad()
def principal(landmarks_MD: Tensor, dim: int) -> Tensor:
    """An orthonormal basis (D, K) of the K-dimensional subspace through the origin that is nearest to the landmarks.

    The leading eigenvectors of their second moment, in float64. Not centred: their mean direction belongs to it.
    """
    z = landmarks_MD.double()
    return torch.linalg.eigh(z.T @ z).eigenvectors[:, -dim:].to(landmarks_MD.dtype)


def projected(z_BD: Tensor, basis_DK: Tensor) -> Tensor:
    """Unit vectors (B, D): the rows' part in the subspace, normalised."""
    return F.normalize(z_BD @ basis_DK @ basis_DK.T, dim=1)
