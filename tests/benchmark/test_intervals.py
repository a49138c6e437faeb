import pytest
import torch

from bindspace.metrics.intervals import cluster_bootstrap, holm, share_interval, wilson


def test_wilson_gives_the_values_of_the_literature():
    # Newcombe 1998 (Statistics in Medicine 17, table I, method 3)
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=1e-4)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=1e-4)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=1e-4)
    assert wilson(29, 29)[1] == pytest.approx(1.0)


def test_a_wider_level_is_a_wider_interval():
    (low, high), (lower, higher) = wilson(30, 100), wilson(30, 100, level=0.999)
    assert lower < low < 0.3 < high < higher


def test_one_query_an_event_takes_wilson_and_several_take_the_bootstrap():
    hits = torch.tensor([1.0, 0.0] * 50)
    assert share_interval(hits, torch.arange(100)) == wilson(50, 100)
    each_twice = share_interval(hits.repeat_interleave(2), torch.arange(100).repeat_interleave(2))
    naive = wilson(100, 200)
    assert each_twice[1] - each_twice[0] > 1.25 * (naive[1] - naive[0])  # no news in the copies


def test_a_bootstrap_of_hits_that_never_happened_is_not_a_point():
    clusters = torch.arange(100).repeat_interleave(5)
    assert cluster_bootstrap(torch.zeros(500), clusters) == wilson(0, 100)
    assert cluster_bootstrap(torch.ones(500), clusters) == wilson(100, 100)


def test_the_bootstrap_is_the_same_for_the_same_seed_only():
    generator = torch.Generator().manual_seed(0)
    hits, clusters = (torch.rand(300, generator=generator) < 0.4), torch.arange(300) // 3
    assert cluster_bootstrap(hits, clusters, seed=1) == cluster_bootstrap(hits, clusters, seed=1)
    assert cluster_bootstrap(hits, clusters, seed=1) != cluster_bootstrap(hits, clusters, seed=2)


@pytest.mark.parametrize(("share", "least"), [(0.5, 0.91), (0.1, 0.9), (0.01, 0.92)])
def test_intervals_by_cluster_cover_the_truth(share, least):
    """150 events of 5 alike queries each: 95 % intervals must hold the truth about so often; by query they do not."""
    generator, clusters = torch.Generator().manual_seed(int(100 * share)), torch.arange(750) // 5
    covered = naive = 0
    for trial in range(200):
        own = (torch.rand(150, generator=generator) < share).repeat_interleave(5)
        fresh = torch.rand(750, generator=generator) < share
        hits = torch.where(torch.rand(750, generator=generator) < 0.8, own, fresh)  # four in five repeat the event's
        low, high = cluster_bootstrap(hits, clusters, draws=400, seed=trial)
        covered += low <= share <= high
        low, high = wilson(float(hits.sum()), 750)
        naive += low <= share <= high
    assert covered / 200 >= least
    assert naive / 200 < 0.8


def test_holm_by_hand():
    # sorted: .01 x 4, .02 x 3, .03 x 2, .04 x 1, never falling
    assert holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
