"""Datasets of the user's own arrays and batches."""

import itertools
import re

import numpy as np
import pytest

from kmodels import Dataset, InputError
from kmodels.data.dataset import Split


def images(n, shape=(6, 5, 3), dtype=np.uint8):
    """Pixels 0..255; the first pixel of image i is i."""
    pixels = np.random.default_rng(0).integers(0, 256, (n, *shape)).astype(dtype)
    pixels.reshape(n, -1)[:, 0] = np.arange(n)
    return pixels


def pair(n, classes=2, **options):
    return images(n, **options), np.arange(n) % classes


def first_pixels(split):
    return split.images.reshape(len(split), -1)[:, 0].tolist()


def test_three_given_splits_are_used_without_a_copy():
    given = [pair(n) for n in (8, 4, 6)]
    dataset = Dataset.from_arrays(*given, class_names=["cat", "dog"], name="pets")
    for (x, y), split in zip(given, (dataset.train, dataset.val, dataset.test), strict=True):
        assert np.shares_memory(split.images, x)
        assert np.array_equal(split.labels, y)
        assert split.labels.dtype == np.int32
        assert np.array_equal(split.index, np.arange(len(x)))
    assert (dataset.name, dataset.class_names, dataset.image_shape) == ("pets", ("cat", "dog"), (6, 5, 3))
    source = dict(dataset.source)
    assert len(source.pop("sha256")) == 64
    assert source == {
        "kind": "arrays", "name": "pets", "original": False, "split": "as given", "notes": [],
        "counts": {"train": 8, "val": 4, "test": 6},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("given", "counts", "description"),
    [
        ({}, (12, 4, 4), "60/20/20, stratified, seed 2020"),
        ({"test": pair(6)}, (16, 4, 6), "test as given; train divided 80/20, stratified, seed 2020"),
        ({"val": pair(6)}, (16, 6, 4), "val as given; train divided 80/20 into train and test, stratified, seed 2020"),
    ],
)
def test_missing_splits_are_cut_from_train(given, counts, description):
    x, y = pair(20)
    dataset = Dataset.from_arrays((x, y), **given)
    splits = {"train": dataset.train, "val": dataset.val, "test": dataset.test}
    assert tuple(dataset.source["counts"].values()) == tuple(map(len, splits.values())) == counts
    assert dataset.source["split"] == description
    cut = [split for name, split in splits.items() if name not in given]
    assert sorted(itertools.chain(*map(first_pixels, cut))) == list(range(20))
    for split in cut:
        assert np.array_equal(split.images, x[split.index])
        assert np.array_equal(split.labels, y[split.index])
        assert np.ptp(np.bincount(split.labels)) == 0
    assert Dataset.from_arrays((x, y), **given).source == dataset.source


def test_a_class_too_small_to_be_divided_is_named_with_the_number_that_would_do():
    x, _ = pair(9)
    with pytest.raises(InputError, match=r"dog \(3\).* at least 4"):
        Dataset.from_arrays((x, [0] * 6 + [1] * 3), class_names=["cat", "dog"])
    with pytest.raises(InputError, match=r"class 1 \(2\).* at least 3"):
        Dataset.from_arrays((x, [0] * 7 + [1] * 2), val=pair(4))
    Dataset.from_arrays((x, [0] * 5 + [1] * 4))


def test_grey_images_get_a_channel_axis_and_any_number_of_channels_is_kept():
    for shape, expected in {(6, 5): (6, 5, 1), (6, 5, 1): (6, 5, 1), (6, 5, 7): (6, 5, 7)}.items():
        assert Dataset.from_arrays(pair(20, shape=shape)).image_shape == expected


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.int16])
def test_integers_become_uint8(dtype):
    dataset = Dataset.from_arrays(pair(20, dtype=dtype))
    assert dataset.train.images.dtype == np.uint8
    assert dataset.source["sha256"] == Dataset.from_arrays(pair(20)).source["sha256"]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32_and_keep_their_range_which_is_noted(dtype):
    x = np.linspace(-1, 1, 20 * 4 * 4 * 3).reshape(20, 4, 4, 3).astype(dtype)
    dataset = Dataset.from_arrays((x, np.arange(20) % 2))
    assert dataset.train.images.dtype == np.float32
    assert -1 <= dataset.train.images.min() < 0
    assert dataset.source["notes"] == ["float images; train from -1 to 1"]


@pytest.mark.parametrize(
    ("train", "other", "message"),
    [
        ((0, 1), (0, 255), "are floats from 0 to 1. Received: 'float32 from 0 to 255'"),
        ((-2.1, 2.6), (0, 255), "are floats from -2.1 to 2.6. Received: 'float32 from 0 to 255'"),
        ((0, 255), (0, 1), "are pixels 0..255. Received: 'float32 from 0 to 1'"),
        ((0, 255), (-1, 1), "are pixels 0..255. Received: 'float32 from -1 to 1'"),
        ((0, 255), (0, 65535), "are pixels 0..255. Received: 'float32 from 0 to 65535'"),
    ],
)
def test_splits_on_different_scales_are_refused(train, other, message):
    def floats(low, high):
        return np.linspace(low, high, 20 * 4 * 4 * 3, dtype="float32").reshape(20, 4, 4, 3), Y

    for split in ("val", "test"):
        with pytest.raises(InputError, match=re.escape(f"{split} images must be scaled as the training images")):
            Dataset.from_arrays(floats(*train), **{split: floats(*other)})
    with pytest.raises(InputError, match=re.escape(message)):
        Dataset.from_arrays(floats(*train), test=floats(*other))


@pytest.mark.parametrize(
    ("train", "other"), [((0, 1), (0, 0.2)), ((-2, 3), (-4, 9)), ((0, 255), (-4, 260)), ((-4, 260), (0, 255))]
)
def test_splits_may_have_other_extremes(train, other):
    x, val = (np.linspace(*ends, 20 * 4 * 4 * 3, dtype="float32").reshape(20, 4, 4, 3) for ends in (train, other))
    assert len(Dataset.from_arrays((x, Y), val=(val, Y)).val) == 20


def test_a_memory_mapped_array_stays_one(tmp_path):
    path = tmp_path / "x.npy"
    np.save(path, images(8))
    x = np.load(path, mmap_mode="r")
    dataset = Dataset.from_arrays((x, np.arange(8) % 2), val=pair(4), test=pair(4))
    assert isinstance(dataset.train.images, np.memmap)
    np.save(path, images(8, shape=(6, 5)))
    grey = np.load(path, mmap_mode="r")
    other = pair(4, shape=(6, 5))
    assert isinstance(Dataset.from_arrays((grey, np.arange(8) % 2), other, other).train.images, np.memmap)


@pytest.mark.parametrize(
    ("labels", "class_names"),
    [
        (np.arange(20)[:, None] % 3, ("class 0", "class 1", "class 2")),
        (np.eye(3)[np.arange(20) % 3], ("class 0", "class 1", "class 2")),
        (np.eye(3, dtype=bool)[np.arange(20) % 3], ("class 0", "class 1", "class 2")),
        (np.array(["ape", "bee", "cat"])[np.arange(20) % 3], ("ape", "bee", "cat")),
        ([["ape", "bee", "cat"][i % 3] for i in range(20)], ("ape", "bee", "cat")),
        ((np.arange(20) % 3).astype(object), ("class 0", "class 1", "class 2")),
        (np.array([b"ape", b"bee", b"cat"], object)[np.arange(20) % 3][:, None], ("ape", "bee", "cat")),
    ],
)
def test_labels_may_be_a_column_one_hot_or_strings(labels, class_names):
    dataset = Dataset.from_arrays((images(20), labels))
    assert dataset.class_names == class_names
    assert np.array_equal(dataset.train.labels, dataset.train.index % 3)


def test_class_names_give_the_order_of_string_labels_and_may_have_no_image_of_a_class():
    y = ["dog", "cat"] * 10
    dataset = Dataset.from_arrays((images(20), y), class_names=["dog", "bird", "cat"])
    assert np.array_equal(dataset.train.labels, dataset.train.index % 2 * 2)
    assert dataset.source["notes"] == [f"{split} has no image of bird" for split in ("train", "val", "test")]


@pytest.mark.parametrize("framework", ["torch", "tensorflow", "jax.numpy"])
def test_tensors_of_every_framework_are_read(framework):
    module = pytest.importorskip(framework)
    convert = {"torch": "from_numpy", "tensorflow": "constant", "jax.numpy": "asarray"}[framework]
    x, y = (getattr(module, convert)(array) for array in (images(20), np.arange(20, dtype=np.int32) % 2))
    dataset = Dataset.from_arrays((x, y))
    assert dataset.source["sha256"] == Dataset.from_arrays(pair(20)).source["sha256"]


def with_pixel(value, dtype=np.float32):
    x = images(20).astype(dtype)
    x[3, 0, 0, 0] = value
    return x


Y = np.arange(20) % 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"train": images(20)}, r"train must be a pair"),
        ({"train": None}, r"train must be a pair"),
        ({"train": (images(20), Y, Y)}, r"train must be a pair"),
        ({"train": (images(20), Y[:9])}, r"20 images but 9 labels"),
        ({"train": (images(20).reshape(20, -1), Y)}, r"images must have the shape .*\(20, 90\)"),
        ({"train": (images(4)[:0], [])}, r"images must have the shape .*\(0, 6, 5, 3\)"),
        ({"train": (images(20, shape=(3, 8, 8)), Y)}, r"channels first"),
        ({"train": (images(20, shape=(1, 28, 28)), Y)}, r"channels first"),
        ({"train": ([images(1)[0], images(1, shape=(4, 4, 3))[0]], [0, 1])}, r"differ in size"),
        ({"train": (images(20) > 9, Y)}, r"bool"),
        ({"train": (with_pixel(256, int), Y)}, r"within 0 to 255.*0 to 256"),
        ({"train": (with_pixel(-1, int), Y)}, r"within 0 to 255.*-1 to 255"),
        ({"train": (with_pixel(np.nan), Y)}, r"finite"),
        ({"train": (with_pixel(1e300, float), Y)}, r"finite"),
        ({"train": pair(20), "val": pair(20, shape=(4, 4, 3))}, r"same shape"),
        ({"train": pair(20), "val": pair(20, dtype=float)}, r"same dtype"),
        ({"train": pair(20), "test": (images(2), ["a", "b"])}, r"same kind of labels"),
        ({"train": (images(20), np.eye(3)[Y]), "test": (images(2), np.eye(2))}, r"same number of one-hot"),
        ({"train": (images(20), Y / 2)}, r"labels must be integers.*float64"),
        ({"train": (images(20), Y - 1)}, r"labels must be 0"),
        ({"train": (images(20), np.ones((20, 3)))}, r"one-hot"),
        ({"train": (images(20), [None] * 20)}, r"ints or strings"),
        ({"train": (images(20), np.array([0, "b"] * 10, object))}, r"ints or strings"),
        ({"train": (images(20), [b"caf\xe9", b"tea"] * 10)}, r"must be UTF-8; use strings"),
        ({"train": (images(20), Y * 10**9)}, r"give class_names"),
        ({"train": (images(20), Y * 0)}, r"two classes"),
        ({"train": pair(20), "class_names": ["a"]}, r"must have 2 names"),
        ({"train": pair(20), "class_names": ["a", "a"]}, r"different strings"),
        ({"train": pair(20), "class_names": "ab"}, r"list of different strings"),
        ({"train": (images(20), ["a", "b"] * 10), "class_names": ["b", "c"]}, r"missing: a"),
        ({"train": pair(20), "name": None}, r"name of a dataset"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        Dataset.from_arrays(**arguments)


def batches(n=20, size=6):
    x, y = pair(n)
    return [(x[i : i + size], y[i : i + size]) for i in range(0, n, size)]


def tf_dataset():
    tf = pytest.importorskip("tensorflow")
    return tf.data.Dataset.from_tensor_slices(pair(20))


def py_dataset(num_batches):
    import keras

    class Batches(keras.utils.PyDataset):
        num_batches = property(lambda self: num_batches)

        def __getitem__(self, index):
            return batches()[index]

    return Batches()


def data_loader():
    data = pytest.importorskip("torch.utils.data")
    return data.DataLoader(list(zip(*pair(20), strict=True)), batch_size=6)


@pytest.mark.parametrize(
    "make",
    [
        batches,
        lambda: iter(batches()),
        lambda: ([x, y] for x, y in batches()),
        lambda: [{"image": x, "label": y, "id": 3} for x, y in batches()],
        lambda: list(zip(*pair(20), strict=True)),
        lambda: [(x, np.eye(2)[y]) for x, y in batches()],
        lambda: [(x, np.eye(2)[y]) for x, y in zip(*pair(20), strict=True)],
        tf_dataset,
        lambda: tf_dataset().batch(6),
        lambda: py_dataset(4),
        data_loader,
    ],
)
def test_every_kind_of_batches_and_single_examples_gives_the_dataset_of_its_arrays(make):
    dataset = Dataset.from_batches(make())
    expected = Dataset.from_arrays(pair(20)).source
    assert dataset.source == {**expected, "kind": "batches", "name": "batches"}


def test_grey_batches_and_given_splits_are_read():
    def grey(n):
        x, y = pair(n, shape=(8, 8))
        return [(x[:5], y[:5]), (x[5:], y[5:])]

    dataset = Dataset.from_batches(grey(12), grey(8), grey(9), class_names=["a", "b"])
    assert dataset.image_shape == (8, 8, 1)
    assert dataset.source["counts"] == {"train": 12, "val": 8, "test": 9}
    assert dataset.class_names == ("a", "b")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tf_dataset().batch(6).repeat(), "endless"),
        (lambda: py_dataset(None), "endless"),
        (list, "empty"),
        (lambda: 3, "iterable"),
        (lambda: [images(6)], "pairs"),
        (lambda: [(images(6), Y[:6], Y[:6])], "pairs .*3 parts"),
        (lambda: [{"image": images(6), "target": Y[:6]}], "keys image and label.*'target'"),
        (lambda: [pair(6), pair(6, shape=(4, 4, 3))], "differ in size: 6x5x3 and 4x4x3"),
        (lambda: [pair(6), (images(6), np.eye(2)[Y[:6]])], "labels differ in shape"),
        (lambda: [(x.reshape(len(x), -1), y) for x, y in batches()], r"images must have the shape .*\(20, 90\)"),
    ],
)
def test_batches_that_cannot_be_read_are_refused(make, message):
    with pytest.raises(InputError, match=message):
        Dataset.from_batches(make())


def test_a_subset_has_every_class_in_train_and_val():
    # 990 and 10 images of two classes: the smaller class's share of 22 rounds to 0.
    y = np.repeat([0, 1], [990, 10])
    part = Dataset.from_arrays((images(1000, shape=(1, 1)), y)).subset(22)
    assert [np.bincount(split.labels, minlength=2).min() for split in (part.train, part.val)] == [1, 1]
    assert len(part.train) + len(part.val) == 22


def test_take_accepts_any_indices():
    split = Split(*pair(6), np.arange(6))
    assert split.take(range(2, 4)).index.tolist() == [2, 3]
    assert split.take([5, 0]).index.tolist() == [5, 0]
