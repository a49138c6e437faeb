"""Loader workers: what goes wrong in one is a sentence, and none is left at the end."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest
import torch

from bindspace.contract.errors import PluginError, UserError
from bindspace.data.module import BindData, one_sentence
from bindspace.settings.run import DataSettings, Pair


def loader(source, configs, workers: int = 2):
    settings = DataSettings(batch=4, workers=workers, memory_gb=0.1)
    return BindData(configs, [source], [], [Pair(["touch", "words"])], settings, steps=12).train_dataloader()


def failing(configs, error):
    def prepare(samples, **_):
        raise error

    configs["words"].prepare = prepare
    return configs


@pytest.mark.parametrize("error", [UserError("the tower is crooked (OSError: x): mend it"), PluginError("a plugin")])
def test_a_mistake_found_in_a_worker_comes_back_as_its_sentence(folder, configs, error):
    with pytest.raises(type(error)) as raised, one_sentence():
        list(loader(folder(), failing(configs, error)))
    assert str(raised.value) == str(error)


def test_a_fault_in_a_worker_keeps_its_traceback(folder, configs):
    with pytest.raises(ZeroDivisionError, match="Original Traceback"), one_sentence():
        list(loader(folder(), failing(configs, ZeroDivisionError("by zero"))))


def test_a_worker_that_is_killed_is_a_sentence(folder, configs):
    def prepare(samples, **_):
        os.kill(os.getpid(), signal.SIGKILL)

    configs["words"].prepare = prepare
    with pytest.raises(UserError, match=r"a loader worker was killed.*lower data\.workers"), one_sentence():
        list(loader(folder(), configs))


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="other"), one_sentence():
        raise RuntimeError("other")
    with pytest.raises(UserError, match="plain"), one_sentence():
        raise UserError("plain")


def test_batches_of_workers_are_those_of_none_and_no_worker_is_left(folder, configs):
    source, before = folder(), {child.pid for child in multiprocessing.active_children()}
    alone, two = list(loader(source, configs, 0)), loader(source, configs, 2)
    for one, other in zip(alone, two, strict=True):
        assert one.ids == other.ids
        assert torch.equal(one.inputs["touch"]["x"], other.inputs["touch"]["x"])
        assert set(other.seconds) == {"read", "prepare"}
        assert min(other.seconds.values()) > 0
    two._iterator._shutdown_workers()
    assert {child.pid for child in multiprocessing.active_children()} <= before
