"""Small folders in the layout in which the owners of data sets of sounds distribute them."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

MIDS = {"/m/09x0r": "Speech", "/t/dd00003": "Male speech, man speaking", "/m/0bt9lr": "Dog", "/m/0jbk": "Animal"}


def tone(path: Path, pitch: float = 440.0, seconds: float = 0.3) -> Path:
    """Writes a tone as the file's suffix says; equal pitches are equal bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * 16000)) / 16000), 16000)
    return path


def table(path: Path, header: Sequence[str] | None, rows: Sequence[Sequence[Any]]) -> Path:
    """Writes a CSV file, without header where there is none."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([*([header] if header else []), *rows])
    return path


def esc50(folder: Path) -> Path:
    """Six clips of three classes in two folds, two of them cut from one recording."""
    header = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    rows = [
        ["1-100032-A-0.wav", 1, 0, "dog", True, 100032, "A"],
        ["1-100038-A-14.wav", 1, 14, "chirping_birds", False, 100038, "A"],
        ["1-17367-A-10.wav", 1, 10, "rain", True, 17367, "A"],
        ["2-114280-A-0.wav", 2, 0, "dog", True, 114280, "A"],
        ["2-114280-B-0.wav", 2, 0, "dog", True, 114280, "B"],
        ["2-65750-A-10.wav", 2, 10, "rain", True, 65750, "A"],
    ]
    table(folder / "meta" / "esc50.csv", header, rows)
    for number, row in enumerate(rows):
        tone(folder / "audio" / str(row[0]), 200 + 70 * number)
    return folder


def audioset(folder: Path, names: Sequence[str] = ("eval/{id}_{ms}.flac",)) -> Path:
    """Three segments of the evaluation list with their clips, named as `names` say, and its list of classes."""
    table(
        folder / "class_labels_indices.csv",
        ["index", "mid", "display_name"],
        [[number, mid, name] for number, (mid, name) in enumerate(MIDS.items())],
    )
    lines = [
        "# Segments csv created Sun Mar  5 10:54:25 2017",
        "# num_ytids=3, num_segs=3, num_unique_labels=3, num_positive_labels=5",
        "# YTID, start_seconds, end_seconds, positive_labels",
        '--4gqARaEJE, 0.000, 10.000, "/m/0bt9lr,/m/0jbk"',
        '--BfvyPmVMo, 20.000, 30.000, "/m/09x0r,/t/dd00003"',
        '-1LrH01Ei1w, 30.000, 38.500, "/m/09x0r"',
    ]
    (folder / "eval_segments.csv").write_text("\n".join(lines) + "\n")
    for number, line in enumerate(lines[3:]):
        video, start, end = (part.strip() for part in line.split(",")[:3])
        ms = f"{round(1000 * float(start))}_{round(1000 * float(end))}"
        name = names[number % len(names)].format(id=video, ms=ms, start=f"{float(start):g}", end=f"{float(end):g}")
        tone(folder / name, 300 + 90 * number)
    return folder


def vggsound(folder: Path) -> Path:
    """Four lines without header, three of them of the test split, one of those without its clip."""
    rows = [
        ["---g-f_I2yQ", 1, "people marching", "test"],
        ["--0PQM4-hqg", 30, "waterfall burbling", "train"],
        ["--U7joUcTCo", 0, "people coughing", "test"],
        ["-0jeONf82dE", 21, "people marching", "test"],
    ]
    table(folder / "vggsound.csv", None, rows)
    tone(folder / "test" / "people_marching" / "---g-f_I2yQ_000001.wav", 330)
    tone(folder / "test" / "people_coughing" / "--U7joUcTCo_000000.wav", 550)
    return folder


def clotho(folder: Path) -> Path:
    """Two sounds of the evaluation split, with names as people gave them, and five captions each."""
    said = ["A dog barks", "A dog is barking far away", "Barking of a dog", "One dog barks twice", "A dog, barking"]
    rows = [
        ["Santa Motor.wav", *(f"An engine, heard {number} times" for number in range(5))],
        ["01 dog barks.wav", *said],
    ]
    header = ["file_name", *(f"caption_{number}" for number in range(1, 6))]
    table(folder / "clotho_captions_evaluation.csv", header, rows)
    for number, row in enumerate(rows):
        tone(folder / "evaluation" / row[0], 250 + 200 * number)
    return folder


def audiocaps(folder: Path) -> Path:
    """Two clips of the test split with five captions each, of which the retrieval split keeps one and a third."""
    header = ["audiocap_id", "youtube_id", "start_time", "caption"]
    clips = [("7fmOlUlwoNg", 20), ("6BJ455B1aAs", 0), ("GOD8Bt5LfDE", 100)]
    lines = [
        [1000 * number + each, video, start, f"Sound {number}, said {each}, briefly"]
        for number, (video, start) in enumerate(clips)
        for each in range(5)
    ]
    table(folder / "dataset" / "test.csv", header, [*lines[:5:2], *lines[5:10], *lines[1:5:2]])
    table(folder / "AudioCaps_retrieval_dataset" / "retrieval_test.csv", header, lines[5:])
    for number, (video, start) in enumerate(clips):
        tone(folder / "audio" / f"{video}_{1000 * start}_{1000 * (start + 10)}.flac", 280 + 110 * number)
    return folder


def film(path: Path, pitch: float | None, seconds: float = 0.5) -> Path:
    """Writes a video with a stereo sound of this pitch, or without sound."""
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        pictures = container.add_stream("mpeg4", rate=10)
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream("aac", rate=16000, layout="stereo") if pitch else None
        for index in range(round(10 * seconds)):
            picture = np.full((48, 64, 3), 20 + 6 * index + int(pitch or 0) % 50, np.uint8)
            container.mux(pictures.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(pictures.encode())
        if sound is not None:
            wave = 0.3 * np.sin(2 * np.pi * float(pitch or 0) * np.arange(round(seconds * 16000)) / 16000)
            samples = np.ascontiguousarray(np.stack([wave, wave]).astype(np.float32))
            frame = av.AudioFrame.from_ndarray(samples, format="fltp", layout="stereo")
            frame.sample_rate = 16000
            container.mux(sound.encode(frame))
            container.mux(sound.encode())
    return path


def msrvtt(folder: Path, *, extracted: bool = False) -> Path:
    """Three pairs of the test 1k-A, one of whose videos has no sound, and two videos of the train split."""
    rows = [
        ["ret0", "msr9770", "video9770", "a person is connecting something to system"],
        ["ret1", "msr9771", "video9771", "a little girl does gymnastics"],
        ["ret2", "msr7020", "video7020", "a woman creating a fondant baby and flower"],
    ]
    table(folder / "MSRVTT_JSFUSION_test.csv", ["key", "vid_key", "video_id", "sentence"], rows)
    sentences = [
        {"caption": f"video {number} said {each}", "video_id": f"video{number}", "sen_id": 20 * number + each}
        for number in range(2)
        for each in range(20)
    ]
    videos = [{"video_id": f"video{number}", "split": "train", "category": 3} for number in range(2)]
    info = {"info": {"year": "2016"}, "videos": videos, "sentences": sentences}
    (folder / "train_val_videodatainfo.json").write_text(json.dumps(info))
    for number, pitch in ((9770, 440), (9771, None), (7020, 660), (0, 500)):
        if extracted and pitch:
            tone(folder / "wav" / f"video{number}.wav", pitch)
        elif not extracted:
            film(folder / "videos" / "all" / f"video{number}.mp4", pitch)
    return folder


SETS = {
    "esc50": esc50, "audioset": audioset, "vggsound": vggsound, "clotho": clotho, "audiocaps": audiocaps,
    "msrvtt": msrvtt,
}  # fmt: skip
