"""CIFAR-10 through tfds, offline: the real code on a small archive in the genuine format."""

import hashlib
import io
import tarfile

import numpy as np
import pytest

from kmodels import InputError, load_dataset

tfds = pytest.importorskip("tensorflow_datasets")

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
PER_BATCH = 20


def records(seed):
    """PER_BATCH images in CIFAR's binary form: a label byte, then 1,024 bytes each of red, green and blue."""
    rng = np.random.default_rng(seed)
    labels = np.arange(PER_BATCH, dtype=np.uint8) % 10
    return np.concatenate([labels[:, None], rng.integers(0, 256, (PER_BATCH, 3072), np.uint8)], axis=1)


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """The folder of a cifar-10-binary.tar.gz whose hash tfds is told to expect."""
    path = tmp_path / "mine" / "cifar-10-binary.tar.gz"
    path.parent.mkdir()
    files = {f"data_batch_{i}.bin": records(i).tobytes() for i in range(1, 6)}
    files["test_batch.bin"] = records(6).tobytes()
    files["batches.meta.txt"] = "\n".join(NAMES).encode()
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    info = tfds.download.checksums.UrlInfo(
        size=path.stat().st_size,
        checksum=hashlib.sha256(path.read_bytes()).hexdigest(),
        filename=path.name,
    )
    monkeypatch.setattr(tfds.builder_cls("cifar10"), "url_infos", {URL: info})
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))
    return path


def test_the_archive_that_one_has_becomes_the_published_split(archive):
    dataset = load_dataset("cifar10", data_dir=archive.parent)
    assert dataset.class_names == NAMES
    assert dataset.source["counts"] == {"train": 80, "val": 20, "test": 20}
    assert dataset.source["kind"] == "tfds"
    assert dataset.source["original"] is True
    written = np.concatenate([records(i) for i in range(1, 6)])
    pixels = written[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for split in (dataset.train, dataset.val):
        for image, label in zip(split.images, split.labels, strict=True):
            (place,) = np.flatnonzero((pixels == image).all(axis=(1, 2, 3)))
            assert written[place, 0] == label
    assert np.array_equal(np.bincount(dataset.val.labels), [2] * 10)
    archive.unlink()
    assert load_dataset("cifar10", data_dir=archive.parent).source == dataset.source


def test_the_stream_gives_just_the_train_split_once_an_epoch_in_an_order_of_seed_and_epoch(archive):
    from kmodels.data.feeds import stream_feed

    dataset = load_dataset("cifar10", data_dir=archive.parent)

    def epochs(seed):
        batches, steps = stream_feed(dataset, 32, seed, epochs=2)
        seen = list(batches.as_numpy_iterator())
        assert steps == 3
        assert [len(labels) for _, labels in seen] == [32, 32, 16] * 2
        assert (seen[0][0].dtype, seen[0][1].dtype) == (np.uint8, np.int32)
        return [np.concatenate([images for images, _ in seen[i : i + 3]]) for i in (0, 3)]

    def order(images):
        return [hash(image.tobytes()) for image in images]

    first, second = epochs(seed=0)
    assert sorted(order(first)) == sorted(order(second)) == sorted(order(np.asarray(dataset.train.images)))
    assert order(first) != order(second)
    assert [order(part) for part in epochs(seed=0)] == [order(first), order(second)]
    assert order(epochs(seed=1)[0]) != order(first)


def test_a_run_can_be_fed_by_the_stream(archive, tmp_path, tiny):
    from dataclasses import replace

    from kmodels import run

    streamed = replace(tiny, dataset="cifar10", image_size=None, feed="stream", subset=50)
    record = run(streamed, out=tmp_path, data_dir=archive.parent, verbose=0)
    assert record.status == "completed"
    assert record.epochs_run == 2
    assert record.source["counts"] == {"train": 40, "val": 10, "test": 20}


def test_the_python_archive_is_told_from_the_binary_one(archive):
    archive.rename(archive.with_name("cifar-10-python.tar.gz"))
    with pytest.raises(InputError, match=r"has cifar-10-python.tar.gz, .*Wanted: cifar-10-binary.tar.gz \("):
        load_dataset("cifar10", data_dir=archive.parent)


def test_a_damaged_archive_is_named_with_what_is_wanted(archive):
    archive.write_bytes(archive.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"damaged or another file: it has .* bytes, sha256 .*Wanted: cifar-10-bin"):
        load_dataset("cifar10", data_dir=archive.parent)


def test_an_empty_folder_says_what_is_wanted(archive):
    archive.unlink()
    with pytest.raises(InputError, match=r"has neither cifar10 prepared by tfds .* nor the archive"):
        load_dataset("cifar10", data_dir=archive.parent)


def test_only_tfds_sets_stream(tiny):
    from kmodels.data.feeds import stream_feed

    with pytest.raises(InputError, match="feed 'stream' reads data prepared by tfds, and dataset 'digits' is not"):
        stream_feed(load_dataset("digits"), 8, 0, 1)


def test_tensorflow_beside_another_backend_sees_no_gpu(backend):
    from kmodels.backend import import_tensorflow

    tf = import_tensorflow()
    if backend != "tensorflow":
        assert tf.config.get_visible_devices("GPU") == []
