"""Datasets that need no file, and parts of datasets."""

import numpy as np
import pytest

from kmodels import InputError, load_dataset


def test_digits_are_real_scans_in_three_stratified_splits():
    dataset = load_dataset("digits")
    assert dataset.image_shape == (8, 8, 3)
    assert dataset.source["counts"] == {"train": 1078, "val": 360, "test": 359}
    assert dataset.train.images.max() == 255
    index = np.concatenate([dataset.train.index, dataset.val.index, dataset.test.index])
    assert np.array_equal(np.sort(index), np.arange(1797))
    assert load_dataset("digits", image_size=16).image_shape == (16, 16, 3)


def test_a_subset_keeps_the_ratio_the_classes_and_the_test_split():
    dataset = load_dataset("digits")
    part = dataset.subset(200)
    assert part.source["counts"] == {"train": 149, "val": 51, "test": 359}
    assert part.source["subset"] == 200
    assert np.bincount(part.train.labels, minlength=10).min() >= 14
    indices = np.searchsorted(dataset.train.index, part.train.index)
    assert np.array_equal(dataset.train.images[indices], part.train.images)
    assert np.array_equal(part.train.index, dataset.subset(200).train.index)


@pytest.mark.parametrize("examples", [5, 100_000])
def test_an_impossible_subset_says_what_is_possible(examples):
    with pytest.raises(InputError, match=r"40 .* to 1438"):
        load_dataset("digits").subset(examples)


def test_a_set_without_files_takes_no_data_dir(tmp_path):
    with pytest.raises(InputError, match="reads no files"):
        load_dataset("digits", data_dir=tmp_path)


def test_an_image_size_that_is_no_number_is_refused():
    with pytest.raises(InputError, match=r"image_size .*'32'"):
        load_dataset("digits", image_size="32")


def test_an_unknown_dataset_offers_the_nearest():
    with pytest.raises(InputError, match=r"'digit'; did you mean digits\? .*tfds:NAME"):
        load_dataset("digit")


def test_class_fractions_thin_the_training_images_alone():
    dataset = load_dataset("digits")
    thin = dataset.with_class_fractions((0.02, 0, 0.5) + 7 * (1,), seed=1)
    before = np.bincount(dataset.train.labels)
    wanted = [round(0.02 * before[0]), 0, round(0.5 * before[2]), *before[3:]]
    assert np.bincount(thin.train.labels).tolist() == wanted
    assert thin.source["counts"] == {"train": sum(wanted), "val": 360, "test": 359}
    assert thin.val is dataset.val
    assert thin.test is dataset.test
    indices = np.searchsorted(dataset.train.index, thin.train.index)
    assert np.array_equal(dataset.train.images[indices], thin.train.images)


def test_another_number_of_fractions_than_classes_is_refused():
    with pytest.raises(InputError, match=r"class_fractions must be 10 numbers"):
        load_dataset("digits").with_class_fractions((1, 1), seed=0)


def test_counts_and_long_tails_thin_the_training_images_alone():
    dataset = load_dataset("digits")
    counted = dataset.with_class_counts((5, 0) + 8 * (20,), seed=1)
    assert np.bincount(counted.train.labels).tolist() == [5, 0] + 8 * [20]
    assert counted.source["counts"] == {"train": 165, "val": 360, "test": 359}
    tail = dataset.with_long_tail(10, seed=1)
    counts = np.bincount(tail.train.labels)
    assert counts[0] == 107
    assert counts[-1] == 11
    assert (np.diff(counts) < 0).all()
    assert tail.test is dataset.test
    assert not np.array_equal(tail.train.index, dataset.with_long_tail(10, seed=2).train.index)
    with pytest.raises(InputError, match="class_counts must be 10 numbers"):
        dataset.with_class_counts((1, 2), seed=0)
    with pytest.raises(InputError, match="not all 0"):
        dataset.with_class_counts(10 * (0,), seed=0)


def test_other_parts_of_a_dataset_have_other_checksums_and_equal_parts_equal_ones():
    dataset = load_dataset("digits")
    parts = [
        dataset,
        dataset.subset(200),
        dataset.subset(201),
        dataset.subset(200).with_class_counts(10 * [5], seed=0),
        dataset.with_class_counts(10 * [5], seed=0),
        dataset.with_class_counts(10 * [5], seed=1),
        dataset.with_class_counts(10 * [6], seed=0),
        dataset.with_long_tail(2, seed=0),
    ]
    assert len({part.source["sha256"] for part in parts}) == len(parts)
    assert dataset.with_class_counts(10 * [5], seed=0).source == parts[4].source
    # What leaves out nothing is the whole.
    assert dataset.with_class_fractions(10 * [1], seed=0).source["sha256"] == dataset.source["sha256"]


@pytest.mark.parametrize(
    ("method", "arguments", "message"),
    [
        ("with_class_counts", ([5.0] * 10, 0), "class_counts must be whole numbers"),
        ("with_class_counts", (5, 0), "class_counts must be 10 numbers"),
        ("with_class_counts", ([5] * 10, None), "seed must be an integer of at least 0. Received: None"),
        ("with_class_fractions", (0.5, 0), "class_fractions must be 10 numbers"),
        ("with_class_fractions", (dict.fromkeys(range(10), 1), 0), "class_fractions must be 10 numbers"),
        ("with_class_fractions", (["a"] * 10, 0), "fractions must be numbers from 0 to 1"),
        ("with_class_fractions", ([1] * 10, 1.5), "seed must be an integer of at least 0. Received: 1.5"),
        ("with_long_tail", ("a", 0), "long tail must be from 1 to 110"),
        ("with_long_tail", (10, None), "seed must be an integer of at least 0. Received: None"),
        ("subset", (100.5,), "subset must be an integer"),
        ("subset", ("100",), "subset must be an integer"),
    ],
)
def test_parts_that_cannot_be_are_refused_in_a_sentence(method, arguments, message):
    with pytest.raises(InputError, match=message):
        getattr(load_dataset("digits"), method)(*arguments)


def test_numbers_of_numpy_are_taken():
    part = load_dataset("digits").with_class_counts(np.full(10, 5), np.int64(0))
    assert part.with_class_fractions(np.full(10, 0.4, "float32"), 0).source["counts"]["train"] == 20
