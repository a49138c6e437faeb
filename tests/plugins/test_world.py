"""The simulated world: what is drawn, what is rendered, and what it keeps apart."""

import itertools
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from bindspace.contract import registry
from bindspace.contract.errors import UserError
from bindspace_world import _KNOWN, MODALITIES, Combinations, WorldConfig
from bindspace_world.arithmetic import Draws, cosine, exp2, log2, sine
from bindspace_world.attributes import ATTRIBUTES, HELD_OUT, draw_events
from bindspace_world.captions import WORDS, captions
from bindspace_world.contact import contact_sheet
from bindspace_world.writing import RENDERERS, render

HELD_OUT_PAIRS = set(enumerate(HELD_OUT))


def pairs(combinations: str, count: int = 3000) -> set[tuple[int, int]]:
    events = draw_events(5, np.arange(count), combinations)
    return set(zip(events.shape.tolist(), events.material.tolist()))


# --- what is drawn


def test_the_world_is_found_by_its_entry_point():
    assert registry.load("world", registry.DATASETS) is WorldConfig


def test_importing_the_world_imports_nothing_heavy():
    code = "import sys, bindspace_world; print(*{'numpy', 'torch', 'PIL', 'rich'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == ""


def test_training_never_sees_the_held_out_combinations_and_sees_all_others():
    assert pairs("seen").isdisjoint(HELD_OUT_PAIRS)
    assert len(pairs("seen")) == 30
    assert pairs("held_out") == HELD_OUT_PAIRS
    assert len(pairs("all")) == 36


def test_every_shape_and_every_material_is_held_out_once():
    assert sorted(HELD_OUT) == list(range(6))


def test_attributes_are_drawn_independently():
    # For each two attributes the chi-square statistic of their table stays below the 1 - 1e-6 quantile of its
    # distribution (Wilson and Hilferty's approximation); shape and material are tied by what is held out.
    events = draw_events(11, np.arange(20000), "seen")
    for one, other in itertools.combinations(ATTRIBUTES, 2):
        if {one, other} == {"shape", "material"}:
            continue
        table = np.zeros((len(ATTRIBUTES[one]), len(ATTRIBUTES[other])))
        np.add.at(table, (getattr(events, one), getattr(events, other)), 1)
        expected = np.outer(table.sum(1), table.sum(0)) / table.sum()
        free = (table.shape[0] - 1) * (table.shape[1] - 1)
        bound = free * (1 - 2 / (9 * free) + 4.75 * np.sqrt(2 / (9 * free))) ** 3
        assert ((table - expected) ** 2 / expected).sum() < bound, (one, other)


@given(st.integers(0, 2**61), st.integers(0, 2**40))
@settings(max_examples=30, deadline=None)
def test_an_event_depends_on_nothing_but_seed_and_number(seed, number):
    alone = draw_events(seed, np.array([number]), "seen")
    among = draw_events(seed, np.array([number + 7, number, number + 1]), "seen").take(np.array([1]))
    for name, value in vars(alone).items():
        np.testing.assert_array_equal(value, getattr(among, name))


def test_seeds_and_streams_share_no_draws():
    index = np.arange(200)
    words = [Draws(seed, stream, index).words(5) for seed in (0, 1, 2**48) for stream in ("event", "image")]
    assert len(np.unique(np.concatenate(words))) == 6 * 1000


def test_uniform_draws_fill_their_range_evenly():
    unit = Draws(3, "x", np.arange(1000)).uniform(2, 4, 20)
    counts, _ = np.histogram(unit, bins=10, range=(2, 4))
    assert counts.sum() == 20000
    assert np.abs(counts - 2000).max() < 5 * np.sqrt(2000)


@pytest.mark.parametrize(
    ("ours", "numpys", "x"),
    [
        (sine, lambda x: np.sin(2 * np.pi * x), np.linspace(-3, 3, 2001)),
        (cosine, lambda x: np.cos(2 * np.pi * x), np.linspace(-3, 3, 2001)),
        (exp2, np.exp2, np.linspace(-20, 3, 2001)),
        (log2, np.log2, np.linspace(0.01, 9, 2001)),
    ],
)
def test_portable_functions_agree_with_numpy(ours, numpys, x):
    np.testing.assert_allclose(ours(x), numpys(x), rtol=1e-6, atol=1e-6)


# --- what is rendered


@pytest.mark.parametrize("name", RENDERERS)
def test_a_sample_does_not_depend_on_what_is_rendered_beside_it(name):
    events = draw_events(7, np.arange(9), "seen")
    together = render(name, events)
    np.testing.assert_array_equal(render(name, events.take(np.array([4]))), together[4:5])
    np.testing.assert_array_equal(render(name, events.take(np.array([8, 2, 4]))), together[[8, 2, 4]])


def with_other(events, **labels):
    return replace(events, **{name: np.full(len(events), value) for name, value in labels.items()})


@pytest.mark.parametrize("name", ["audio", "imu", "depth"])
def test_colour_and_temperature_are_in_no_sound_movement_or_distance(name):
    events = draw_events(13, np.arange(18), "all")
    red, purple = with_other(events, colour=0, temperature=0), with_other(events, colour=5, temperature=2)
    np.testing.assert_array_equal(render(name, red), render(name, purple))


@pytest.mark.parametrize("name", RENDERERS)
def test_a_modality_changes_with_each_attribute_that_it_is_said_to_know(name):
    events = draw_events(13, np.arange(6), "all")
    for column in _KNOWN[name]:
        first, last = (with_other(events, **{column: value}) for value in (0, len(ATTRIBUTES[column]) - 1))
        if column == "vigour":  # labels of a continuous value
            first, last = replace(first, vigour_value=np.full(6, 0.8)), replace(last, vigour_value=np.full(6, 1.4))
        if column == "size":
            first, last = replace(first, radius=np.full(6, 0.34)), replace(last, radius=np.full(6, 0.62))
        assert (render(name, first) != render(name, last)).any(), column


def test_samples_have_the_sizes_and_types_that_the_files_promise():
    events = draw_events(2, np.arange(12), "seen")
    shapes = {name: (render(name, events).shape[1:], render(name, events).dtype.name) for name in ("image", "depth")}
    assert shapes == {"image": ((64, 64, 3), "uint8"), "depth": ((48, 48), "uint16")}
    assert render("thermal", events).shape == (12, 32, 32)
    assert render("audio", events).shape == (12, 24000)
    assert render("imu", events).shape == (12, 200, 6)


def test_an_object_is_nearer_than_its_wall_and_some_pixels_have_no_reading():
    depth = render("depth", draw_events(2, np.arange(30), "seen"))
    assert 0.005 < (depth == 0).mean() < 0.08
    assert (np.median(depth[:, 20:28, 20:28], axis=(1, 2)) < np.median(depth[:, :4], axis=(1, 2)) - 300).all()


def test_hot_is_warmer_than_cold_by_what_its_material_radiates():
    events = draw_events(2, np.arange(40), "seen")
    middle = [
        np.median(render("thermal", with_other(events, temperature=value))[:, 14:18, 14:18], axis=(1, 2)) / 100
        for value in (0, 2)
    ]
    warmer = middle[1] - middle[0]
    solid = events.shape != 4  # a torus has a hole in the middle
    assert warmer[solid].min() > 5
    assert warmer[solid & (events.material == 0)].mean() < 0.6 * warmer[solid & (events.material == 3)].mean()


def test_sounds_are_audible_and_never_clip():
    sound = render("audio", draw_events(2, np.arange(60), "all")).astype(np.int32)
    peaks = np.abs(sound).max(1)
    assert peaks.min() > 3000
    assert peaks.max() < 32000


def test_a_large_thing_sounds_lower_than_a_small_one():
    events = with_other(draw_events(2, np.arange(24), "all"), motion=0, shape=0, material=0, surface=2)
    lowest = []
    for radius in (0.34, 0.62):
        spectrum = np.abs(np.fft.rfft(render("audio", replace(events, radius=np.full(24, radius))), axis=1))
        lowest.append((spectrum > 0.3 * spectrum.max(1, keepdims=True)).argmax(1))
    assert (lowest[0] > 1.5 * lowest[1]).all()


def test_the_sensor_feels_gravity_at_rest_and_is_weightless_in_flight():
    sliding = with_other(draw_events(2, np.arange(20), "all"), motion=4)
    at_rest = np.sqrt((render("imu", sliding)[:, -10:, :3] ** 2).sum(2))
    assert np.abs(at_rest - 9.81).max() < 1.5
    bouncing = with_other(sliding, motion=0, material=3, surface=2)
    assert np.median(np.sqrt((render("imu", bouncing)[:, 40:60, :3] ** 2).sum(2))) < 3


def test_a_contact_sheet_is_a_picture_for_people(tmp_path):
    out = contact_sheet(tmp_path / "sheet.png", events=7)
    with Image.open(out) as sheet:
        assert sheet.width == 816
        assert len(sheet.convert("RGB").getcolors(1 << 24)) > 5000


# --- captions


def test_captions_name_an_attribute_as_often_as_they_should():
    events = draw_events(3, np.arange(2000), "seen")
    said = captions(events)
    share = {
        name: np.mean([
            any(word in caption.replace(",", " ").replace(":", " ").split() for word in WORDS[events.labels(i)[name]])
            for i, (caption,) in enumerate(said)
        ])
        for name in ATTRIBUTES
    }  # fmt: skip
    expected = {"shape": 0.95, "material": 0.92, "size": 0.60, "motion": 0.95}
    expected |= {"vigour": 0.55, "surface": 0.70, "colour": 0.75, "temperature": 0.60}
    assert share == pytest.approx(expected, abs=0.05)


def test_captions_never_name_another_value():
    owner = {word: value for value, words in WORDS.items() for word in words}
    events = draw_events(3, np.arange(300), "all")
    for i, sentences in enumerate(captions(events, 6)):
        words = " ".join(sentences).replace(",", " ").replace(":", " ").split()
        assert {owner[word] for word in words if word in owner} <= set(events.labels(i).values())


def test_no_word_belongs_to_two_values():
    words = [word for options in WORDS.values() for word in options]
    assert len(words) == len(set(words))
    assert all(value == WORDS[value][0] for values in ATTRIBUTES.values() for value in values)


def test_more_alternatives_leave_the_first_as_it_was():
    events = draw_events(3, np.arange(20), "seen")
    assert [one[0] for one in captions(events, 1)] == [six[0] for six in captions(events, 6)]


def test_prompts_use_words_of_captions():
    events = draw_events(3, np.arange(3000), "seen")
    heard = set(" ".join(c for cs in captions(events, 2) for c in cs).replace(",", " ").replace(":", " ").split())
    for name, prompts in WorldConfig().templates().items():
        for prompt in prompts:
            for value in ATTRIBUTES[name]:
                assert set(prompt.format(value).replace(",", " ").split()) <= heard


# --- settings


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"modalities": ["image", "odour"]}, "unknown modality of the world 'odour'"),
        ({"modalities": []}, "modalities must be given once each"),
        ({"modalities": ["image", "image"]}, "modalities must be given once each"),
        ({"events": 0}, "events must be at least 1, got 0"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"workers": 0}, "workers must be at least 1, got 0"),
        ({"pair_events": {"image-odour": 5}}, "unknown modality or pair in pair_events 'image-odour'"),
        ({"pair_events": {"depth": 0}}, "pair_events.depth must be at least 1"),
    ],
)
def test_a_setting_that_makes_no_sense_is_answered_with_a_sentence(given, message, tmp_path):
    with pytest.raises(UserError, match=message):
        WorldConfig(**given).write(tmp_path / "out")
    assert not list(tmp_path.iterdir())


def test_it_can_be_built_from_a_command_lines_values():
    from omegaconf import OmegaConf

    values = {"events": 3, "combinations": "held_out", "modalities": ["text"], "pair_events": {"image-text": 9}}
    config = OmegaConf.to_object(OmegaConf.merge(OmegaConf.structured(WorldConfig), values))
    assert isinstance(config, WorldConfig)
    assert config.combinations is Combinations.held_out
    assert config.pair_events == {"depth": 2400, "thermal": 2400, "imu": 2400, "image-text": 9}


def test_what_it_says_of_itself_fits_its_columns():
    config = WorldConfig()
    assert set(config.known()) == set(MODALITIES)
    assert set(config.templates()) == set(ATTRIBUTES)
    assert all(set(columns) <= {*ATTRIBUTES, "concept"} for columns in config.known().values())
    assert {name for name, columns in config.known().items() if "concept" in columns} == {
        "image", "text", "audio", "thermal",
    }  # fmt: skip
    assert not {"colour", "temperature"} & {*config.known()["audio"], *config.known()["imu"]}
    json.dumps(config.known())
