"""Splits: stratified, disjoint, and the same for everyone for good."""

import hashlib

import numpy as np
import pytest

from kmodels.data.splits import stratified_sample, stratified_split

LABELS = np.random.RandomState(0).randint(0, 10, 1000)


def test_every_place_is_in_exactly_one_part_in_the_asked_shares():
    parts = stratified_split(LABELS, (0.6, 0.2, 0.2))
    assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(1000))
    for label in range(10):
        total = np.count_nonzero(label == LABELS)
        for part, share in zip(parts, (0.6, 0.2, 0.2), strict=True):
            assert abs((LABELS[part] == label).sum() - share * total) <= 1


def test_the_published_cifar10_split_stays():
    # 5,000 of each class in rotation stand for CIFAR-10's LABELS; a new checksum means a new split for everyone.
    train, val = stratified_split(np.arange(50_000) % 10, (0.8, 0.2))
    assert (len(train), len(val)) == (40_000, 10_000)
    assert hashlib.sha256(val.tobytes()).hexdigest()[:16] == "3b42c286e4b081bc"


@pytest.mark.parametrize("examples", [10, 137, 999, 1000])
def test_a_sample_has_exactly_so_many_in_the_shares_of_the_whole(examples):
    places = stratified_sample(LABELS, examples)
    assert len(np.unique(places)) == examples
    shares = np.bincount(LABELS, minlength=10) * examples / 1000
    assert np.abs(np.bincount(LABELS[places], minlength=10) - shares).max() < 1
    assert np.array_equal(places, stratified_sample(LABELS, examples))
