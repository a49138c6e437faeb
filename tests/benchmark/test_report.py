import io
import json

import numpy as np
import pytest
import torch
from known_vectors import Pool, make_space
from PIL import Image
from rich.console import Console

from bindspace.benchmark.emergent import run_benchmark
from bindspace.benchmark.report.matrix import draw_matrix
from bindspace.benchmark.report.report import print_table, render_markdown, write_report
from bindspace.ledger.ledger import Ledger
from bindspace.settings.run import BenchmarkSettings

STAR = ["sight", "sound", "touch", "words"]
STATUSES = ["trained", "declared-trained", "bridged", "emergent", "declared-emergent", "unlinked", "unknown"]


@pytest.fixture(scope="module")
def report():
    generator = torch.Generator().manual_seed(0)
    base = torch.randn(60, 16, generator=generator)
    vectors = {name: base + i * torch.randn(60, 16, generator=generator) for i, name in enumerate(STAR)}
    colours = ["red", "blue", "green"] * 20
    words = {text: torch.randn(16, generator=generator).tolist() for c in set(colours) for text in (c, f"a {c}")}
    ledger = Ledger.new(dict.fromkeys(STAR, "random"))
    for i, name in enumerate(STAR[1:]):
        ledger.record(("sight", name), "0" * 64, {"sight": [bytes([i] * 32)], name: [bytes([9] * 32)]})
    pool = Pool(vectors, attributes={"colour": colours})
    pool.left_out = 3
    space = make_space(16, STAR, ledger, words)
    return run_benchmark(space, pool, BenchmarkSettings(permutations=500), name="outputs/a|b/space", progress=False)


def printed(report, width=80):
    out = io.StringIO()
    print_table(report, Console(file=out, width=width))
    return out.getvalue()


def test_a_report_comes_back_from_json_as_it_was(report, tmp_path):
    path = write_report(report, tmp_path / "benchmark")
    assert path == tmp_path / "benchmark" / "report.json"
    assert json.loads(path.read_text(), parse_constant=pytest.fail) == report
    assert sorted(each.name for each in path.parent.iterdir()) == [
        "matrix.png",
        "report.html",
        "report.json",
        "report.md",
    ]


def test_further_pools_stand_under_their_names_and_main_on_top(report, tmp_path):
    held_out = {**report, "protocol": {**report["protocol"], "pool": 17}}
    found = json.loads(write_report({"held_out": held_out, "main": report}, tmp_path).read_text())
    assert found == {**report, "pools": {"held_out": held_out}}
    assert "## Pool `held_out`: 17 events" in (tmp_path / "report.md").read_text()


def test_numbers_that_json_does_not_know_are_refused(report, tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_report({**report, "gap": [{**report["gap"][0], "alignment": float("nan")}]}, tmp_path)
    assert not (tmp_path / "report.json").exists()


def test_markdown_shows_emergent_pairs_first_with_chance_interval_and_p(report):
    text = render_markdown(report)
    assert text.index("### Never trained together") < text.index("### Trained together")
    cell = next(cell for cell in report["pairs"] if (cell["query"], cell["gallery"]) == ("sound", "words"))
    row = next(line for line in text.splitlines() if line.startswith("| sound → words |"))
    low, high = cell["ci95"]["10"]
    for value in (cell["recall"]["1"], cell["recall"]["5"], cell["recall"]["10"], cell["chance"]["10"]):
        assert f"| {100 * value:.1f} |" in row
    assert f"{100 * low:.1f}–{100 * high:.1f}" in row
    assert "Left out because a modality is missing: 3 events" in text
    assert "| sound | colour | emergent | 3 | 60 |" in text
    assert all(line.count(" | ") == text.splitlines()[12].count(" | ") for line in text.splitlines() if " → " in line)


def test_the_console_table_fits_80_columns_and_names_every_pair(report):
    text = printed(report)
    assert max(map(len, text.splitlines())) <= 80
    for cell in report["pairs"]:
        assert f"{cell['query']} → {cell['gallery']}" in text
    assert text.index("sound → words") < text.index("sight → sound")  # emergent first
    for heading in ("R@1", "R@5", "R@10", "95 %", "chance", "lift", "p"):
        assert heading in text
    assert "emergent" in text
    assert "…" not in text


@pytest.mark.parametrize("status", STATUSES)
def test_every_status_has_its_place_in_table_and_markdown(report, status):
    changed = {**report, "pairs": [{**cell, "status": status, "p_holm": None} for cell in report["pairs"]]}
    assert status in render_markdown(changed)
    assert status in printed(changed, width=100)


def test_every_status_has_its_mark_in_the_matrix(report):
    pairs = [{**cell, "status": STATUSES[i % 7]} for i, cell in enumerate(report["pairs"])]
    figure = draw_matrix({**report, "pairs": pairs})
    words = {text.get_text() for text in figure.axes[0].texts}
    assert words & set(STATUSES) == set(STATUSES) - {"trained", "emergent"}  # those two are marks, in the legend
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend[:2] == ["never trained together: emergent (dashed: see the label)", "trained together"]
    assert "chance 17 %" in figure.get_suptitle()


def test_the_matrix_marks_emergent_cells_by_a_frame_that_trained_ones_lack(report, tmp_path):
    def framed(status):
        changed = {**report, "pairs": [{**cell, "status": status} for cell in report["pairs"]]}
        write_report(changed, tmp_path)
        with Image.open(tmp_path / "matrix.png") as picture:
            return int((np.asarray(picture.convert("RGB")) == (217, 72, 15)).all(-1).sum())

    assert framed("emergent") > 5_000
    assert framed("trained") == 0


def test_two_modalities_are_enough_for_a_matrix(report, tmp_path):
    names = STAR[:2]
    pairs = [cell for cell in report["pairs"] if {cell["query"], cell["gallery"]} == set(names)]
    small = {**report, "protocol": {**report["protocol"], "modalities": names}, "pairs": pairs}
    write_report(small, tmp_path)
    with Image.open(tmp_path / "matrix.png") as picture:
        assert min(picture.size) > 700


def test_declarations_for_third_party_weights_stand_beside_the_results(tmp_path):
    generator = torch.Generator().manual_seed(0)
    vectors = {name: torch.randn(20, 8, generator=generator) for name in STAR[:3]}
    ledger = Ledger.declared(STAR[:3], "their makers", {("sight", "sound"): "ShowSet", ("sight", "touch"): ""})
    found = run_benchmark(
        make_space(8, STAR[:3], ledger), Pool(vectors), BenchmarkSettings(permutations=50), progress=False
    )
    cells = {(cell["query"], cell["gallery"]): cell for cell in found["pairs"]}
    assert cells["sound", "touch"]["status"] == "declared-emergent"
    assert cells["sound", "sight"]["status"] == "declared-trained"
    assert cells["sound", "sight"]["declared"] == ["sight-sound on ShowSet, by their makers"]
    assert cells["sound", "touch"]["declared"] == []
    assert cells["sound", "touch"]["p_holm"] is not None
    words = (
        "Declared for third-party weights, not recorded: sight-sound on ShowSet, by their makers; sight-touch, by their"
    )
    assert words in render_markdown(found)
    assert words in printed(found, width=120)
    statuses = {text.get_text() for text in draw_matrix(found).axes[0].texts}
    assert {"declared-trained", "declared-emergent"} <= statuses


def test_losses_without_pairs_and_what_chose_the_weights_stand_beside_the_statuses():
    generator = torch.Generator().manual_seed(0)
    vectors = {name: torch.randn(20, 8, generator=generator) for name in STAR[:3]}
    ledger = Ledger.new(dict.fromkeys(STAR[:3], "random"))
    for name in STAR[1:3]:
        ledger.record(("sight", name), "0" * 64, {"sight": [bytes([1] * 32)], name: [bytes([9] * 32)]})
    quiet = run_benchmark(
        make_space(8, STAR[:3], ledger), Pool(vectors), BenchmarkSettings(permutations=50), progress=False
    )
    assert "Also in the ledger" not in render_markdown(quiet) + printed(quiet, width=120)
    media = {"touch": [bytes([2] * 32)], "sound": []}
    ledger.record(("touch", "sound"), "0" * 64, media, kind="unpaired", shaped_by=["sight"])
    ledger.select("val/sight-sound/r10")
    found = run_benchmark(
        make_space(8, STAR[:3], ledger), Pool(vectors), BenchmarkSettings(permutations=50), progress=False
    )
    words = "Also in the ledger: sound-touch: unpaired steps 1, shaped by sight; selected on val/sight-sound/r10."
    assert words in render_markdown(found)
    assert words in printed(found, width=200)
