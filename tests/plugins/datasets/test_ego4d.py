import numpy as np
import pytest
from owned_files import read_test, write

from bindspace.contract.errors import AbsentError, UserError
from bindspace_datasets import ego4d
from bindspace_datasets.ego4d import Ego4dConfig, Video, cut_window, moments, read_imu, window_starts
from bindspace_imagebind.imu import ImuImagebindConfig
from bindspace_imu import ImuConfig

HEADER = "component_idx,component_timestamp_ms,canonical_timestamp_ms,gyro_x,gyro_y,gyro_z,accl_x,accl_y,accl_z"
SECONDS = 20.0


def felt(times):
    """What the IMU of these tests feels at times in seconds (n, 6): accelerometer, then gyroscope."""
    return np.stack([np.sin((1 + axis) * times) + (axis == 2) * 9.81 for axis in range(6)], axis=1)


def imu_csv(times, lost=lambda time: False):
    """The owner's CSV: gyroscope first, times in milliseconds; `lost` says where acceleration is missing."""
    lines = [HEADER]
    for time, six in zip(times, felt(times)):
        accl = ["", "", ""] if lost(time) else [repr(float(value)) for value in six[:3]]
        lines.append(
            ",".join(["0", f"{1000 * time}", f"{1000 * time}", *(repr(float(value)) for value in six[3:]), *accl])
        )
    return "\n".join(lines) + "\n"


def video(uid, scenarios=("Cooking",), has_imu=True):
    return {"video_uid": uid, "duration_sec": SECONDS, "scenarios": list(scenarios), "has_imu": has_imu}


def told(*times):
    said = [
        {"timestamp_sec": time, "timestamp_frame": 0, "narration_text": "#C C cuts", "annotation_uid": "x"}
        for time in times
    ]
    return {
        "narration_pass_1": {"narrations": said[::2], "summaries": []},
        "narration_pass_2": {"narrations": said[1::2]},
    }


@pytest.fixture
def owned(tmp_path, monkeypatch):
    """Ego4D's folders with four videos, all in the test share: only `kitchen` has one scenario, IMU and narrations."""
    monkeypatch.setattr(ego4d, "TEST_SHARE", 1.0)
    folder = tmp_path / "ego4d_data"
    videos = [
        video("kitchen"),
        video("both", ["Cooking", "Cleaning / laundry"]),
        video("blind", has_imu=False),
        video("mute"),
    ]
    write(folder / "ego4d.json", {"version": "v2", "videos": videos})
    narrations = {"kitchen": told(1.0, 10.0, 10.001, 19.5), "both": told(8.0), "blind": told(8.0)}
    write(folder / "v2/annotations/narration.json", narrations)
    times = np.arange(0, SECONDS, 1 / 198.0)
    write(folder / "v2/imu/kitchen.csv", imu_csv(times))
    return folder


def test_windows_lie_round_the_narrated_moments_of_videos_with_one_scenario(owned):
    rows = list(Ego4dConfig(folder=str(owned)).rows("test"))
    assert [row["id"] for row in rows] == ["kitchen-0.00", "kitchen-7.50", "kitchen-15.00"]
    assert rows[1] == {
        "id": "kitchen-7.50",
        "label": "Cooking",
        "group": "kitchen",
        "imu": "imu/200hz/kitchen/7.50.npy",
        "imu.rate": 200.0,
        "imu.accel": "m/s2",
        "imu.gyro": "rad/s",
    }


def test_the_classes_are_all_scenarios_of_the_metadata(owned):
    assert Ego4dConfig(folder=str(owned)).classes() == {"label": ["Cleaning / laundry", "Cooking"]}


def test_windows_are_written_as_accelerometer_and_gyroscope_at_one_rate(owned, tmp_path):
    Ego4dConfig(folder=str(owned)).write(tmp_path / "out")
    signal = np.load(tmp_path / "out/imu/200hz/kitchen/7.50.npy")
    assert (signal.shape, signal.dtype) == ((1000, 6), np.float32)
    np.testing.assert_allclose(signal, felt(7.5 + np.arange(1000) / 200), atol=1e-3)
    Ego4dConfig(folder=str(owned), rate=400).write(tmp_path / "out")
    assert np.load(tmp_path / "out/imu/400hz/kitchen/7.50.npy").shape == (2000, 6)


def test_imu_plugins_read_five_seconds(owned, tmp_path):
    dataset = Ego4dConfig(folder=str(owned), root=str(tmp_path / "data"))
    pool = read_test(dataset, imu=ImuImagebindConfig())
    assert (len(pool), pool.left_out) == (3, 0)
    assert pool.shown("imu", 1).shape == (2000, 6)
    assert pool.prepare("imu", [1])["inputs"].shape == (1, 6, 2000)
    assert read_test(dataset, imu=ImuConfig()).shown("imu", 0).shape == (500, 6)


def test_whole_videos_go_to_the_test_share_by_hash():
    videos = [Video(str(number), SECONDS, ["Cooking"], True) for number in range(4000)]
    first, again, other = (
        {video.uid for video in videos if Ego4dConfig(seed=seed)._tests(video)} for seed in (0, 0, 1)
    )
    assert 0.10 < len(first) / 4000 < 0.14
    assert first == again
    assert first != other


def test_windows_are_moved_into_the_video_and_none_is_taken_twice():
    assert window_starts([0.2, 1.9, 6.0, 19.9], 20.0) == [0.0, 3.5, 15.0]
    assert window_starts([1.0], 4.9) == []
    assert moments(told(3.0, 1.0, 3.0), None) == [1.0, 3.0]


def test_the_owners_times_are_sorted_and_taken_once(tmp_path):
    lines = [HEADER, "0,0,30.0,1,2,3,4,5,6", "0,0,,9,9,9,9,9,9", "0,0,10.0,0,0,0,1,1,1", "1,0,30.0,7,7,7,7,7,7"]
    times, signal = read_imu(write(tmp_path / "a.csv", "\n".join(lines)))
    np.testing.assert_allclose(times, [0.01, 0.03])
    assert signal.tolist() == [[1, 1, 1, 0, 0, 0], [4, 5, 6, 1, 2, 3]]


@pytest.mark.parametrize(
    "kept",
    [lambda t: (t < 3) | (t > 3.3), lambda t: t > 0.3, lambda t: t < 4.7, lambda t: t > 99],
    ids=["gap", "late", "early end", "nothing"],
)
def test_a_window_that_the_imu_does_not_cover_is_none(kept):
    times = np.arange(0, 6, 0.005)
    assert cut_window(times, felt(times), 0.0, 200.0) is not None
    there = kept(times)
    assert cut_window(times[there], felt(times)[there], 0.0, 200.0) is None


def test_missing_acceleration_and_a_sensor_that_was_off_are_no_window(owned):
    times = np.arange(0, SECONDS, 0.005)
    assert cut_window(times, np.zeros((len(times), 6)), 0.0, 200.0) is None
    write(owned / "v2/imu/kitchen.csv", imu_csv(times, lost=lambda time: time > 14))
    assert [row["id"] for row in Ego4dConfig(folder=str(owned)).rows("test")] == ["kitchen-0.00", "kitchen-7.50"]


def test_what_is_missing_is_told_and_a_video_without_its_file_is_counted(owned, tmp_path):
    with pytest.raises(
        AbsentError, match=r"expected its narrations at .*narration\.json: download it from https://ego4d"
    ):
        list(Ego4dConfig(folder=str(tmp_path / "nowhere")).rows("test"))
    videos = [video("kitchen"), video("garden", ["Gardening"])]
    write(owned / "ego4d.json", {"videos": videos})
    write(owned / "v2/annotations/narration.json", {"videos": {"kitchen": told(10.0), "garden": told(10.0)}})
    rows = list(Ego4dConfig(folder=str(owned)).rows("test"))
    assert [(row["label"], "imu" in row) for row in rows] == [("Cooking", True), ("Gardening", False)]
    (owned / "v2/imu/kitchen.csv").unlink()
    with pytest.raises(AbsentError, match=r"none of its 2 files is in .* v2/imu/<video_uid>\.csv"):
        list(Ego4dConfig(folder=str(owned)).rows("test"))


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("ego4d.json", {"videos": [{"video_uid": "x"}]}, r"expected videos with video_uid, .* \(KeyError"),
        ("v2/annotations/narration.json", [], "expected a JSON object with a video's narrations"),
        ("v2/annotations/narration.json", {"kitchen": {"narration_pass_1": {"narrations": [{}]}}}, "timestamp_sec"),
        ("v2/imu/kitchen.csv", "time,ax\n1,2\n", r"expected the columns canonical_timestamp_ms, accl_x"),
        ("v2/imu/kitchen.csv", "", r"expected the columns canonical_timestamp_ms, accl_x"),
    ],
)
def test_a_damaged_file_is_named(owned, file, content, reason):
    write(owned / file, content)
    with pytest.raises(UserError, match=reason) as error:
        list(Ego4dConfig(folder=str(owned)).rows("test"))
    assert file in str(error.value)
