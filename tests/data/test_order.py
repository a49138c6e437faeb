import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bindspace.data.order import BLOCK, EventOrder, event_seeds, pick, source_schedule

weights = st.lists(st.floats(0.01, 10), min_size=1, max_size=6)


@given(weights, st.integers(1, 400), st.integers(0, 5))
def test_no_source_is_off_its_share_by_a_step(shares: list[float], steps: int, seed: int) -> None:
    schedule = source_schedule(shares, steps, seed)
    counts = np.bincount(schedule, minlength=len(shares))
    expected = steps * np.array(shares) / sum(shares)
    assert np.abs(counts - expected).max() < 1


def test_proportions_are_exact_where_they_can_be() -> None:
    assert np.bincount(source_schedule([1, 2, 3], 600, 0)).tolist() == [100, 200, 300]
    assert np.bincount(source_schedule([1, 0, 1], 101, 0), minlength=3)[1] == 0


def test_sources_are_shuffled_by_seed_and_fall_on_every_tenth_step_alike() -> None:
    schedule = source_schedule([1] * 5, 2000, 0)
    assert not np.array_equal(schedule, source_schedule([1] * 5, 2000, 1))
    assert np.bincount(schedule[::10], minlength=5).min() > 20


def test_a_longer_schedule_begins_like_a_shorter_one() -> None:
    short, long = source_schedule([1, 2, 4], 300, 3), source_schedule([1, 2, 4], 1000, 3)
    whole_blocks = 300 // BLOCK * BLOCK
    assert np.array_equal(short[:whole_blocks], long[:whole_blocks])


@given(st.integers(1, 60), st.integers(1, 40), st.integers(0, 3))
def test_batches_are_epochs_on_end_without_an_event_twice_in_a_batch(count: int, batch: int, seed: int) -> None:
    order = EventOrder(count, batch, seed, 0)
    batches = [order[k] for k in range(3 * count // order.batch + 3)]
    assert all(len(set(events.tolist())) == min(batch, count) for events in batches)
    stream = np.concatenate(batches)
    epochs = stream[: len(stream) // count * count].reshape(-1, count)
    assert (np.sort(epochs, axis=1) == np.arange(count)).all()


@given(st.integers(1, 60), st.integers(1, 40), st.lists(st.integers(0, 50), min_size=1, max_size=6))
def test_a_batch_of_events_does_not_depend_on_what_was_drawn_before(count: int, batch: int, indices: list[int]) -> None:
    walked = EventOrder(count, batch, 7, 1)
    in_order = {k: walked[k].tolist() for k in range(51)}
    jumping = EventOrder(count, batch, 7, 1)
    assert [jumping[k].tolist() for k in indices] == [in_order[k] for k in indices]


def test_epochs_seeds_and_sources_are_shuffled_differently() -> None:
    order = EventOrder(50, 50, 0, 0)
    others = [order[1], EventOrder(50, 50, 1, 0)[0], EventOrder(50, 50, 0, 1)[0]]
    assert all(not np.array_equal(order[0], other) for other in others)


def test_every_alternative_is_picked_about_equally_often_and_equal_lists_alike() -> None:
    seeds = event_seeds(0, 3, 6000)
    assert len(set(seeds.tolist())) == 6000
    assert seeds.min() >= 0
    picked = pick(seeds, np.full(6000, 6))
    assert np.bincount(picked, minlength=6).min() > 850
    assert np.bincount(picked, minlength=6).max() < 1150
    assert np.array_equal(picked, pick(seeds, np.full(6000, 6)))
    assert not pick(seeds, np.ones(6000, dtype=np.int64)).any()
