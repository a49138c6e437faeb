"""The hardware of a run: devices, threads, precision, the launcher of its ranks, and what is recorded of it."""

from __future__ import annotations

import os
import platform
from typing import Any

import lightning as L
import torch
from lightning.fabric.plugins.environments import ClusterEnvironment, SLURMEnvironment

from bindspace import __version__
from bindspace.settings import Precision, TrainRun, by_slurm
from bindspace.training.extending import describe_ancestor


def device_of(run: TrainRun) -> torch.device:
    """Where vectors are computed before Lightning has taken a device: this rank's own."""
    if run.trainer.accelerator == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))


def cluster() -> list[ClusterEnvironment]:
    """SLURM without Lightning's requeueing: a requeued job resumes from the run's own checkpoint."""
    return [SLURMEnvironment(auto_requeue=False)] if by_slurm() else []


def precision(requested: Precision, accelerator: str) -> str:
    """Lightning's name for it. `auto` is bf16 only where the processor or GPU multiplies bf16 matrices in hardware."""
    if requested is Precision.float32:
        return "32-true"
    if requested is Precision.bf16:
        return "bf16-mixed"
    if accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    units = torch.cpu.get_capabilities()
    return "bf16-mixed" if units.get("amx_bf16") or units.get("avx512_bf16") else "32-true"


def loss_products(requested: Precision, device: torch.device) -> str:
    """The arithmetic of a loss's matrix products. `auto`: bf16 where Tensor Cores or AMX do it."""
    if requested is Precision.auto:
        units = device.type == "cuda" or torch.cpu.get_capabilities().get("amx_bf16", False)
        requested = Precision.bf16 if units else Precision.float32
    return requested.value


def threads(run: TrainRun) -> None:
    """Sets torch's threads: `trainer.threads`, or the cores that loading leaves free. More would oversubscribe them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(run.trainer.threads or max(1, cores - run.data.workers))


def environment(run: TrainRun) -> dict[str, Any]:
    """What the results of a run depend on beside its config."""
    return {
        "bindspace": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "lightning": L.__version__,
        "machine": platform.machine(),
        "processor": torch.cpu.get_capabilities().get("cpu_name", ""),
        "cuda": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "precision": precision(run.trainer.precision, run.trainer.accelerator),
        "extend": describe_ancestor(run),
    }
