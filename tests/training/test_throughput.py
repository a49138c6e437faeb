"""The throughput report: right figures from known times, few looks at the clock, written and said."""

from __future__ import annotations

import json

import pytest
from plain import ByHand, plain_batch, plain_space, quiet_trainer

from bindspace import Pair
from bindspace.data import Batch
from bindspace.training import BindModule, throughput
from bindspace.training.throughput import ReportThroughput, StepClock, advice, measured, table


@pytest.fixture
def clock(monkeypatch):
    """A clock that is stopped until it is advanced: `clock(2.0)`."""
    time = [100.0]

    def move(seconds: float) -> None:
        time[0] += seconds

    monkeypatch.setattr(throughput, "perf_counter", lambda: time[0])
    return move


NEXT, BACKWARD = "[_TrainingEpochLoop].train_dataloader_next", "[Strategy]DDPStrategy.backward"


def run(clock, watch: StepClock, batches: int) -> None:
    for _ in range(batches):
        for action, seconds in [(NEXT, 2.0), ("encode", 1.0), ("loss", 0.25), (BACKWARD, 0.5), ("other", 0.25)]:
            with watch.profile(action):
                clock(seconds)
        watch.count(Batch("s", list("abcd"), {}, {}, seconds={"read": 3.0, "prepare": 1.0}))


def test_figures_follow_from_the_times(clock):
    watch = StepClock()
    run(clock, watch, 5)
    report = measured("bind", watch, workers=2, ranks=3)
    assert (report["samples"], report["seconds"], report["samples_per_second"]) == (20, 20.0, 3.0)
    parts = report["parts"]
    assert {part: values["share"] for part, values in parts.items()} == {
        "read": 0.375, "prepare": 0.125, "wait": 0.5, "encode": 0.25, "loss": 0.0625, "backward": 0.125, "rest": 0.0625,
    }  # fmt: skip
    assert parts["read"]["samples_per_second"] == round(20 / 15 * 2, 4)
    assert parts["encode"] == {"seconds": 5.0, "share": 0.25, "samples_per_second": 4.0}
    assert advice(report) == (
        "50% of the time is spent waiting for data, mostly to read it: raise data.workers or data.memory_gb"
    )
    assert "stage bind: 3 samples/s on 3 ranks" in table(report)


def test_a_stage_that_does_not_wait_is_told_its_longest_part(clock):
    watch = StepClock()
    with watch.profile("encode"):
        clock(1.0)
    watch.count(Batch("s", ["a"], {}, {}))
    assert advice(measured("s", watch, 1, 1)) == "input is not the bottleneck: the step spends most time on encode"


def test_on_a_gpu_every_sixteenth_batch_is_timed_and_stands_for_the_others(clock, monkeypatch):
    waits = []
    monkeypatch.setattr("torch.cuda.synchronize", lambda: waits.append(1))
    watch = StepClock()
    watch.gpu = True
    run(clock, watch, 32)
    assert len(waits) == 2 * 2 * 3
    assert watch.timed["encode"] == 8
    assert measured("s", watch, 1, 1)["parts"]["encode"]["seconds"] == 32.0


def test_a_step_looks_at_the_clock_a_few_times_only(tmp_path, monkeypatch):
    looks, real = [], throughput.perf_counter
    monkeypatch.setattr(throughput, "perf_counter", lambda: looks.append(1) or real())
    watch, reports = StepClock(), []
    pair = Pair(["left", "middle"])
    module = BindModule(plain_space(), [pair], steps=6)
    held = {"left": [0, 1, 2, 3], "middle": [0, 1, 2, 3]}
    batches = [plain_batch(held, 4, seed) for seed in range(6)]
    report = ReportThroughput("s", watch, 0, tmp_path / "throughput.json", reports)
    quiet_trainer(6, tmp_path, profiler=watch, callbacks=[report]).fit(module, datamodule=ByHand([batches]))
    assert len(looks) <= 2 * 4 * 6 + 8  # two for each of four parts in a step, some at the ends
    assert reports == json.loads((tmp_path / "throughput.json").read_text())
    assert reports[0]["batches"] == 5
    assert all(reports[0]["parts"][part]["seconds"] > 0 for part in ("wait", "encode", "loss", "backward"))
