"""Loader workers: what goes wrong in one is a sentence, and none is left at the end."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import signal
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
import torch

from bindspace import Cell, ModalityConfig
from bindspace.contract.errors import PluginError, UserError
from bindspace.data.module import BindData, one_sentence
from bindspace.settings.run import DataSettings, Pair


@dataclass(kw_only=True)
class Touch(ModalityConfig):
    """As in conftest, but of a module whose name is its own: pickle finds it again."""

    modality = "touch"
    expects = "numbers"

    def read(self, source, info):
        return np.load(source)

    def prepare(self, samples, *, seeds=None, augment="weak"):
        return {"x": torch.from_numpy(np.stack(samples))}


@dataclass(kw_only=True)
class Words(ModalityConfig):
    modality = "words"
    expects = "a word"
    cell = Cell.value

    def read(self, source, info):
        return source

    def prepare(self, samples, *, seeds=None, augment="weak"):
        return {"x": torch.tensor([[float(len(text))] for text in samples])}


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


def test_what_a_worker_gets_holds_no_decoded_samples(folder):
    batches = loader(folder(), {"touch": Touch(), "words": Words()}).dataset
    size, memory = len(pickle.dumps(batches)), batches.reader.memory_left
    whole = [batches[step] for step in range(12)]
    assert batches.reader.memory_left < memory
    copy = pickle.loads(pickle.dumps(batches))
    assert copy.reader.memory_left == memory
    assert all(not store.samples for store in copy.reader._stores.values())
    assert all(store.known.all() for store in copy.reader._stores.values())  # nothing is hashed again
    assert len(pickle.dumps(batches)) < size + 40 * (32 + 64)  # a digest for each cell, and its file's
    for step, batch in enumerate(whole):
        assert torch.equal(copy[step].inputs["touch"]["x"], batch.inputs["touch"]["x"])


def test_a_worker_that_is_not_forked_imports_no_lightning():
    code = "import sys, pickle; from bindspace.data import TrainBatches; import bindspace.data.dataset as d; "
    code += "pickle.dumps(d.one_thread); print('lightning' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.filterwarnings("ignore:Got pickle error")  # torch, before the error itself
def test_what_cannot_be_pickled_is_a_sentence_where_workers_are_not_forked(folder):
    loading = loader(folder(), failing({"touch": Touch(), "words": Words()}, ZeroDivisionError()))
    loading.multiprocessing_context = "spawn"
    with (
        pytest.raises(UserError, match=r"cannot be given the data .*failing.*, or set data\.workers=0"),
        one_sentence(),
    ):
        list(loading)


def test_other_errors_pass():
    with pytest.raises(TypeError, match="cannot pickle"), one_sentence():
        raise TypeError("cannot pickle")
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
