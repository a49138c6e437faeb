"""The driver of the emergence experiments: which runs are one, and what its tables say of planted lines."""

from __future__ import annotations

import json
import math
import shutil
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]


@pytest.fixture
def driver(monkeypatch):
    """Its modules, as `python benchmarks/emergence` finds them."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks" / "emergence"))
    import plan
    import runs
    import tables

    yield plan, runs, tables
    for name in ("plan", "plots", "runs", "summary", "tables"):
        sys.modules.pop(name, None)


def recipes_of(plan, tmp_path, text: str):
    (tmp_path / "recipes.yaml").write_text(f"common: [suite=none]\nrecipes:\n{text}")
    return plan.read_recipes(tmp_path / "recipes.yaml")


def test_a_run_is_another_one_where_it_or_what_it_extends_is_trained_otherwise(driver, tmp_path):
    text = "  a: {{group: g, about: x, train: [steps={}]}}\n  b: {{group: g, about: {}, train: [], extends: a}}\n"
    first = recipes_of(driver[0], tmp_path, text.format(1, "x"))["b"]
    assert recipes_of(driver[0], tmp_path, text.format(1, "told otherwise"))["b"].key == first.key
    assert recipes_of(driver[0], tmp_path, text.format(2, "x"))["b"].key != first.key
    assert [recipe.name for recipe in first.chain] == ["a", "b"]


def test_a_run_is_another_one_where_its_experiment_or_what_it_keeps_has_changed(driver, tmp_path, monkeypatch):
    plan = driver[0]
    monkeypatch.setattr(plan, "EXPERIMENTS", tmp_path)
    text = "  a: {group: g, about: x, train: [experiment=moon]}\n  b: {group: g, about: x, train: [], extends: a%s}\n"

    def keys(moon: str, keep: str = "") -> list[str]:
        (tmp_path / "moon.yaml").write_text(moon)
        return [recipe.key for recipe in recipes_of(plan, tmp_path, text % keep).values()]

    first = keys("dim: 3")
    assert keys("# said otherwise\ndim:  3\n") == first
    assert [new == old for new, old in zip(keys("dim: 4"), first, strict=True)] == [False, False]
    assert [new == old for new, old in zip(keys("dim: 3", ", keep: [text]"), first, strict=True)] == [True, False]


def test_recipes_are_chosen_on_combinations_that_training_never_shows(driver, tmp_path, monkeypatch):
    from bindspace.contract import registry
    from bindspace.space.bundle import save
    from bindspace.space.space import Space
    from bindspace_world import WorldConfig

    plan, runs, _ = driver
    monkeypatch.setattr(runs, "SMALLER", 12)
    recipe = recipes_of(plan, tmp_path, "  a: {group: g, about: x, train: []}\n")["a"]
    towers = {name: registry.load(name)() for name in ("image", "text")}
    save(Space(towers, dim=8, pivot="image"), recipe.folder(tmp_path, 3) / "space")
    found = runs.new_combinations(recipe, 3, tmp_path, str(tmp_path / "data"))
    assert set(found) == {"image-text/r1", "image-text/r5", "image-text/r10"}
    assert 0 <= found["image-text/r1"] <= found["image-text/r10"] <= 1
    (manifest,) = (tmp_path / "data").glob("*/manifest.jsonl")
    shown = {(row["shape"], row["material"]) for row in map(json.loads, manifest.read_text().splitlines())}
    world = WorldConfig(root="x", train_events=200)
    assert shown
    assert not shown & {(row["shape"], row["material"]) for row in world.rows("train")}


def test_a_part_of_a_space_is_saved_beside_it_once(driver, tmp_path, install_toys):
    from bindspace.space.bundle import load, save
    from bindspace.space.space import Space

    runs = driver[1]
    toys = {
        "vector": install_toys.VectorConfig(),
        "words": install_toys.WordsConfig(),
        "curve": install_toys.CurveConfig(),
    }
    save(Space(toys, dim=4, pivot="vector"), tmp_path / "space")
    assert runs._extended(tmp_path, ()) == tmp_path / "space"
    part = runs._extended(tmp_path, ("vector", "words"))
    assert load(part).modalities == ["vector", "words"]
    shutil.rmtree(tmp_path / "space")
    assert runs._extended(tmp_path, ("vector", "words")) == part


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ("group: g, tran: []", "tran"),
        ("extends: c, train: []", "be listed before"),
        ("group: g, about: x, train: [], row: mine, over: c", "'a' has a row over 'c'"),
    ],
)
def test_a_recipe_that_cannot_be_is_named(driver, tmp_path, fields, words):
    with pytest.raises(ValueError, match=words):
        recipes_of(driver[0], tmp_path, f"  a: {{{fields}}}\n")


@pytest.mark.parametrize("file", ["runs.jsonl", "explore.jsonl"])
def test_every_kept_line_belongs_to_a_recipe_as_it_is_now(driver, file):
    plan, runs, _ = driver
    recipes = plan.read_recipes()
    kept = list(runs.lines(ROOT / "docs" / "emergence" / file))
    assert kept
    assert {(line["recipe"], line["key"]) for line in kept} <= {(each.name, each.key) for each in recipes.values()}


def test_the_row_of_the_experiment_binds_audio_as_the_experiment_does(driver):
    experiment = yaml.safe_load((ROOT / "conf" / "experiment" / "emergence.yaml").read_text())
    said = dict(override.split("=", 1) for override in driver[0].read_recipes()["emergence"].train)
    audio, hubness = experiment["modality"]["audio"], experiment["callbacks"]["hubness"]
    assert yaml.safe_load(said["terms"]) == experiment["terms"]
    assert said["modality.audio.head"] == audio["head"]
    assert yaml.safe_load(said["modality.audio.bind"]) == audio["bind"]
    assert said["callbacks"] == "[hubness]"
    assert {key: yaml.safe_load(said[f"callbacks.hubness.{key}"]) for key in hubness} == hubness


@pytest.mark.parametrize("page", ["README.md", "docs/emergence.md"])
def test_the_table_of_a_page_is_what_the_kept_lines_say(driver, tmp_path, page):
    plan, runs, tables = driver
    import summary

    recipes, copy = plan.read_recipes(), tmp_path / "page.md"
    measured = tables.grouped(runs.lines(ROOT / "docs" / "emergence" / "runs.jsonl"), recipes)
    shutil.copy(ROOT / page, copy)
    summary.write_summary([copy], measured, recipes)
    assert copy.read_text(encoding="utf-8") == (ROOT / page).read_text(encoding="utf-8")


def test_the_summary_writes_between_its_marks_alone(driver, tmp_path):
    import summary

    plan, _, tables = driver
    text = (
        "  supervised: {group: r, about: x, row: real pairs, train: []}\n  quiet: {group: g, about: x, train: [b=1]}\n"
    )
    text += "  other: {group: g, about: x, row: mine, train: [a=1]}\n"
    text += "  more: {group: g, about: x, row: longer, train: [c=1], over: quiet}\n"
    recipes = recipes_of(plan, tmp_path, text)

    def planted(value: float) -> list[dict]:
        recall = {size: {"1": value / 2, "10": value} for size in ("500", "1000")}
        cells = {cell: {"recall": recall, "ceiling": {"10": 0.975}} for cell in tables.CELLS}
        return [{"seed": seed, "cpu_s": 1234.0, "pools": {"main": cells, "held_out": cells}} for seed in (0, 1)]

    measured = {"supervised": planted(0.8), "other": planted(0.4), "quiet": planted(0.9), "more": planted(0.6)}
    page = tmp_path / "page.md"
    page.write_text(f"before\n{summary.BEGIN}old\n{summary.END}after\n", encoding="utf-8")
    summary.write_summary([page], measured, recipes)
    first, head, _, reference, mine, more, limits, last = (
        page.read_text(encoding="utf-8").replace(summary.BEGIN, "").replace(summary.END, "").splitlines()
    )
    assert (first, last) == ("before", "after")
    assert "new: text → audio, 500" in head
    assert reference.startswith("| real pairs | 80.0 |")
    assert mine.startswith("| mine | 40.0: .500 (.500–.500) |")
    assert mine.endswith("| 1,234 |")
    assert more.startswith("| longer | 60.0: .667 (.667–.667) |")
    assert limits.startswith("| ceiling, chance | 98, 2 | 98, 2 | 98, 1 |")
    page.write_text("no marks", encoding="utf-8")
    with pytest.raises(ValueError, match="expected one line"):
        summary.write_summary([page], measured, recipes)
    assert page.read_text(encoding="utf-8") == "no marks"


def test_the_interval_is_students(driver):
    mean, low, high = driver[2].interval([0.1, 0.2, 0.3])
    assert mean == pytest.approx(0.2)
    assert high - mean == pytest.approx(4.302653 * 0.1 / math.sqrt(3), rel=1e-6)
    assert mean - low == pytest.approx(high - mean)
    assert all(math.isnan(end) for end in driver[2].interval([0.1])[1:])


def test_ratios_pair_seeds_and_the_table_shows_them(driver, tmp_path):
    plan, runs, tables = driver
    text = "  supervised: {group: r, about: x, train: []}\n  other: {group: g, about: x, train: [a=1]}\n"
    recipes = recipes_of(plan, tmp_path, text)

    def plant(name: str, seed: int, value: float) -> None:
        recall = {size: {"1": value / 2, "10": value} for size in ("500", "1000")}
        limits = {"ceiling": {"1": 1.0, "10": 1.0}, "chance": {"1": 0.001, "10": 0.01}}
        cells = {cell: {"recall": recall, **limits} for cell in tables.CELLS}
        line = {"recipe": name, "key": recipes[name].key, "seed": seed, "cpu_s": 1.0, "val": {}}
        runs.keep(tmp_path / "runs.jsonl", {**line, "pools": {"main": cells, "held_out": cells}})

    for name, seed, value in (("supervised", 0, 0.8), ("supervised", 1, 0.4), ("other", 1, 0.2), ("other", 2, 0.9)):
        plant(name, seed, value)
    groups = tables.grouped(runs.lines(tmp_path / "runs.jsonl"), recipes)
    where = ("main", "audio>text", "500", "10")
    assert tables.ratios(groups["other"], groups["supervised"], *where) == [0.5]  # seed 2 has no partner
    shown = [row for row in tables.test_table(groups, recipes) if row.startswith("| other | 2 | seen, 500")]
    assert "0.500, 0.500" in shown[0]
    changed = {**json.loads((tmp_path / "runs.jsonl").read_text().splitlines()[0]), "key": "00000000"}
    assert tables.grouped([changed], recipes) == {}


def test_validation_shows_seen_and_new_combinations(driver, tmp_path):
    plan, _, tables = driver
    recipes = recipes_of(plan, tmp_path, "  a: {group: g, about: words, train: []}\n")
    line = {"seed": 0, "cpu_s": 7.0, "val": {"val/audio-text/r10": 0.5}, "new_combinations": {"audio-text/r10": 0.25}}
    head, _, row = tables.val_table({"a": [line]}, recipes)
    shown = dict(zip(head.split(" | "), row.split(" | "), strict=True))
    assert (shown["audio-text/r10"], shown["new audio-text/r10"]) == ("50.0", "25.0")
    assert shown["new image-text/r10"] == ""
