"""Any dataset of tfds by its name: small genuine ones that the tests write, and no network."""

from dataclasses import replace

import numpy as np
import pytest

from kmodels import Experiment, InputError, load_dataset, run
from kmodels.data.archives import import_tfds
from kmodels.data.tfds_reading import one_line, to_rgb

tfds = pytest.importorskip("tensorflow_datasets")

NAMES = ["ape", "bee"]


def label_feature():
    return tfds.features.ClassLabel(names=NAMES)


@pytest.fixture(scope="module")
def write(tmp_path_factory):
    """Returns a function that defines a tfds dataset of `splits` ({name: images}), prepares it and returns its folder.

    Image i has the label i % 2 and the first pixel i.
    """
    import_tfds()

    def write(
        dataset, splits, shape=(8, 9, 3), dtype=np.uint8, label=None, keys=("image", "label"), sides=(8,), first_label=0
    ):
        class Builder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
            name = dataset
            VERSION = tfds.core.Version("1.2.0")

            def _info(self):
                features = {
                    "image": tfds.features.Image(shape=shape, dtype=dtype),
                    "label": label_feature() if label is None else label,
                }
                return tfds.core.DatasetInfo(
                    builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=keys
                )

            def _split_generators(self, dl_manager):
                return {split: self._generate_examples(images) for split, images in splits.items()}

            def _generate_examples(self, images):
                for i in range(images):
                    size = shape if None not in shape[:2] else (sides[i % len(sides)], 8, shape[2])
                    image = np.full(size, 100, dtype)
                    image[0, 0] = i
                    value = first_label + i % 2
                    yield i, {"image": image, "label": value if label is None or label.shape == () else [value]}

        folder = tmp_path_factory.mktemp(dataset)
        Builder(data_dir=folder).download_and_prepare()
        return folder

    return write


@pytest.fixture(scope="module")
def plain(write):
    """A data_dir with the dataset "plain": RGB, train alone."""
    return write("plain", {"train": 20})


def first_pixels(split):
    return split.images[:, 0, 0, 0]


def test_a_dataset_with_train_alone_is_divided_60_20_20(plain):
    dataset = load_dataset("tfds:plain", data_dir=plain)
    assert dataset.name == "tfds:plain"
    assert dataset.class_names == ("ape", "bee")
    assert dataset.image_shape == (8, 9, 3)
    source = dict(dataset.source)
    assert len(source.pop("sha256")) == 64
    assert source == {
        "kind": "tfds", "name": "plain", "original": True, "version": "1.2.0", "notes": [],
        "counts": {"train": 12, "val": 4, "test": 4}, "split": "60/20/20, stratified, seed 2020",
    }  # fmt: skip
    splits = (dataset.train, dataset.val, dataset.test)
    assert sorted(np.concatenate([first_pixels(split) for split in splits])) == list(range(20))
    for split in splits:
        assert np.array_equal(split.labels, first_pixels(split) % 2)
        assert np.ptp(np.bincount(split.labels)) == 0
        assert isinstance(split.images, np.memmap)


def test_it_is_prepared_once_and_again_when_the_files_of_tfds_change(write, plain):
    first, again = (load_dataset("tfds:plain:1.2.0", data_dir=plain) for _ in range(2))
    assert again.source == first.source
    assert again.train.images.filename == first.train.images.filename
    (info,) = plain.rglob("dataset_info.json")
    info.touch()
    changed = load_dataset("tfds:plain:1.2.0", data_dir=plain)
    assert changed.source == first.source
    assert changed.train.images.filename != first.train.images.filename


def test_the_stream_has_the_images_of_the_cache_in_the_order_of_the_index(plain):
    for size in (None, 8):
        dataset = load_dataset("tfds:plain", size, plain)
        examples = list(dataset.stream().as_numpy_iterator())
        assert np.array_equal(np.stack([examples[i][0] for i in dataset.train.index]), dataset.train.images)
        assert [examples[i][1] for i in dataset.train.index] == dataset.train.labels.tolist()


def test_a_run_trains_on_the_stream_of_resized_images_as_from_arrays(plain, tmp_path):
    experiment = Experiment(
        name="tests/streamed", dataset="tfds:plain", image_size=12, model="mlp", batch_size=12, epochs=1
    )
    records = [
        run(replace(experiment, data_loader=loader), out=tmp_path / loader, data_dir=plain, verbose=0)
        for loader in ("arrays", "stream")
    ]
    # One step with all images: their order does not count.
    assert records[0].history["loss"] == pytest.approx(records[1].history["loss"], rel=1e-5)


@pytest.mark.parametrize("val", ["validation", "valid", "val"])
def test_published_splits_are_kept_under_any_name_of_val_and_others_are_noted(write, val):
    folder = write(f"splits_{val}", {"test": 6, val: 4, "train": 8, "extra": 2})
    source = load_dataset(f"tfds:splits_{val}", data_dir=folder).source
    assert source["counts"] == {"train": 8, "val": 4, "test": 6}
    assert source["split"] == "as published"
    assert source["notes"] == ["splits left out: extra"]


@pytest.mark.parametrize(
    ("published", "counts", "split"),
    [
        ("test", {"train": 8, "val": 2, "test": 6}, "test as published; train divided 80/20, "),
        (
            "validation",
            {"train": 8, "val": 6, "test": 2},
            "val as published; train divided 80/20 into train and test, ",
        ),
    ],
)
def test_one_missing_split_is_a_fifth_of_train(write, published, counts, split):
    folder = write(f"with_{published}", {"train": 10, published: 6})
    source = load_dataset(f"tfds:with_{published}", data_dir=folder).source
    assert source["counts"] == counts
    assert source["split"] == f"{split}stratified, seed 2020"


@pytest.mark.parametrize(
    ("channels", "note"),
    [(1, "grey images, repeated in three channels"), (4, "RGBA images, alpha channel dropped")],
)
def test_grey_and_rgba_images_become_rgb(write, channels, note):
    folder = write(f"channels_{channels}", {"train": 10}, shape=(8, 8, channels))
    dataset = load_dataset(f"tfds:channels_{channels}", data_dir=folder)
    assert dataset.image_shape == (8, 8, 3)
    assert dataset.source["notes"] == [note]
    assert np.array_equal(first_pixels(dataset.train) % 2, dataset.train.labels)
    assert np.ptp(dataset.train.images, axis=3).max() == 0
    image, _ = next(dataset.stream().as_numpy_iterator())
    assert image.shape == (8, 8, 3)


def test_images_of_different_sizes_need_an_image_size(write):
    folder = write("sizes", {"train": 10}, shape=(None, None, 3), sides=(8, 16))
    with pytest.raises(InputError, match=r"differ in size: 8x8 and 8x16 .* image_size"):
        load_dataset("tfds:sizes", data_dir=folder)
    dataset = load_dataset("tfds:sizes", 12, folder)
    assert dataset.image_shape == (12, 12, 3)
    assert dataset.source["notes"] == ["resized to cover 12x12 pixels and center-cropped"]
    assert {image.shape for image, _ in dataset.stream().as_numpy_iterator()} == {(12, 12, 3)}


def test_a_label_without_names_gets_numbered_classes(write):
    folder = write("unnamed", {"train": 10}, label=tfds.features.Scalar(np.int32))
    assert load_dataset("tfds:unnamed", data_dir=folder).class_names == ("class 0", "class 1")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("no_train", {"splits": {"test": 2, "extra": 2}}, r"no train split. Its splits: .*extra"),
        ("small", {"splits": {"train": 7}}, r"bee \(3\).* at least 4"),
        ("deep", {"dtype": np.uint16, "shape": (8, 8, 1)}, r"uint16; only images of 8 bits"),
        ("no_keys", {"keys": None}, r"what is the image and what the label"),
        ("reversed", {"keys": ("label", "image")}, r"not a dataset of images: 'label'"),
        ("multi_label", {"label": tfds.features.Sequence(tfds.features.Scalar(np.int64))}, r"no single integer label"),
        ("unlabelled", {"first_label": -1}, r"must have a label"),
    ],
)
def test_what_is_not_image_classification_is_refused(write, name, options, message):
    folder = write(name, **{"splits": {"train": 20}, **options})
    with pytest.raises(InputError, match=message):
        load_dataset(f"tfds:{name}", data_dir=folder)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense_set", "nonsense_set not found"),
        ("mnist:9.9.9", "9.9.9, only: 3.0.1"),
        ("mnist/nonsense", "nonsense not found"),
        ("not a name", "Parsing"),
        ("", "Parsing"),
    ],
)
def test_a_name_that_tfds_does_not_know_is_refused_in_one_line(name, message):
    with pytest.raises(InputError, match=message) as caught:
        load_dataset(f"tfds:{name}")
    assert "\n" not in str(caught.value)


@pytest.fixture
def registered(monkeypatch):
    """A dataset that tfds knows by name and can prepare: "in_code/big" and "in_code/small"."""

    class InCode(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        name = "in_code"
        VERSION = tfds.core.Version("1.0.0")
        BUILDER_CONFIGS = [tfds.core.BuilderConfig(name=name) for name in ("big", "small")]  # noqa: RUF012
        fails = None

        def _info(self):
            features = {"image": tfds.features.Image(shape=(8, 8, 3)), "label": label_feature()}
            return tfds.core.DatasetInfo(
                builder=self, features=tfds.features.FeaturesDict(features), supervised_keys=("image", "label")
            )

        def _split_generators(self, dl_manager):
            if self.fails:
                raise self.fails
            return {"train": self._generate_examples(20 if self.builder_config.name == "big" else 8)}

        def _generate_examples(self, images):
            for i in range(images):
                yield i, {"image": np.full((8, 8, 3), i, np.uint8), "label": i % 2}

    monkeypatch.setitem(tfds.core.registered._DATASET_REGISTRY, "in_code", InCode)
    return InCode


def test_without_data_dir_tfds_prepares_it_in_our_cache(registered, tmp_path, monkeypatch):
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path))
    dataset = load_dataset("tfds:in_code/small:1.0.0")
    assert dataset.source["counts"] == {"train": 4, "val": 2, "test": 2}
    assert (dataset.source["name"], dataset.source["version"]) == ("in_code/small", "1.0.0")
    assert (tmp_path / "tfds" / "in_code" / "small" / "1.0.0").is_dir()
    assert load_dataset("tfds:in_code/big").source["counts"] == {"train": 12, "val": 4, "test": 4}


def test_a_failing_download_is_one_clear_error(registered, tmp_path, monkeypatch):
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path))
    monkeypatch.setattr(registered, "fails", OSError("404 Not Found\n\nmore"))
    with pytest.raises(InputError, match=r"could not prepare in_code/big/1.0.0: OSError: 404 Not Found; .*--data-dir"):
        load_dataset("tfds:in_code")
    unreachable = {"http://127.0.0.1:9/a.zip": tfds.download.checksums.UrlInfo(size=1, checksum="0", filename="a.zip")}
    monkeypatch.setattr(registered, "url_infos", unreachable)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match=r"cannot download in_code/big/1.0.0: http://127.0.0.1:9/a.zip: .*data_dir"):
        load_dataset("tfds:in_code")


def test_a_missing_data_dir_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"data_dir .* exists"):
        load_dataset("tfds:plain", data_dir=tmp_path / "none")


def test_channels_become_three():
    assert to_rgb(np.zeros((2, 4, 6, 1), np.uint8)).shape == (2, 4, 6, 3)
    assert to_rgb(np.zeros((2, 4, 6, 4), np.uint8), 8).shape == (2, 8, 8, 3)
    with pytest.raises(InputError, match=r"1, 3 or 4 channels.*2"):
        to_rgb(np.zeros((2, 4, 6, 2), np.uint8))


def test_long_messages_are_shortened_to_one_line():
    assert one_line(ValueError("a\n  b\n\nc")) == "a b"
    assert len(one_line(ValueError("x" * 1000))) == 300
