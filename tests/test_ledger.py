"""What the ledger may say of two modalities, and that it says `unknown` where it cannot know."""

from __future__ import annotations

import hashlib
import io
import json
import shutil

import numpy as np
import pytest
import torch

from bindspace.ledger.ledger import Ledger
from bindspace.ledger.records import DigestSet

HASH = "ab" * 32


def digests(*contents: str) -> np.ndarray:
    """The digests of some contents, as the data layer hands them over."""
    return np.frombuffer(b"".join(hashlib.sha256(c.encode()).digest() for c in contents), np.uint8).reshape(-1, 32)


def paired(ledger: Ledger, a: str, b: str, *events: str, kind: str = "paired", **more) -> None:
    """Records one step of a pair; what is seen of an event is named by the event and the modality."""
    seen = {name: digests(*(f"{name} of {event}" for event in events)) for name in (a, b)}
    ledger.record((a, b), "manifest", seen, kind=kind, **more)


def star(**origins: str) -> Ledger:
    """sight-sound and sight-word trained on disjoint events; touch never met anything."""
    ledger = Ledger.new(dict.fromkeys(("sight", "sound", "word", "touch"), "random") | origins)
    paired(ledger, "sight", "sound", "e1", "e2")
    paired(ledger, "word", "sight", "e3", "e4", "e5")
    return ledger


# --- statuses, in the order of the table


def test_a_trained_pair_is_trained_whichever_way_it_is_asked():
    assert star().status("sight", "word") == star().status("word", "sight") == "trained"
    assert star().trained_pairs() == [("sight", "sound"), ("sight", "word")]


def test_two_modalities_that_met_only_the_pivot_on_disjoint_media_are_emergent():
    assert star().status("sound", "word") == star().status("word", "sound") == "emergent"


def test_one_shared_pivot_medium_makes_the_pair_bridged():
    ledger = star()
    paired(ledger, "sight", "word", "e2")
    assert ledger.status("sound", "word") == "bridged"
    assert ledger.bridge("sound", "word") == ledger.bridge("word", "sound") == 1


def test_a_bridge_counts_distinct_media_and_not_steps():
    ledger = star()
    for _ in range(3):
        paired(ledger, "sight", "word", "e1", "e2")
    assert ledger.bridge("sound", "word") == 2


def test_any_shared_neighbour_can_be_the_bridge_not_only_the_pivot():
    ledger = star()
    paired(ledger, "touch", "sound", "e7")
    paired(ledger, "touch", "word", "e7")
    assert ledger.status("sound", "word") == "bridged"


def test_unpaired_media_build_no_bridge_and_stand_beside_the_status():
    ledger = star()
    paired(ledger, "sight", "word", "e1", kind="unpaired")
    paired(ledger, "sound", "word", "e1", "e4", kind="unpaired")
    assert ledger.status("sound", "word") == "emergent"
    assert ledger.unpaired_steps("word", "sound") == 1
    assert ledger.unpaired_steps("sound", "touch") == 0


def test_without_a_path_of_trained_legs_a_pair_is_unlinked():
    assert star().status("touch", "word") == "unlinked"


def test_unpaired_terms_are_no_legs():
    ledger = star()
    paired(ledger, "touch", "sight", "e1", kind="unpaired")
    assert ledger.status("touch", "word") == "unlinked"
    assert ledger.legs("touch", "word") == []


def test_a_tower_of_which_nothing_is_said_leaves_its_pairs_unknown_and_no_others():
    ledger = star(word="weights")
    assert ledger.status("sound", "word") == ledger.status("sight", "word") == "unknown"
    assert ledger.status("sight", "sound") == "trained"


def test_a_pivot_of_which_nothing_is_said_does_not_hide_that_the_others_never_met():
    assert star(sight="weights").status("sound", "word") == "emergent"


def test_a_modality_that_the_ledger_never_heard_of_is_unknown():
    assert star().status("sight", "smell") == "unknown"


def test_declarations_are_legs_and_statuses_of_their_own():
    ledger = Ledger.new(dict.fromkeys(("sight", "sound", "word"), "declared"))
    ledger.declare(("word", "sight"), by="its authors", note="captions from the web")
    ledger.declare(("sight", "sound"), by="its authors")
    assert ledger.status("sight", "word") == "declared-trained"
    assert ledger.status("sound", "word") == "declared-emergent"
    assert ledger.declarations[0] == {"pair": ["sight", "word"], "by": "its authors", "note": "captions from the web"}


def test_what_is_on_record_counts_before_what_is_declared():
    ledger = star()
    ledger.declare(("sight", "word"), by="somebody")
    assert ledger.status("sight", "word") == "trained"


def test_one_tower_with_its_whole_history_is_enough_to_be_emergent():
    ledger = Ledger.new({"sight": "declared", "word": "declared", "sound": "random"})
    ledger.declare(("sight", "word"), by="its authors")
    paired(ledger, "sight", "sound", "e1")
    assert ledger.status("sound", "word") == "emergent"


def test_nothing_trained_means_nothing_claimed():
    ledger = Ledger.new({"sight": "random", "sound": "random"})
    assert ledger.trained_pairs() == []
    assert ledger.status("sight", "sound") == "unlinked"


# --- legs


def test_legs_are_every_shortest_path_and_no_longer_one():
    ledger = star()
    assert ledger.legs("sound", "word") == [["sound", "sight", "word"]]
    paired(ledger, "touch", "sound", "e7")
    paired(ledger, "touch", "word", "e8")
    assert ledger.legs("sound", "word") == [["sound", "sight", "word"], ["sound", "touch", "word"]]
    assert ledger.legs("sight", "word") == [["sight", "word"]]


def test_legs_reach_over_several_modalities():
    ledger = star()
    paired(ledger, "touch", "sound", "e7")
    assert ledger.legs("touch", "word") == [["touch", "sound", "sight", "word"]]
    assert ledger.status("touch", "word") == "emergent"


# --- the record


def test_steps_examples_and_sources_are_counted_by_pair():
    ledger = star()
    paired(ledger, "sound", "sight", "e1", "e2")
    ledger.record(("sight", "sound"), "another", {"sight": digests("x"), "sound": digests("y")})
    record = ledger.pairs["sight", "sound"]
    assert (record.paired.steps, record.paired.examples) == (3, 5)
    assert record.sources == {"manifest": 4, "another": 1}
    assert len(record.paired.media["sight"]) == 3


def test_overlap_counts_the_given_contents_that_were_seen_in_any_pair():
    ledger = star()
    asked = digests("sight of e1", "sight of e4", "sight of e9", "sight of e1")
    assert ledger.seen("sight", asked).tolist() == [True, True, False, True]
    assert ledger.overlap("sight", torch.from_numpy(asked.copy())) == 3
    assert ledger.overlap("sight", [bytes(row) for row in asked]) == 3
    assert ledger.overlap("word", asked) == ledger.overlap("sight", []) == 0


def test_media_of_unpaired_terms_were_seen_too():
    ledger = star()
    paired(ledger, "sound", "word", "e9", kind="unpaired")
    assert ledger.overlap("word", digests("word of e9")) == 1


def test_groups_in_training_are_recognised():
    ledger = star()
    paired(ledger, "sight", "sound", "e8", "e9", groups=["recording-7", "caf\u00e9"])
    assert ledger.seen_groups(["recording-7", None, "recording-8", "cafe\u0301"]).tolist() == [True, False, False, True]


def test_columns_that_shaped_a_pair_and_metrics_that_selected_are_kept_once_each():
    ledger = star()
    for _ in range(2):
        paired(ledger, "sight", "sound", "e1", shaped_by=["caption"])
        ledger.select("val/sight-word/r10")
    assert ledger.shaped_by("sound", "sight") == ["caption"]
    assert ledger.shaped_by("sound", "word") == []
    assert ledger.selected_on == ["val/sight-word/r10"]


def test_digest_sets_agree_with_python_sets_whatever_the_bytes_and_however_often_they_are_merged():
    rng = np.random.default_rng(0)
    pool = rng.integers(0, 256, (400, 32), np.uint8)
    pool[:50, 5:] = 0  # many trailing zero bytes: a C string would end there
    pool[50:90, :31] = 0
    mine, truth = DigestSet(), set()
    for _ in range(300):
        rows = pool[rng.integers(0, len(pool) - 100, 7)]
        mine.add(rows)
        truth |= {bytes(row) for row in rows}
        if rng.random() < 0.05:
            assert len(mine) == len(truth)
    assert [bytes(row) for row in mine.rows()] == sorted(truth)
    assert mine.seen(pool).tolist() == [bytes(row) in truth for row in pool]


def test_what_is_recorded_later_does_not_follow_a_buffer_that_was_used_again():
    ledger, buffer = Ledger.new({"a": "random", "b": "random"}), digests("x").copy()
    ledger.record(("a", "b"), "m", {"a": buffer, "b": buffer})
    buffer[:] = 0
    assert ledger.overlap("a", digests("x")) == 1


def test_a_digest_of_the_wrong_size_is_a_programming_error():
    with pytest.raises(AssertionError, match="32"):
        star().overlap("sight", [b"short"])


# --- inheritance


def test_an_heir_sums_steps_and_unites_media_and_keeps_its_new_modalities_apart():
    heir = Ledger.new({"touch": "random"})
    heir.inherit(star(), ["sight", "sound", "word"], note="extend=outputs/first")
    paired(heir, "sight", "touch", "e9")
    paired(heir, "sight", "sound", "e1", "e9")
    assert heir.pairs["sight", "sound"].paired.steps == 2
    assert len(heir.pairs["sight", "sound"].paired.media["sound"]) == 3
    assert heir.status("touch", "word") == "emergent"
    assert heir.bridge("touch", "sound") == 1
    assert heir.towers["word"].complete
    assert heir.summary()["modalities"]["word"]["init"] == "inherited"
    assert "extend=outputs/first" in heir.towers["word"].note


def test_what_an_ancestor_trained_bridges_to_what_the_heir_trains():
    heir = Ledger.new({"touch": "random"})
    heir.inherit(star())
    paired(heir, "sight", "touch", "e4")
    assert heir.status("touch", "word") == "bridged"


def test_the_ancestor_is_not_changed_by_its_heir():
    ancestor = star()
    before = ancestor.summary()
    heir = Ledger.new({})
    heir.inherit(ancestor)
    paired(heir, "sight", "sound", "e100", shaped_by=["caption"])
    heir.select("x")
    heir.declare(("sound", "word"), by="x")
    assert ancestor.summary() == before


def test_of_an_unknown_ancestor_the_towers_stay_unknown_for_ever():
    middle = Ledger.new({"touch": "random"})
    middle.inherit(Ledger.unknown("there is no ledger.json"), ["sight", "word"])
    paired(middle, "sight", "touch", "e1")
    heir = Ledger.new({"smell": "random"})
    heir.inherit(middle)
    paired(heir, "sight", "smell", "e2")
    assert heir.status("word", "smell") == heir.status("sight", "word") == "unknown"
    assert heir.status("touch", "smell") == "emergent"
    assert "there is no ledger.json" in heir.towers["word"].note


def test_a_tower_with_two_parents_is_known_only_as_far_as_both_are():
    heir = Ledger.new({})
    heir.inherit(star())
    heir.inherit(star(word="declared"), ["word"])
    assert not heir.towers["word"].complete
    heir.inherit(star(), ["word"])
    assert heir.towers["word"].origin == "declared"


# --- state and files


def test_the_state_survives_a_checkpoint_that_is_read_without_pickled_code():
    ledger = star(touch="weights")
    ledger.select("val/loss")
    ledger.declare(("touch", "word"), by="x", note="y")
    paired(ledger, "sight", "sound", "e1", shaped_by=["caption"], groups=["g"], kind="unpaired")
    file = io.BytesIO()
    torch.save({"ledger": ledger.state()}, file)
    file.seek(0)
    again = Ledger.from_state(torch.load(file, weights_only=True)["ledger"])
    assert again.summary() == ledger.summary()
    assert again.overlap("sight", digests("sight of e1", "sight of e9")) == 1
    paired(again, "sight", "word", "e1")
    assert again.status("sound", "word") == "bridged"


def test_an_empty_ledger_has_a_state_too():
    assert Ledger.from_state(Ledger.new({"a": "random"}).state()).status("a", "b") == "unknown"


def test_a_saved_ledger_loads_for_the_weights_it_was_saved_with(tmp_path):
    ledger = star()
    paired(ledger, "sight", "sound", "e8", groups=["g"])
    ledger.save(tmp_path, HASH)
    again = Ledger.load(tmp_path, HASH)
    assert again.unknown_reason is None
    assert again.summary() == ledger.summary()
    assert again.overlap("word", digests("word of e3", "word of e1")) == 1
    assert again.seen_groups(["g"]).all()


def test_ledger_json_is_for_people_and_says_that_it_does_not_prove(tmp_path):
    value = json.loads(star().save(tmp_path, HASH).read_text())
    assert value["schema"] == 1
    assert value["weights_sha256"] == HASH
    assert "does not prove" in value["about"]
    assert value["statuses"]["sound-word"] == "emergent"
    assert value["pairs"][0]["paired"]["steps"] == 1


def test_the_media_file_holds_sorted_digests_where_the_json_says(tmp_path):
    place = json.loads(star().save(tmp_path, HASH).read_text())["pairs"][1]["paired"]["media"]["word"]
    data = (tmp_path / "ledger.media").read_bytes()
    assert data[:16] == b"BINDMEDI" + (1).to_bytes(4, "little") + (32).to_bytes(4, "little")
    start = 16 + 32 * place["first"]
    found = [data[start + 32 * i : start + 32 * (i + 1)] for i in range(place["count"])]
    assert found == sorted(bytes(row) for row in digests("word of e3", "word of e4", "word of e5"))


def test_a_ledger_of_other_weights_knows_nothing(tmp_path):
    star().save(tmp_path, HASH)
    ledger = Ledger.load(tmp_path, "cd" * 32)
    assert ledger.status("sight", "sound") == "unknown"
    assert ledger.trained_pairs() == ledger.legs("sight", "sound") == []
    assert "other weights" in ledger.unknown_reason


@pytest.mark.parametrize("name", ["ledger.json", "ledger.media"])
def test_without_one_of_its_files_a_ledger_knows_nothing(tmp_path, name):
    star().save(tmp_path, HASH)
    (tmp_path / name).unlink()
    ledger = Ledger.load(tmp_path, HASH)
    assert ledger.status("sight", "sound") == "unknown"
    assert ledger.unknown_reason == f"there is no {name}"


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text.replace('"steps": 1', '"steps": 0'),
        lambda text: text.replace("random", "weights"),
        lambda text: text[: len(text) // 2],
        lambda text: "[" * 100_000,
        lambda text: "[]",
        lambda text: "null",
        lambda text: "{}",
        lambda text: '{"schema": 99}',
        lambda text: text.replace('"schema": 1', '"schema": 2'),
        lambda text: "\udcff",
    ],
)
def test_an_edited_or_damaged_ledger_knows_nothing_and_raises_nothing(tmp_path, damage):
    path = star().save(tmp_path, HASH)
    path.write_bytes(damage(path.read_text()).encode(errors="surrogateescape"))
    ledger = Ledger.load(tmp_path, HASH)
    assert ledger.status("sight", "sound") == "unknown"
    assert "ledger.json" in ledger.unknown_reason


@pytest.mark.parametrize(
    "damage", [lambda data: data[:-1], lambda data: data + bytes(32), lambda data: b"", bytes.swapcase]
)
def test_damaged_media_make_the_ledger_unknown(tmp_path, damage):
    star().save(tmp_path, HASH)
    path = tmp_path / "ledger.media"
    path.write_bytes(damage(path.read_bytes()))
    ledger = Ledger.load(tmp_path, HASH)
    assert ledger.status("sight", "sound") == "unknown"
    assert "ledger.media" in ledger.unknown_reason


@pytest.mark.parametrize(
    "forge",
    [
        lambda body: body["pairs"][0]["paired"].update(steps="many"),
        lambda body: body["pairs"][0]["paired"]["media"]["sight"].update(count=10**12),
        lambda body: body["pairs"][0]["paired"]["media"]["sight"].update(first=-1),
        lambda body: body["pairs"][0].update(of=["sight"]),
        lambda body: body["pairs"][0].update(shaped_by=[{}]),
        lambda body: body.update(modalities=[]),
        lambda body: body["modalities"]["sight"].update(origin="heaven"),
        lambda body: body.update(selected_on="x"),
        lambda body: body.pop("declarations"),
    ],
)
def test_values_of_the_wrong_kind_make_it_unknown_even_if_the_hashes_agree(tmp_path, forge):
    from bindspace.ledger.file import _body_hash

    path = star().save(tmp_path, HASH)
    body = json.loads(path.read_text())
    del body["body_sha256"]
    forge(body)
    path.write_text(json.dumps(body | {"body_sha256": _body_hash(body)}))
    ledger = Ledger.load(tmp_path, HASH)
    assert ledger.status("sight", "sound") == "unknown"
    assert "damaged" in ledger.unknown_reason


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    star().save(tmp_path / "other", HASH)
    shutil.copytree(tmp_path / "other", tmp_path / "space")
    (tmp_path / "space" / "ledger.json").unlink()
    (tmp_path / "space" / "ledger.json").symlink_to(tmp_path / "other" / "ledger.json")
    ledger = Ledger.load(tmp_path / "space", HASH)
    assert ledger.status("sight", "sound") == "unknown"
    assert "leads out" in ledger.unknown_reason


def test_an_unknown_ledger_is_not_washed_clean_by_saving_it_again(tmp_path):
    star().save(tmp_path, HASH)
    unknown = Ledger.load(tmp_path, "cd" * 32)
    paired(unknown, "sight", "sound", "e1")
    unknown.save(tmp_path, HASH)
    assert "other weights" in Ledger.load(tmp_path, HASH).unknown_reason
    assert "other weights" in Ledger.from_state(unknown.state()).unknown_reason


def test_foreign_weights_that_a_sensor_joins_later_say_what_is_recorded_and_what_is_declared():
    imported = Ledger.declared(["image", "text", "audio"], "makers", {("image", "text"): "web", ("image", "audio"): ""})
    assert imported.status("image", "text") == "declared-trained"
    assert imported.status("text", "audio") == "declared-emergent"
    extended = Ledger.new({"imu": "random"})
    extended.inherit(imported, note="imported")
    extended.record(("image", "imu"), "0" * 64, {"image": [b"i" * 32], "imu": [b"m" * 32]})
    assert extended.status("image", "imu") == "trained"
    assert extended.status("text", "imu") == "emergent"  # all of the sensor's past is on record
    assert extended.legs("text", "imu") == [["text", "image", "imu"]]
    assert extended.status("text", "audio") == "declared-emergent"
    extended.record(("text", "audio"), "0" * 64, {"text": [b"t" * 32], "audio": [b"a" * 32]})
    assert extended.status("text", "audio") == "trained"
    assert extended.declared_of("text", "image") == ["image-text on web, by makers"]
    assert extended.declared_of("text", "audio") == []


def test_a_leg_to_what_was_left_out_of_an_import_still_joins_what_was_taken():
    imported = Ledger.declared(["depth", "imu"], "makers", {("image", "depth"): "", ("image", "imu"): ""})
    assert imported.status("depth", "imu") == "declared-emergent"
