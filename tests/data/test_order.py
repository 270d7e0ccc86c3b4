"""The order of an epoch: a function of labels, seed and epoch, and of how classes are drawn."""

import numpy as np
import pytest

from kmodels.data.order import SAMPLERS, epoch_order

LABELS = np.repeat([0, 1, 2, 3], [400, 100, 40, 1])


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_an_order_belongs_to_seed_and_epoch_and_is_as_long_as_the_split(sampler):
    order = epoch_order(LABELS, 0, 3, sampler)
    assert np.array_equal(order, epoch_order(LABELS, 0, 3, sampler))
    assert not np.array_equal(order, epoch_order(LABELS, 0, 4, sampler))
    assert not np.array_equal(order, epoch_order(LABELS, 1, 3, sampler))
    assert len(order) == len(LABELS)
    assert (np.abs(np.diff(LABELS[order])) > 0).mean() > 0.2


def test_shuffled_each_image_comes_once():
    assert np.array_equal(np.sort(epoch_order(LABELS, 0, 0)), np.arange(len(LABELS)))


def test_without_a_seed_the_order_is_the_splits_own():
    assert np.array_equal(epoch_order(LABELS, None, 5, "oversample"), np.arange(len(LABELS)))


def test_oversampled_every_class_comes_as_often_and_its_images_too():
    order = epoch_order(LABELS, 0, 0, "oversample")
    classes = np.bincount(LABELS[order])
    assert set(classes) <= {135, 136}
    for label in range(4):
        times = np.bincount(order, minlength=len(LABELS))[label == LABELS]
        assert times.max() - times.min() <= 1


def test_by_the_square_root_large_classes_come_more_often_but_less_than_by_size():
    counts = np.bincount(LABELS[epoch_order(LABELS, 0, 0, "sqrt")])
    wanted = np.sqrt([400, 100, 40, 1])
    np.testing.assert_allclose(counts, wanted / wanted.sum() * len(LABELS), atol=1)


def test_over_the_epochs_all_images_of_a_large_class_come():
    seen = np.concatenate([epoch_order(LABELS, 0, epoch, "oversample") for epoch in range(20)])
    assert set(seen) == set(range(len(LABELS)))
