"""Files that cannot be read: refused by name where they are asked for, skipped and listed where they are a few."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from bad_files import BAD, GOOD, MODALITIES, bad_events, good_events

ALL = f"modality=[{','.join(MODALITIES)}]"


def listed(path: Path) -> list[dict[str, str]]:
    """The rows of a bad_rows.jsonl."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def check_list(path: Path) -> None:
    """Every bad file is listed once, with its event, its modality, and the reason with the next step."""
    rows = {row["id"]: row for row in listed(path)}
    assert len(listed(path)) == len(rows) == len(BAD)
    for row, (name, (modality, came, step)) in zip(bad_events(), BAD.items(), strict=True):
        found = rows[row["id"]]
        assert found["modality"] == modality
        assert found["reason"].startswith(f"bad/{name}: ")
        assert came in found["reason"]
        assert step in found["reason"]


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_not_embedded(refused, space, events, place, name):
    modality, came, step = BAD[name]
    items = f"['{events / '0.png'}','{events / 'bad' / name}']" if modality == "image" else f"['{events}/bad/{name}']"
    said = refused("embed", f"space={space}", f"{modality}={items}", "out=z.npz")
    assert f"{modality}[{1 if modality == 'image' else 0}] ({events / 'bad' / name}): " in said
    assert came in said
    assert step in said
    assert list(place.iterdir()) == []


@pytest.fixture
def mixed(source) -> str:
    """All events, good and bad, as a list of sources."""
    return f"[{source(good_events() + bad_events())}]"


@pytest.mark.filterwarnings("default:.*cells could not be read")
def test_a_few_bad_files_are_skipped_counted_and_listed(fine, train, mixed, place):
    said = fine(*train[:-1], ALL, f"data.train={mixed}", "data.max_bad_fraction=0.5", "out=mine")
    assert said == f"bindspace: {len(BAD)} cells could not be read and were skipped: see {place}/mine/bad_rows.jsonl\n"
    check_list(place / "mine" / "bad_rows.jsonl")
    pairs = json.loads((place / "mine" / "space" / "ledger.json").read_text())["pairs"]
    bad = Counter(modality for modality, *_ in BAD.values())
    assert len(pairs) == len(MODALITIES) - 1
    for pair in pairs:  # each of the two steps is one batch of all events; an event gives a pair if both sides are good
        whole = GOOD + len(BAD) - sum(bad[name] for name in pair["of"])
        assert pair["paired"]["examples"] == 2 * whole


def test_too_many_bad_files_stop_training_with_the_list(refused, train, mixed, place):
    said = refused(*train[:-1], ALL, f"data.train={mixed}", "out=mine")
    assert f"{len(BAD)} of {GOOD + len(BAD)} rows cannot be read, and data.max_bad_fraction is 0.01" in said
    assert f"all are listed in {place}/mine/bad_rows.jsonl; fix them, or raise that fraction" in said
    check_list(place / "mine" / "bad_rows.jsonl")
    assert not (place / "mine" / "space").exists()
    assert not (place / "mine" / "checkpoints").exists()


@pytest.mark.filterwarnings("default:.*cells could not be read")
def test_a_run_that_bad_files_stopped_goes_on_when_the_fraction_is_raised(refused, fine, train, mixed, place):
    refused(*train[:-1], f"data.train={mixed}", "out=mine")
    fine("train", "run=mine", "data.max_bad_fraction=0.5")
    assert (place / "mine" / "space" / "model.safetensors").exists()


@pytest.mark.parametrize("frozen", ["stages=[{name: all, steps: 1, freeze: [image]}]", "data.val_fraction=0.9"])
def test_bad_files_met_while_embedding_or_validating_count_too(refused, train, mixed, place, frozen):
    said = refused(*train[:-1], f"data.train={mixed}", frozen, "out=mine")
    assert f"3 of {GOOD + len(BAD)} rows cannot be read" in said
    assert {row["modality"] for row in listed(place / "mine" / "bad_rows.jsonl")} == {"image"}
    assert not (place / "mine" / "space").exists()  # those of validation are met after the first steps


def test_too_many_bad_files_stop_a_benchmark_with_the_list(refused, fine, space, mixed, place):
    command = ["benchmark", f"space={space}", f"data.test={mixed}", "benchmark.permutations=20", "out=report"]
    said = refused(*command)
    assert f"{len(BAD)} of {GOOD + len(BAD)} rows cannot be read" in said
    assert "all are listed in report/bad_rows.jsonl; fix them, or raise that fraction" in said
    check_list(place / "report" / "bad_rows.jsonl")
    assert [path.name for path in (place / "report").iterdir()] == ["bad_rows.jsonl"]
    fine(*command, "data.max_bad_fraction=0.5")
    check_list(place / "report" / "bad_rows.jsonl")
    protocol = json.loads((place / "report" / "report.json").read_text())["protocol"]
    assert (protocol["pool"], protocol["left_out"], protocol["bad"]) == (GOOD, len(BAD), len(BAD))


def test_a_run_that_cannot_be_measured_keeps_its_space_and_is_measured_later(
    refused, fine, train, source, mixed, place
):
    said = refused(*train, f"data.test={mixed}", "out=mine")
    assert said.startswith(
        f"{place}/mine/space is trained but not measured: 3 of {GOOD + len(BAD)} rows cannot be read"
    )
    assert said.endswith(f"; then measure it with run={place}/mine")
    assert [path.name for path in (place / "mine" / "benchmark").iterdir()] == ["bad_rows.jsonl"]
    before = (place / "mine" / "space" / "model.safetensors").read_bytes()
    source(good_events())  # mended
    fine("train", "run=mine")
    assert (place / "mine" / "space" / "model.safetensors").read_bytes() == before
    assert {path.name for path in (place / "mine" / "benchmark").iterdir()} == {
        "report.json",
        "report.md",
        "matrix.png",
        "report.html",
        "ranks.safetensors",
    }
