"""The IMU plugin: files and units, rates and gaps, every bad file, and a vector that padding cannot change."""

import io
import subprocess
import sys

import numpy as np
import pytest
import torch

from bindspace import BadSample
from bindspace_imu import ImuConfig, Trunk
from bindspace_imu.encoder import robust
from bindspace_imu.reading import resampled

HEADER = "ax,ay,az,gx,gy,gz"


def motion(seconds=2.0, rate=100.0, pitch=5.0):
    """A sensor that lies flat and is shaken along x and about z, with a little noise."""
    time = np.arange(round(seconds * rate)) / rate
    signal = 0.02 * np.random.default_rng(len(time)).standard_normal((len(time), 6))
    signal += [0, 0, 9.81, 0, 0, 0]
    signal[:, 0] += 3 * np.sin(2 * np.pi * pitch * time)
    signal[:, 5] += np.cos(2 * np.pi * pitch * time)
    return signal.astype(np.float32)


def npy(signal):
    file = io.BytesIO()
    np.save(file, signal)
    return file.getvalue()


def csv(signal, header=HEADER, time=None):
    table = signal if time is None else np.column_stack([signal, time])
    lines = [] if header is None else [header]
    return "\n".join(lines + [",".join(f"{value:.6f}" for value in row) for row in table]).encode()


def pitch_of(channel, rate=100.0):
    channel = (channel - channel.mean()) * np.hanning(len(channel))
    return np.abs(np.fft.rfft(channel, 8192)).argmax() * rate / 8192


@pytest.fixture(scope="module")
def encoders():
    torch.manual_seed(0)
    transformer = ImuConfig(trunk=Trunk.transformer, layers=2, heads=2, width=32).encoder(pretrained=False)
    for block in transformer.blocks:  # leave the identity, so that attention has a say
        torch.nn.init.normal_(block.out.weight, std=0.1)
    return {"conv": ImuConfig().encoder(pretrained=False).eval(), "transformer": transformer.eval()}


# --- reading ----------------------------------------------------------------------------------------------------------


def test_importing_the_plugin_imports_no_torch_and_no_numpy():
    code = "import sys, bindspace_imu; print({'torch', 'numpy', 'PIL'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_npy_csv_and_arrays_give_the_same_signal(tmp_path):
    config, signal = ImuConfig(), motion()
    (tmp_path / "a.npy").write_bytes(npy(signal))
    (tmp_path / "a.csv").write_bytes(csv(signal))
    expected = config.read(signal, {"rate": 100})
    assert expected.dtype == np.float32
    np.testing.assert_array_equal(expected, signal)
    for source in (tmp_path / "a.npy", tmp_path / "a.csv", csv(signal, header=None), torch.from_numpy(signal)):
        np.testing.assert_allclose(config.read(source, {"rate": "100"}), signal, atol=1e-5)


def test_csv_columns_are_found_by_name_whatever_their_order():
    signal, time = motion(), np.arange(200) / 100
    table = np.column_stack([time, signal[:, 3:], np.full(200, 7), signal[:, :3]])
    content = csv(table, header="Time, gx, gy, gz, temperature, AX, AY, AZ")
    np.testing.assert_allclose(ImuConfig().read(content, {}), signal, atol=1e-3)


def test_a_time_column_gives_the_rate_and_evens_out_jitter():
    time = np.arange(400) / 200 + np.random.default_rng(0).uniform(0, 0.002, 400)
    signal = motion(rate=200)
    signal[:, 0] = 3 * np.sin(2 * np.pi * 5 * time)
    read = ImuConfig().read(csv(signal, HEADER + ",time", time), {})
    assert abs(len(read) - 200) <= 1
    assert abs(pitch_of(read[:, 0]) - 5) < 0.1


@pytest.mark.parametrize("rate", [50, 62.5, 200, 1000])
def test_another_rate_keeps_the_frequency_and_the_level(rate):
    read = ImuConfig().read(motion(4, rate), {"rate": rate})
    assert len(read) == 400
    assert abs(pitch_of(read[:, 0]) - 5) < 0.1
    np.testing.assert_allclose(read[:, 2].mean(), 9.81, atol=0.01)
    np.testing.assert_allclose(read[20:-20, 0].max(), 3, atol=0.2)


def test_downsampling_lets_no_alias_through():
    time = np.arange(4000) / 1000
    hum = np.sin(2 * np.pi * 130 * time)[:, None]  # would come back as 30 Hz
    assert np.abs(resampled(hum, 1000, 100)[20:-20]).max() < 0.02
    np.testing.assert_allclose(resampled(np.full((50, 1), 9.81), 62.5, 100), 9.81)


def test_a_fragment_is_cut_in_seconds():
    config, signal = ImuConfig(), motion(5)
    np.testing.assert_array_equal(config.read(signal, {"rate": 100, "t": (1.0, 2.5)}), signal[100:250])
    np.testing.assert_array_equal(config.read(signal, {"rate": 100, "t": (4.0, float("inf"))}), signal[400:])
    with pytest.raises(BadSample, match="expected a fragment within the signal, got one from 5 s of 5 s"):
        config.read(signal, {"rate": 100, "t": (5.0, 6.0)})


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("form", [npy, csv, np.asarray])
def test_nan_and_infinity_are_refused_with_their_place(form, value):
    signal = motion()
    signal[17, 4] = value
    with pytest.raises(BadSample, match=f"expected finite values, got {value} in gy at sample 17: cut it out"):
        ImuConfig().read(form(signal), {"rate": 100})


def test_a_signal_without_a_rate_is_told_which_column_to_add():
    with pytest.raises(
        BadSample, match=r"expected a sampling rate, got none: give `rate` in Hz, e\.g\. a column imu\.rate"
    ):
        ImuConfig().read(npy(motion()), {})


@pytest.mark.parametrize("rate", [0, 5, "fast", float("nan")])
def test_an_impossible_rate_is_refused(rate):
    with pytest.raises(BadSample, match="expected a rate of 10 to 20000 Hz, got"):
        ImuConfig().read(motion(), {"rate": rate})


def test_a_rate_that_contradicts_the_times_is_refused():
    content = csv(motion(), HEADER + ",time", np.arange(200) / 100)
    assert len(ImuConfig().read(content, {"rate": 100})) == 200
    with pytest.raises(BadSample, match="expected 50 Hz as `rate` says, got times at 100 Hz"):
        ImuConfig().read(content, {"rate": 50})


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (np.arange(200) * 10.0, "expected a rate of 10 to 20000 Hz, got 0.1: correct the rate, or the unit of time"),
        (np.arange(200)[::-1] / 100, "grows from line to line"),
        (np.zeros(200), "grows from line to line"),
        (np.r_[0:100, 400:500] / 100, "got a step of 3.01 after sample 99: cut the recording there"),
    ],
)
def test_times_in_milliseconds_backwards_or_with_a_gap_are_refused(time, message):
    with pytest.raises(BadSample, match=message):
        ImuConfig().read(csv(motion(), HEADER + ",time", time), {})


def test_an_accelerometer_in_g_is_refused_unless_it_says_so():
    signal = motion() / [9.80665, 9.80665, 9.80665, 1, 1, 1]
    with pytest.raises(BadSample, match=r"expected acceleration in m/s\^2 .* as if in g: state the unit, `accel`"):
        ImuConfig().read(signal, {"rate": 100})
    read = ImuConfig().read(signal, {"rate": 100, "accel": "g"})
    np.testing.assert_allclose(read, motion(), rtol=1e-5)
    with pytest.raises(BadSample, match="expected `accel` to be m/s2 or g, got 'G': correct the column"):
        ImuConfig().read(signal, {"rate": 100, "accel": "G"})


def test_a_falling_body_is_not_taken_for_one_in_g():
    signal = motion() * [1, 1, 0.02, 1, 1, 1]
    assert len(ImuConfig().read(signal, {"rate": 100})) == 200
    assert len(ImuConfig().read(motion() / 10, {"rate": 100, "accel": "m/s2"})) == 200


def test_a_gyroscope_in_degrees_is_refused_unless_it_says_so():
    signal = motion()
    signal[:, 3:] *= 180 / np.pi * 2
    with pytest.raises(
        BadSample, match=r"expected a gyroscope within 70 rad/s, got 11\d\.\d: state its unit, `gyro`: rad"
    ):
        ImuConfig().read(signal, {"rate": 100})
    read = ImuConfig().read(signal, {"rate": 100, "gyro": "deg/s"})
    np.testing.assert_allclose(read[:, 3:], 2 * motion()[:, 3:], rtol=1e-5)


def test_an_impossible_acceleration_is_refused():
    with pytest.raises(BadSample, match=r"expected an accelerometer within 400 m/s\^2, got 987"):
        ImuConfig().read(motion() * 100, {"rate": 100})


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            np.zeros((200, 3)),
            r"expected six channels, shape \(n, 6\), got shape \(200, 3\): the order is ax, ay, az, gx",
        ),
        (np.zeros((6, 200)), r"got shape \(6, 200\): transpose it"),
        (np.zeros(200), r"got shape \(200,\)"),
        (np.zeros((0, 6)), "expected at least one sample of six channels, got none"),
        (np.array([["a"] * 6]), "expected numbers, got an array of type"),
        (np.zeros((200, 6)), "got six channels that never change: the sensor was off"),
        (motion(0.05), r"expected at least 0.1 s, got 0.05 s: leave the cell out"),
        (b"", "expected an NPY or CSV file, got 0 bytes"),
        (npy(motion())[:500], "expected a whole NPY file of numbers, got one that does not load"),
        (npy(motion())[:7], "expected a whole NPY file of numbers, got one that does not load"),
        (npy(np.array([{}], object)), "expected a whole NPY file of numbers"),
        (b"\xff\xfe\x00\x01" * 50, "expected an NPY file or a CSV text, got other bytes"),
        (b"\n \n", "expected at least one sample of six channels, got none"),
        (csv(motion()[:, :5], "ax,ay,az,gx,gy"), "expected the CSV columns ax,ay,az,gx,gy,gz.*got none named gz"),
        (csv(motion()[:, :5], None), "expected six columns, got 5 without names: write a first line ax,ay"),
        (HEADER.encode(), "expected at least one sample of six channels, got none"),
        (csv(motion()) + b"\n1,2,3", "expected a number in every cell of the CSV file, got a damaged line"),
        (csv(motion()).replace(b"9.8", b"x.8", 1), "expected a number in every cell of the CSV file"),
    ],
)
def test_other_contents_are_refused_with_what_came(source, message):
    with pytest.raises(BadSample, match=message):
        ImuConfig().read(source, {"rate": 100})


# --- preparing --------------------------------------------------------------------------------------------------------


def test_signals_are_in_units_of_gravity_and_zero_behind_their_end():
    batch = ImuConfig().prepare([motion(0.5), motion(2.0)])
    assert batch["signal"].shape == (2, 6, 200)
    assert batch["steps"].tolist() == [50, 200]
    assert not batch["signal"][0, :, 50:].any()
    torch.testing.assert_close(batch["signal"][:, 2, :50].mean(), torch.tensor(1.0), atol=0.01, rtol=0)


def test_a_long_signal_gives_several_clips_with_their_owner():
    batch = ImuConfig().prepare([motion(1), motion(3), motion(30)])
    assert batch["owner"].tolist() == [0, 1, 1, 2, 2, 2]
    assert len(ImuConfig().prepare([motion(3), motion(30)], seeds=[0, 1])["signal"]) == 2
    np.testing.assert_allclose(batch["signal"][2, 0] * 9.81, motion(3)[100:, 0], rtol=1e-5)


@pytest.mark.parametrize("augment", ["none", "weak", "strong"])
def test_training_varies_by_the_seed_only(augment):
    drawn = [ImuConfig().prepare([motion(5)], seeds=[seed], augment=augment)["signal"] for seed in (1, 1, 2)]
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])
    assert torch.equal(ImuConfig().prepare([motion(5)])["signal"], ImuConfig().prepare([motion(5)])["signal"])


def test_augmentation_turns_both_sensors_alike_and_keeps_magnitudes():
    calm = np.tile(np.array([[0, 0, 9.81, 0, 0, 2]], np.float32), (200, 1))
    for seed in range(20):
        varied = ImuConfig().prepare([calm], seeds=[seed], augment="strong")["signal"][0].mean(dim=1)
        torch.testing.assert_close(varied[:3], varied[3:], atol=0.01, rtol=0)
        assert 0.88 < varied[:3].norm() < 1.12
        assert varied[2] > np.cos(np.deg2rad(31)) * 0.88


# --- encoding ---------------------------------------------------------------------------------------------------------


def test_magnitudes_do_not_change_when_the_sensor_is_turned():
    signal = torch.randn(2, 6, 50)
    turned = signal[:, [1, 0, 2, 4, 3, 5]] * torch.tensor([1.0, -1, 1, 1, -1, 1])[:, None]
    torch.testing.assert_close(robust(signal)[:, 6:], robust(turned)[:, 6:])


@pytest.mark.parametrize("trunk", ["conv", "transformer"])
@torch.no_grad()
def test_padding_changes_nothing(encoders, trunk):
    batch = ImuConfig().prepare([motion(0.3), motion(0.9)])
    longer = torch.cat([batch["signal"], torch.randn(2, 6, 50)], dim=-1)
    short = encoders[trunk](**batch)
    torch.testing.assert_close(short, encoders[trunk](longer, batch["steps"]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("trunk", ["conv", "transformer"])
@torch.no_grad()
def test_a_batch_gives_the_vectors_of_its_items(encoders, trunk):
    config, signals = ImuConfig(), [motion(s, pitch=p) for s, p in ((0.1, 2), (0.77, 3), (2.0, 8))]
    together = encoders[trunk](**config.prepare(signals))
    alone = torch.cat([encoders[trunk](**config.prepare([signal])) for signal in signals])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    assert torch.pdist(together).min() > 1e-3


@pytest.mark.parametrize("trunk", ["conv", "transformer"])
@torch.no_grad()
def test_the_single_tensor_will_do_where_all_of_it_is_signal(encoders, trunk):
    batch = ImuConfig().prepare([motion()])
    torch.testing.assert_close(encoders[trunk](batch["signal"]), encoders[trunk](**batch))


@pytest.mark.parametrize("settings", [{}, {"trunk": Trunk.transformer, "layers": 2, "heads": 2, "width": 32}])
def test_gradients_reach_every_parameter(settings):
    config = ImuConfig(**settings)
    trunk = config.encoder(pretrained=False)
    for _ in range(3):  # branches that begin at zero open with the first step
        trunk.zero_grad()
        (trunk(**config.prepare([motion(0.7), motion(2)])) * torch.randn(config.width)).sum().backward()
        with torch.no_grad():
            for parameter in trunk.parameters():
                parameter -= 0.01 * parameter.grad.sign()
    assert [name for name, p in trunk.named_parameters() if not p.grad.abs().sum() > 0] == []


@pytest.mark.parametrize("size", ["small", "base"])
def test_every_size_builds_and_names_its_blocks(size):
    config = ImuConfig(**ImuConfig.sizes[size])
    trunk = config.encoder(pretrained=False)
    assert trunk(**config.prepare([motion(0.4)])).shape == (1, config.width)
    assert len(trunk.blocks) == {"small": 4, "base": 6}[size]


def test_weights_of_a_file_are_loaded_only_where_asked(tmp_path, encoders):
    torch.save(encoders["conv"].state_dict(), tmp_path / "imu.pt")
    config = ImuConfig(weights=str(tmp_path / "imu.pt"))
    assert torch.equal(config.encoder(pretrained=True).stem.weight, encoders["conv"].stem.weight)
    assert not torch.equal(config.encoder(pretrained=False).stem.weight, encoders["conv"].stem.weight)


def test_examples_are_read_and_tell_ten_concepts_apart():
    config, rng = ImuConfig(), np.random.default_rng(0)
    signals = [config.read(*config.example(rng, concept)) for concept in range(10)]
    pitches = [pitch_of(signal[:, 3 + concept // 2 % 3]) for concept, signal in enumerate(signals)]
    assert pitches == sorted(pitches)
    assert len(config.show(signals[3]).getcolors()) > 4
