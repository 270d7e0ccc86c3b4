"""Batches from memory: every image once an epoch, in an order of (seed, epoch)."""

import numpy as np
import pytest

from kmodels import load_dataset
from kmodels.data.batches import ArrayBatches
from kmodels.data.order import images_shown


@pytest.fixture(scope="module")
def split():
    return load_dataset("synthetic", image_size=8).train


def test_every_image_comes_once_and_the_last_batch_is_smaller(split):
    data = ArrayBatches(split, 16, seed=0)
    assert len(data) == 3
    batches = [data[i] for i in range(3)]
    assert [len(labels) for _, labels in batches] == [16, 16, 8]
    assert batches[0][0].dtype == np.uint8
    pixels = np.concatenate([images for images, _ in batches])
    assert sorted(image.tobytes() for image in pixels) == sorted(image.tobytes() for image in split.images)


def test_a_last_batch_of_less_than_an_eighth_is_left_out_of_training(split):
    data = ArrayBatches(split, 13, seed=0)
    left_out = []
    for epoch in (0, 1):
        data.start_epoch(epoch)
        assert [len(data[i][1]) for i in range(len(data))] == [13, 13, 13]
        left_out += set(range(40)) - set(data.order.tolist())
    assert len(set(left_out)) == 2
    # Of what is evaluated nothing is.
    whole = ArrayBatches(split, 13)
    assert sum(len(whole[i][1]) for i in range(len(whole))) == 40
    assert [images_shown(*sizes) for sizes in ((40_000, 512), (39_939, 512), (3, 512), (65, 8))] == [
        40_000,
        39_936,
        3,
        65,
    ]


def test_the_order_is_a_function_of_seed_and_epoch(split):
    def order(seed, epoch):
        batches = ArrayBatches(split, 16, seed)
        batches.start_epoch(epoch)
        return batches.order.tolist()

    assert order(0, 3) == order(0, 3)
    assert order(0, 3) != order(0, 4)
    assert order(0, 3) != order(1, 3)


def test_without_a_seed_the_order_is_that_of_the_split(split):
    batches = ArrayBatches(split, 40)
    batches.start_epoch(5)
    assert np.array_equal(batches[0][1], split.labels)
