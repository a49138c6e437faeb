import json

import pytest
import torch
from known_vectors import Pool, chain_ledger, make_space

from bindspace.benchmark.cell import Kept
from bindspace.benchmark.compare import compare, paired, read_measured
from bindspace.benchmark.emergent import run_benchmark
from bindspace.benchmark.report.report import write_report
from bindspace.cli import main
from bindspace.contract.errors import UserError
from bindspace.settings.run import BenchmarkSettings

NAMES = ["sight", "sound"]
EIGHT = torch.eye(8)


def measured(folder, sound, **settings):
    pool, kept = Pool({"sight": EIGHT, "sound": sound}), Kept()
    space = make_space(8, NAMES, chain_ledger(NAMES))
    settings = BenchmarkSettings(**{"permutations": 50, "k": [1, 2], **settings})
    report = run_benchmark(space, pool, settings, name=folder.name, kept=kept, progress=False)
    write_report(report, folder, {"main": kept.ranks})
    return folder


@pytest.fixture
def two(tmp_path):
    return measured(tmp_path / "a", EIGHT.roll(1, 0)), measured(tmp_path / "b", EIGHT)


def test_the_difference_is_taken_query_by_query(two):
    found = compare(*map(read_measured, two))
    cell = found["pools"]["main"]["pairs"][0]
    assert (cell["query"], cell["gallery"]) == ("sight", "sound")
    assert cell["recall"] == [{"1": 0.0, "2": 0.0}, {"1": 1.0, "2": 1.0}]
    assert cell["difference"]["1"]["mean"] == 1.0
    assert cell["difference"]["1"]["p"] == pytest.approx(2 / 2**8, abs=0.004)  # all signs alike, either way
    assert cell["difference"]["1"]["p_holm"] == pytest.approx(2 * cell["difference"]["1"]["p"])


def test_a_space_does_not_differ_from_itself(two):
    cell = compare(read_measured(two[0]), read_measured(two[0]))["pools"]["main"]["pairs"][0]
    assert cell["difference"]["1"] == {"mean": 0.0, "ci95": [0.0, 0.0], "p": 1.0, "p_holm": 1.0}


def test_without_a_difference_p_is_small_as_often_as_it_says():
    generator, cluster = torch.Generator().manual_seed(0), torch.arange(150) // 3
    small = covered = 0
    for trial in range(200):
        own = (torch.rand(50, 2, generator=generator) < 0.4).double().repeat_interleave(3, 0)
        fresh = (torch.rand(150, 2, generator=generator) < 0.4).double()
        hits = torch.where(torch.rand(150, 1, generator=generator) < 0.7, own, fresh)
        found = paired(hits[:, 1] - hits[:, 0], cluster, draws=400, seed=trial)
        small += found["p"] <= 0.05
        covered += found["ci95"][0] <= 0 <= found["ci95"][1]
    assert 1 <= small <= 20  # 10 expected
    assert covered >= 182  # 190 expected


def test_reports_of_different_protocols_are_not_compared(two, tmp_path):
    other = measured(tmp_path / "c", EIGHT, k=[1])
    with pytest.raises(UserError, match=r"not compared; measure both") as error:
        compare(read_measured(two[0]), read_measured(other))
    assert "they differ in k" in str(error.value)


def test_the_command_prints_a_table_and_writes_json(two, tmp_path, capsys):
    assert main(["compare", str(two[0]), str(two[1]), f"out={tmp_path / 'c.json'}"]) == 0
    printed = capsys.readouterr().out
    assert "+100.0" in printed
    assert "needs several seeds" in printed
    assert json.loads((tmp_path / "c.json").read_text())["schema"] == 1


def test_wrong_folders_get_a_sentence(two, tmp_path, capsys):
    assert main(["compare", str(two[0])]) == 2
    assert "expected two report folders, got 1" in capsys.readouterr().err
    assert main(["compare", str(two[0]), str(tmp_path)]) == 2
    assert "holds no report.json" in capsys.readouterr().err
    (two[1] / "ranks.safetensors").write_bytes(b"damaged")
    assert main(["compare", *map(str, two)]) == 2
    assert "damaged report" in capsys.readouterr().err
