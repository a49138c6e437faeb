"""Losses over ranks equal those of one process with the joined batch."""

import pytest
import shares
import torch


@pytest.mark.process
@pytest.mark.parametrize("world", [2, 3])
def test_ranks_give_value_and_gradients_of_the_joined_batch(world, tmp_path):
    torch.multiprocessing.spawn(shares.rank_main, (world, str(tmp_path)), nprocs=world)
    found = [torch.load(tmp_path / f"{rank}.pt") for rank in range(world)]
    assert len(found[0]) == len(shares.CASES) * len(shares.COUNTS[world])
    for counts, name in found[0]:
        a, b, asked = shares.batch(sum(counts), shares.CASES[name])
        one = shares.evaluate(a, b, asked, shares.CASES[name], tiled=False)
        each = [part[(counts, name)] for part in found]
        label = f"{name}, rows {counts}"
        values = torch.stack([part["loss"] for part in each])
        torch.testing.assert_close(values[0], one["loss"], msg=label)
        assert bool((values == values[0]).all()), label
        for side in ("a", "b"):  # DDP divides what the ranks' rows give to shared weights by the number of ranks
            if one[side] is None:
                assert all(part[side] is None for part in each), label
            else:
                joined = torch.cat([part[side] for part in each]) / world
                torch.testing.assert_close(joined, one[side], rtol=1e-4, atol=1e-6, msg=label)
        for number in ("scale", "bias"):
            if one[number] is not None:
                mean = torch.stack([part[number] for part in each]).mean()
                torch.testing.assert_close(mean, one[number], rtol=1e-4, atol=1e-6, msg=label)
