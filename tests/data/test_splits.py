"""Splits: stratified, disjoint, and the same for everyone for good."""

import hashlib

import numpy as np
import pytest

from kmodels import InputError
from kmodels.data.splits import keep_counts, keep_fractions, long_tail, stratified_sample, stratified_split

LABELS = np.random.RandomState(0).randint(0, 10, 1000)


def test_every_index_is_in_exactly_one_part_and_parts_have_the_shares():
    parts = stratified_split(LABELS, (0.6, 0.2, 0.2))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    for label in range(10):
        total = np.count_nonzero(label == LABELS)
        for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
            assert abs((LABELS[part] == label).sum() - share * total) <= 1


def test_the_published_cifar10_split_stays():
    # 5,000 of each class in rotation, instead of CIFAR-10's labels. A new checksum means a new split for everyone.
    train, val = stratified_split(np.arange(50_000) % 10, (0.8, 0.2))
    assert (len(train), len(val)) == (40_000, 10_000)
    assert hashlib.sha256(val.tobytes()).hexdigest()[:16] == "3b42c286e4b081bc"


@pytest.mark.parametrize("examples", [10, 137, 999, 1000])
def test_a_sample_has_the_number_asked_for_in_the_shares_of_the_whole(examples):
    indices = stratified_sample(LABELS, examples)
    assert len(np.unique(indices)) == examples
    shares = np.bincount(LABELS, minlength=10) * examples / 1000
    assert np.abs(np.bincount(LABELS[indices], minlength=10) - shares).max() < 1
    assert np.array_equal(indices, stratified_sample(LABELS, examples))


def test_a_class_whose_share_rounds_to_0_gets_one_image_of_the_largest_class():
    labels = np.repeat([0, 1, 2, 3], [90, 5, 4, 1])
    for examples, counts in {4: [1, 1, 1, 1], 5: [2, 1, 1, 1], 10: [7, 1, 1, 1], 40: [35, 2, 2, 1]}.items():
        assert np.bincount(labels[stratified_sample(labels, examples)], minlength=4).tolist() == counts


def test_samples_that_records_were_measured_on_stay():
    # The images of `subset` before every class was given one.
    labels = np.random.RandomState(1).randint(0, 10, 3000)
    indices = stratified_sample(labels, 200)
    assert hashlib.sha256(indices.tobytes()).hexdigest()[:16] == "45c099c299be2697"


def test_the_seed_chooses_a_share_of_a_class_and_a_smaller_share_is_within_a_larger():
    half = keep_fractions(LABELS, (0.5, 1) + 8 * (0.25,), seed=3)
    assert np.array_equal(half, keep_fractions(LABELS, (0.5, 1) + 8 * (0.25,), seed=3))
    assert not np.array_equal(half, keep_fractions(LABELS, (0.5, 1) + 8 * (0.25,), seed=4))
    before, after = np.bincount(LABELS, minlength=10), np.bincount(LABELS[half], minlength=10)
    assert after.tolist() == [round(n * share) for n, share in zip(before, (0.5, 1) + 8 * (0.25,), strict=True)]
    tenth = keep_fractions(LABELS, 10 * (0.1,), seed=3)
    assert set(tenth) <= set(half)


def test_a_small_share_keeps_an_image_and_none_keeps_none():
    kept = keep_fractions(LABELS, (0.0001, 0) + 8 * (1,), seed=0)
    assert np.bincount(LABELS[kept], minlength=10)[:2].tolist() == [1, 0]
    for shares in ((1.1,) + 9 * (1,), 10 * (0,), (float("nan"),) + 9 * (1,)):
        with pytest.raises(InputError, match="from 0 to 1"):
            keep_fractions(LABELS, shares, seed=0)


@pytest.mark.parametrize(
    ("ratio", "counts"),
    [
        (100, [5000, 2997, 1796, 1077, 645, 387, 232, 139, 83, 50]),
        (10, [5000, 3871, 2997, 2320, 1796, 1391, 1077, 834, 645, 500]),
    ],
)
def test_the_long_tails_of_cifar10_are_those_of_the_literature(ratio, counts):
    assert long_tail(np.repeat(np.arange(10), 5000), ratio).tolist() == counts


def test_a_long_tail_keeps_no_more_than_there_is_and_never_nothing():
    labels = np.repeat([0, 1, 2], [8, 2, 5])
    assert long_tail(labels, 4).tolist() == [8, 2, 2]
    assert long_tail(labels, 8).tolist() == [8, 2, 1]
    assert long_tail(labels, 1).tolist() == [8, 2, 5]
    for ratio in (9, 0.5):
        with pytest.raises(InputError, match="from 1 to 8"):
            long_tail(labels, ratio)


def test_counts_are_kept_where_there_are_as_many():
    kept = keep_counts(LABELS, (3, 0, 10_000) + 7 * (1,), seed=0)
    sizes = np.bincount(LABELS, minlength=10)
    assert np.bincount(LABELS[kept], minlength=10).tolist() == [3, 0, sizes[2], 1, 1, 1, 1, 1, 1, 1]
    assert set(kept) <= set(keep_counts(LABELS, 10 * (10_000,), seed=0))
