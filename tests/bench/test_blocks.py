"""How long a block is, and what is in it."""

import numpy as np
import pytest

from kmodels.bench.blocks import Block, calibrate, epochs_for, made_up_split
from kmodels.bench.settings import Job


def test_calibration_finds_the_steps_of_a_block():
    asked = []

    def block(steps):
        asked.append(steps)
        return Block(steps, 0.01 * steps)

    assert calibrate(block, 2.0) == 200
    assert asked == [1, 8, 64, 256]


def test_a_contender_that_does_more_than_asked_is_not_asked_for_too_much():
    assert calibrate(lambda steps: Block(50, 2.0), 1.0) == 25


@pytest.mark.parametrize(("step_seconds", "steps"), [(0.01, 100), (0.5, 8), (1.2, 8), (5.0, 2), (60.0, 1)])
def test_slow_steps_are_not_timed_one_by_one(step_seconds, steps):
    assert calibrate(lambda asked: Block(asked, step_seconds * asked), 1.0) == steps


@pytest.mark.parametrize(("steps", "most", "expected"), [(1, 20, (1, 1)), (20, 20, (1, 20)), (21, 20, (2, 11))])
def test_epochs_hold_at_least_the_steps_asked_for(steps, most, expected):
    assert epochs_for(steps, most) == expected


def test_made_up_images_are_whole_batches_and_the_same_each_time():
    job = Job(model="model1", batch_size=4, image_size=8)
    first, second = made_up_split(job, 3), made_up_split(job, 3)
    assert first.images.shape == (12, 8, 8, 3)
    assert first.images.dtype == np.uint8
    assert set(first.labels) <= set(range(10))
    np.testing.assert_array_equal(first.images, second.images)
