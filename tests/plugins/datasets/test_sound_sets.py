"""Sets of sounds, read from small folders in their owners' layout: rows, classes, captions, and words for gaps."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import soundfile
from owners_sounds import SETS, audiocaps, audioset, clotho, esc50, msrvtt, table, tone, vggsound

from bindspace import Source
from bindspace.cli import main
from bindspace.contract import registry
from bindspace.contract.errors import AbsentError, UserError
from bindspace.data import load_pool
from bindspace_datasets.audiocaps import AudiocapsConfig
from bindspace_datasets.audioset import AudiosetConfig
from bindspace_datasets.clotho import ClothoConfig
from bindspace_datasets.esc50 import Esc50Config
from bindspace_datasets.msrvtt import MsrvttConfig, Track
from bindspace_datasets.vggsound import VggsoundConfig


def rows_of(config, split="test"):
    """The rows of a split by id."""
    return {row["id"]: row for row in config.rows(split)}


@pytest.mark.parametrize("name", SETS)
def test_each_is_registered_and_every_sound_is_read_by_the_audio_plugin(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = registry.load(name, registry.DATASETS)(folder=str(SETS[name](tmp_path / "theirs")))
    assert (config.name, registry.implementation(type(config), registry.DATASETS)) == (name, name)
    sources = config.sources([], ["audio"])
    assert (sources["train"], sources["val"]) == ([], [])
    pool = load_pool(sources["test"], {"audio": registry.load("audio")()}, max_bad_fraction=0.0)
    there = [row for row in config.rows("test") if "audio" in row]
    assert (len(pool), pool.left_out) == (len(there), len(list(config.rows("test"))) - len(there))
    assert len(pool) >= 2


@pytest.mark.parametrize("name", SETS)
def test_an_empty_folder_is_answered_with_what_to_download_from_where(name, tmp_path):
    config = registry.load(name, registry.DATASETS)(folder=str(tmp_path))
    with pytest.raises(AbsentError) as refused:
        list(config.rows("test"))
    said = str(refused.value)
    assert said.startswith(f"{config.title}: expected ")
    assert str(tmp_path) in said
    assert "download it from http" in said


def test_the_kind_sentence_reaches_the_command_line(tmp_path, capsys):
    assert main(["esc50", f"folder={tmp_path}", f"out={tmp_path / 'out'}"]) == 2
    assert capsys.readouterr().err == (
        f"bindspace: ESC-50: expected its list of clips at {tmp_path}/meta/esc50.csv: download it from "
        f"https://github.com/karolpiczak/ESC-50 and unpack it so that {tmp_path} holds meta/esc50.csv\n"
    )
    assert not (tmp_path / "out").exists()
    assert main(["esc50", f"out={tmp_path / 'out'}"]) == 2
    assert "ESC-50 is read from a local folder: set folder=" in capsys.readouterr().err


# --- ESC-50 -----------------------------------------------------------------------------------------------------------


def test_esc50_names_its_classes_in_words_and_keeps_recordings_together(tmp_path):
    rows = rows_of(Esc50Config(folder=str(esc50(tmp_path))))
    assert rows["1-100038-A-14"] == {
        "id": "1-100038-A-14",
        "label": "chirping birds",
        "group": "freesound-100038",
        "audio": "audio/1-100038-A-14.wav",
    }
    assert rows["2-114280-A-0"]["group"] == rows["2-114280-B-0"]["group"]
    assert len(rows) == 6


def test_esc50_has_folds_and_its_classes_do_not_shrink_with_them(tmp_path):
    config = Esc50Config(folder=str(esc50(tmp_path)), folds=[2])
    assert {row["label"] for row in config.rows("test")} == {"dog", "rain"}
    assert config.classes() == {"label": ["chirping birds", "dog", "rain"]}
    assert config.templates() == {"label": ["clip"]}


def test_esc50_is_written_as_a_manifest_that_is_read_from_the_owners_folder(tmp_path, capsys):
    folder, out = esc50(tmp_path / "ESC-50-master"), tmp_path / "out"
    assert main(["esc50", f"folder={folder}", f"out={out}"]) == 0
    assert capsys.readouterr().out == f"{out}/manifest.jsonl\n"
    pool = load_pool([Source(str(out), root=str(folder))], {"audio": registry.load("audio")()})
    assert len(pool) == 6
    assert pool.attributes["label"][1] == "chirping birds"
    assert list(out.iterdir()) == [out / "manifest.jsonl"]


def test_a_clip_that_is_gone_is_a_row_without_sound(tmp_path):
    (esc50(tmp_path) / "audio" / "1-100032-A-0.wav").unlink()
    rows = rows_of(Esc50Config(folder=str(tmp_path)))
    assert "audio" not in rows["1-100032-A-0"]
    assert rows["1-100032-A-0"]["label"] == "dog"


def test_a_folder_without_any_clip_is_absent(tmp_path):
    for path in (esc50(tmp_path) / "audio").iterdir():
        path.unlink()
    with pytest.raises(AbsentError, match=r"none of its 6 files is in .*: download them from https://github.com/karol"):
        list(Esc50Config(folder=str(tmp_path)).rows("test"))


def test_a_list_of_other_columns_is_named(tmp_path):
    table(esc50(tmp_path) / "meta" / "esc50.csv", ["file", "fold", "category", "src_file"], [])
    with pytest.raises(UserError, match=r"esc50.csv has no column 'filename' but file, fold, category, src_file"):
        list(Esc50Config(folder=str(tmp_path)).rows("test"))


# --- AudioSet ---------------------------------------------------------------------------------------------------------


def test_audioset_has_several_labels_a_clip_by_their_display_names(tmp_path):
    rows = rows_of(AudiosetConfig(folder=str(audioset(tmp_path))))
    assert rows["--BfvyPmVMo_20"] == {
        "id": "--BfvyPmVMo_20",
        "label": ["Speech", "Male speech, man speaking"],
        "group": "youtube---BfvyPmVMo",
        "audio": "eval/--BfvyPmVMo_20000_30000.flac",
    }
    assert AudiosetConfig(folder=str(tmp_path)).classes()["label"][3] == "Animal"


NAMES = [
    "{id}.wav", "eval/Y{id}.wav", "{id}_{ms}.flac", "{id}_{start}.wav", "a/b/{id}_{start}_{end}.mp3", "Y{id}_{ms}.ogg",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_clip_is_found_by_every_name_in_use(name, tmp_path):
    rows = rows_of(AudiosetConfig(folder=str(audioset(tmp_path, [name]))))
    assert all("audio" in row for row in rows.values())


def test_the_clip_of_another_moment_is_not_taken(tmp_path):
    audioset(tmp_path, ["{id}_777.wav"])
    with pytest.raises(AbsentError, match=r"none of its 3 files"):
        list(AudiosetConfig(folder=str(tmp_path)).rows("test"))


def test_audioset_trains_on_the_unbalanced_or_the_balanced_list(tmp_path):
    folder = audioset(tmp_path, ["{id}.wav"])
    (folder / "eval_segments.csv").rename(folder / "balanced_train_segments.csv")
    assert len(rows_of(AudiosetConfig(folder=str(folder), balanced=True), "train")) == 3
    with pytest.raises(AbsentError, match=r"unbalanced_train_segments.csv: download it from http://storage.google"):
        list(AudiosetConfig(folder=str(folder)).rows("train"))


def test_a_class_that_the_list_of_classes_lacks_is_named(tmp_path):
    table(audioset(tmp_path) / "class_labels_indices.csv", ["index", "mid", "display_name"], [[0, "/m/0jbk", "Animal"]])
    with pytest.raises(UserError, match=r"eval_segments.csv names the class /m/0bt9lr, which class_labels_indices.csv"):
        list(AudiosetConfig(folder=str(tmp_path)).rows("test"))


def test_a_line_that_is_no_segment_is_shown(tmp_path):
    (audioset(tmp_path) / "eval_segments.csv").write_text("# comment\n--4gqARaEJE, zero, 10.0, /m/0jbk\n")
    with pytest.raises(UserError, match=r"expected lines like .* got \['--4gqARaEJE', 'zero', '10.0', '/m/0jbk'\]"):
        list(AudiosetConfig(folder=str(tmp_path)).rows("test"))


# --- VGGSound ---------------------------------------------------------------------------------------------------------


def test_vggsound_reads_its_test_split_and_all_its_classes(tmp_path):
    config = VggsoundConfig(folder=str(vggsound(tmp_path)))
    rows = rows_of(config)
    assert list(rows) == ["---g-f_I2yQ_000001", "--U7joUcTCo_000000", "-0jeONf82dE_000021"]
    assert rows["---g-f_I2yQ_000001"]["audio"] == "test/people_marching/---g-f_I2yQ_000001.wav"
    assert "audio" not in rows["-0jeONf82dE_000021"]
    assert config.classes() == {"label": ["people coughing", "people marching", "waterfall burbling"]}


def test_a_damaged_line_of_vggsound_is_shown(tmp_path):
    table(tmp_path / "vggsound.csv", None, [["---g-f_I2yQ", 1, "people marching", "testing"]])
    with pytest.raises(UserError, match=r"expected lines of id, second, label, train or test .* 'testing'"):
        list(VggsoundConfig(folder=str(tmp_path)).rows("test"))


# --- Clotho and AudioCaps ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", ["evaluation", "clotho_audio_evaluation", "clotho_audio_evaluation/evaluation"])
def test_clotho_has_five_captions_a_sound_wherever_the_archive_was_unpacked(place, tmp_path):
    folder = clotho(tmp_path)
    (folder / "evaluation").rename(folder / "moved")
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / "moved").rename(folder / place)
    rows = rows_of(ClothoConfig(folder=str(folder)))
    assert rows["01 dog barks.wav"]["audio"] == f"{place}/01 dog barks.wav"
    assert rows["01 dog barks.wav"]["text"][4] == "A dog, barking"
    assert [len(row["text"]) for row in rows.values()] == [5, 5]


def test_clotho_without_blanks_in_its_names_is_found_too(tmp_path):
    folder = clotho(tmp_path)
    (folder / "evaluation" / "Santa Motor.wav").rename(folder / "evaluation" / "Santa_Motor.wav")
    assert rows_of(ClothoConfig(folder=str(folder)))["Santa Motor.wav"]["audio"] == "evaluation/Santa_Motor.wav"


def test_each_caption_of_clotho_asks_on_its_own(tmp_path):
    config = ClothoConfig(folder=str(clotho(tmp_path / "clotho")), root=str(tmp_path))
    configs = {name: registry.load(name)() for name in ("audio", "text")}
    pool = load_pool(config.sources([], list(configs))["test"], configs)
    assert (len(pool.items["text"]), len(pool.items["audio"])) == (10, 2)


def test_audiocaps_gathers_the_captions_of_a_clip(tmp_path):
    rows = rows_of(AudiocapsConfig(folder=str(audiocaps(tmp_path))))
    assert list(rows) == ["7fmOlUlwoNg_20", "6BJ455B1aAs_0"]
    assert rows["7fmOlUlwoNg_20"]["audio"] == "audio/7fmOlUlwoNg_20000_30000.flac"
    assert sorted(rows["7fmOlUlwoNg_20"]["text"]) == [f"Sound 0, said {each}, briefly" for each in range(5)]


def test_audiocaps_for_retrieval_is_another_list_of_clips(tmp_path):
    config = AudiocapsConfig(folder=str(audiocaps(tmp_path)), retrieval=True)
    assert list(rows_of(config)) == ["6BJ455B1aAs_0", "GOD8Bt5LfDE_100"]
    (tmp_path / "AudioCaps_retrieval_dataset" / "retrieval_test.csv").unlink()
    with pytest.raises(
        AbsentError, match=r"download it from https://www.robots.ox.ac.uk/.*AudioCaps_retrieval_dataset"
    ):
        rows_of(config)


# --- MSR-VTT ----------------------------------------------------------------------------------------------------------


def test_the_sound_of_a_video_is_written_beside_the_manifest(tmp_path):
    config = MsrvttConfig(folder=str(msrvtt(tmp_path / "theirs")))
    written = config.write(tmp_path / "out")
    rows = {row["id"]: row for row in map(json.loads, written.read_text().splitlines())}
    assert rows["video9770"] == {
        "id": "video9770",
        "text": "a person is connecting something to system",
        "audio": "audio/video9770.flac",
    }
    assert "audio" not in rows["video9771"]
    wave, rate = soundfile.read(tmp_path / "out" / rows["video7020"]["audio"])
    assert (rate, wave.shape[1]) == (16000, 2)
    spectrum = np.abs(np.fft.rfft(wave[:, 0] * np.hanning(len(wave))))
    assert spectrum.argmax() * rate / len(wave) == pytest.approx(660, abs=10)
    assert sorted(path.name for path in (tmp_path / "out" / "audio").iterdir()) == ["video7020.flac", "video9770.flac"]


def test_a_sound_that_is_written_already_is_not_written_again(tmp_path):
    config = MsrvttConfig(folder=str(msrvtt(tmp_path / "theirs")))
    config.write(tmp_path / "out")
    tone(tmp_path / "out" / "audio" / "video9770.flac", 123)
    before = (tmp_path / "out" / "audio" / "video9770.flac").read_bytes()
    config.write(tmp_path / "out")
    assert (tmp_path / "out" / "audio" / "video9770.flac").read_bytes() == before


def test_extracted_sounds_are_read_where_they_are(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    rows = rows_of(MsrvttConfig(folder=str(msrvtt(tmp_path, extracted=True))))
    assert rows["video9770"]["audio"] == "wav/video9770.wav"
    assert "audio" not in rows["video9771"]


def test_without_pyav_the_sound_of_videos_is_refused_with_the_way_out(tmp_path, monkeypatch):
    config = MsrvttConfig(folder=str(msrvtt(tmp_path)))
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(UserError, match=r"needs PyAV: pip install 'bindspace\[video\]', or extract it to WAV files"):
        rows_of(config)


def test_a_video_that_does_not_open_is_named(tmp_path):
    (msrvtt(tmp_path) / "videos" / "all" / "video9770.mp4").write_bytes(b"not a video")
    with pytest.raises(UserError, match=r"expected a whole video, got .*video9770.mp4"):
        rows_of(MsrvttConfig(folder=str(tmp_path)))


def test_the_video_itself_is_a_picture_that_moves(tmp_path):
    config = MsrvttConfig(folder=str(msrvtt(tmp_path)), track=Track.video)
    rows = rows_of(config)
    assert rows["video9771"]["image"] == "videos/all/video9771.mp4"
    assert not config.converts


def test_msrvtt_trains_on_twenty_sentences_a_video(tmp_path):
    rows = rows_of(MsrvttConfig(folder=str(msrvtt(tmp_path))), "train")
    assert [len(row["text"]) for row in rows.values()] == [20, 20]
    assert [row.get("audio") for row in rows.values()] == ["audio/video0.flac", None]
    (tmp_path / "train_val_videodatainfo.json").write_text('{"videos": []}')
    with pytest.raises(UserError, match="expected `sentences` with video_id and caption"):
        rows_of(MsrvttConfig(folder=str(tmp_path)), "train")
