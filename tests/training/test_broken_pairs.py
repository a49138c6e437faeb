"""The control that goes through everything: trained on broken pairs, a space has to measure as chance."""

import json

import numpy as np
import pytest

from bindspace import Source
from bindspace.data.tables import write_manifest
from bindspace.settings.run import (
    BenchmarkSettings,
    DataSettings,
    LoggerSettings,
    OptimSettings,
    StageSettings,
    TrainerSettings,
    TrainRun,
)


@pytest.fixture
def toys_on_disk(install_toys, tmp_path):
    """Sources of vector with words, of vector with curve, and a pool of all three; ten concepts."""
    toys = install_toys

    def write(name, events, held, seed):
        folder, rows = tmp_path / name, []
        folder.mkdir()
        rng = np.random.default_rng(seed)
        for i in range(events):
            row = {"id": f"{name}{i}"}
            for kind in held:
                sample, _ = kind().example(rng, i % 10)
                row[kind.modality] = f"{sample} {name}{i}" if isinstance(sample, str) else f"{kind.modality}{i}.npy"
                if not isinstance(sample, str):
                    (folder / row[kind.modality]).write_bytes(sample)
            rows.append(row)
        return Source(str(write_manifest(rows, folder / "manifest.jsonl")))

    vector, curve, words = toys.VectorConfig, toys.CurveConfig, toys.WordsConfig
    return DataSettings(
        train=[write("vw", 200, [vector, words], 1), write("vc", 200, [vector, curve], 2)],
        val=[write("val", 40, [vector, curve, words], 3)],
        test=[write("test", 100, [vector, curve, words], 4)],
        batch=20,
        workers=0,
        max_bad_fraction=0.0,
    )


def measured(toys, data, folder):
    from bindspace.cli.measuring import measure
    from bindspace.settings import check_run
    from bindspace.training.run import train
    from bindspace.training.terms import InfoNceConfig

    folder.mkdir()
    calm = {"depth": toys.Depth(dropout=0.0), "width": 32}
    run = TrainRun(
        dim=16,
        pivot="vector",
        modality={
            "vector": toys.VectorConfig(**calm),
            "curve": toys.CurveConfig(**calm),
            "words": toys.WordsConfig(buckets=512),
        },
        data=data,
        optim=OptimSettings(lr=1e-2),
        loss=InfoNceConfig(),
        stages=[StageSettings("joint", 120)],
        trainer=TrainerSettings(accelerator="cpu", threads=1, progress=False),
        logger=LoggerSettings(tensorboard=False),
        benchmark=BenchmarkSettings(permutations=500),
    )
    measure(run, train(run, check_run(run), folder), folder)
    report = json.loads((folder / "benchmark" / "report.json").read_text())
    return {(cell["query"], cell["gallery"]): cell for cell in report["pairs"]}


def test_broken_pairs_measure_as_chance_and_whole_ones_do_not(install_toys, toys_on_disk, tmp_path):
    whole = measured(install_toys, toys_on_disk, tmp_path / "whole")
    toys_on_disk.break_pairs = True
    broken = measured(install_toys, toys_on_disk, tmp_path / "broken")
    for pair in [("curve", "words"), ("words", "curve")]:
        assert whole[pair]["status"] == broken[pair]["status"] == "emergent"
        assert whole[pair]["p"] < 0.01
        assert whole[pair]["recall"]["10"] > 3 * whole[pair]["chance"]["10"]
        low, high = broken[pair]["shuffled95"]["10"]
        assert 0.7 * low <= broken[pair]["recall"]["10"] <= 1.3 * high
