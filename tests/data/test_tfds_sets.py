"""CIFAR through tfds, offline: the real code with small archives in the genuine formats."""

import hashlib
import io
import struct
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from kmodels import InputError, load_dataset
from kmodels.data import exact_copy, tfds_sets
from kmodels.data.pixel_digests import dataset_digests, whole_digest

tfds = pytest.importorskip("tensorflow_datasets")

NAMES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
FINE = tuple(f"thing {i}" for i in range(100))
COARSE = tuple(f"kind {i}" for i in range(20))
# File in the binary archive -> (its images, the seed of their pixels).
BATCHES = {
    "cifar10": {**{f"data_batch_{i}": (20, i) for i in range(1, 6)}, "test_batch": (20, 6)},
    "cifar100": {"train": (300, 1), "test": (100, 2)},
}


def batch(name, part):
    """{key: labels (n,)} in the order of the format, and the pixels (n, 3072): 1,024 each of red, green and blue."""
    images, seed = BATCHES[name][part]
    labels = np.arange(images)
    keys = {"labels": labels % 10} if name == "cifar10" else {"coarse_labels": labels % 20, "fine_labels": labels % 100}
    return keys, np.random.default_rng(seed).integers(0, 256, (images, 3072), np.uint8)


def pickled(value):
    """The value as Python 2 pickled it: strings are bytes, and arrays call functions of NumPy by their old names."""
    return b"\x80\x02" + _opcodes(value) + b"."


def _opcodes(value):
    if isinstance(value, dict):
        return b"}(" + b"".join(_opcodes(key) + _opcodes(item) for key, item in value.items()) + b"u"
    if isinstance(value, list):
        return b"](" + b"".join(map(_opcodes, value)) + b"e"
    if isinstance(value, tuple):
        return b"(" + b"".join(map(_opcodes, value)) + b"t"
    if isinstance(value, np.ndarray):
        empty = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\n" + _opcodes((0,)) + _opcodes("b") + b"\x87R"
        dtype = b"cnumpy\ndtype\n" + _opcodes(("u1", 0, 1)) + b"R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb"
        return empty + b"(K\x01" + _opcodes(value.shape) + dtype + b"\x89" + _opcodes(value.tobytes()) + b"tb"
    if isinstance(value, int):
        return b"J" + struct.pack("<i", value)
    content = value.encode() if isinstance(value, str) else value
    return b"T" + struct.pack("<i", len(content)) + content


def write_archive(path, files):
    path.parent.mkdir(exist_ok=True)
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return {"size": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


@pytest.fixture
def binary(tmp_path, monkeypatch):
    """Returns a function that writes the binary archive of a set and sets the hash that tfds expects."""
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))

    def write(name):
        known = tfds_sets.TFDS_SETS[name]
        path = tmp_path / "mine" / known.archive.name
        top = "cifar-10-batches-bin" if name == "cifar10" else "cifar-100-binary"
        files = {}
        for part in BATCHES[name]:
            labels, pixels = batch(name, part)
            rows = np.column_stack([*labels.values(), pixels]).astype(np.uint8)
            files[f"{top}/{part}.bin"] = rows.tobytes()
        if name == "cifar10":
            files[f"{top}/batches.meta.txt"] = "\n".join([*NAMES, "", ""]).encode()
        else:
            files[f"{top}/coarse_label_names.txt"] = "\n".join([*COARSE, ""]).encode()
            files[f"{top}/fine_label_names.txt"] = "\n".join([*FINE, ""]).encode()
        published = write_archive(path, files)
        (url,) = tfds.builder_cls(name).url_infos
        info = tfds.download.checksums.UrlInfo(size=published["size"], checksum=published["sha256"], filename=path.name)
        monkeypatch.setattr(tfds.builder_cls(name), "url_infos", {url: info})
        monkeypatch.setitem(tfds_sets.TFDS_SETS, name, replace(known, archive=replace(known.archive, **published)))
        return path

    return write


@pytest.fixture
def archive(binary):
    """The path of a cifar-10-binary.tar.gz."""
    return binary("cifar10")


@pytest.fixture
def python(tmp_path, monkeypatch):
    """Returns a function that writes the -python archive of a set and sets the expected hash."""
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))

    def write(name, **others):
        known = tfds_sets.TFDS_SETS[name]
        top = "cifar-10-batches-py" if name == "cifar10" else "cifar-100-python"
        files = {}
        for part in BATCHES[name]:
            labels, pixels = batch(name, part)
            lists = {key: values.tolist() for key, values in labels.items()}
            files[f"{top}/{part}"] = pickled({"batch_label": part, **lists, "data": pixels})
        if name == "cifar10":
            files[f"{top}/batches.meta"] = pickled({"num_cases_per_batch": 20, "label_names": list(NAMES)})
        else:
            files[f"{top}/meta"] = pickled({"fine_label_names": list(FINE), "coarse_label_names": list(COARSE)})
        path = tmp_path / "mine" / known.python_archive.name
        published = write_archive(path, {**files, **{f"{top}/{part}": content for part, content in others.items()}})
        changed = replace(known, python_archive=replace(known.python_archive, **published))
        monkeypatch.setitem(tfds_sets.TFDS_SETS, name, changed)
        return path

    return write


def test_an_archive_becomes_the_published_split(archive):
    dataset = load_dataset("cifar10", data_dir=archive.parent)
    assert dataset.class_names == NAMES
    assert dataset.source["counts"] == {"train": 80, "val": 20, "test": 20}
    assert dataset.source["kind"] == "tfds"
    assert dataset.source["original"] is True
    written = [batch("cifar10", f"data_batch_{i}") for i in range(1, 6)]
    labels = np.concatenate([keys["labels"] for keys, _ in written])
    pixels = np.concatenate([pixels for _, pixels in written]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for split in (dataset.train, dataset.val):
        for image, label in zip(split.images, split.labels, strict=True):
            (i,) = np.flatnonzero((pixels == image).all(axis=(1, 2, 3)))
            assert labels[i] == label
    assert np.array_equal(np.bincount(dataset.val.labels), [2] * 10)
    archive.unlink()
    assert load_dataset("cifar10", data_dir=archive.parent).source == dataset.source


def test_the_digest_of_an_archive_is_that_of_its_pixels_before_they_are_resized(archive):
    dataset = load_dataset("cifar10", data_dir=archive.parent)
    assert dataset.source["pixels_sha256"] == whole_digest(dataset_digests(dataset))
    resized = load_dataset("cifar10", image_size=16, data_dir=archive.parent)
    assert resized.source["pixels_sha256"] == dataset.source["pixels_sha256"]


def test_an_archive_counts_before_a_folder_of_images_beside_it(archive):
    (archive.parent / "train").mkdir()
    assert load_dataset("cifar10", data_dir=archive.parent).source["kind"] == "tfds"


def test_cifar100_has_its_fine_labels(binary):
    dataset = load_dataset("cifar100", data_dir=binary("cifar100").parent)
    assert dataset.class_names == FINE
    assert dataset.source["counts"] == {"train": 200, "val": 100, "test": 100}
    assert np.array_equal(np.bincount(dataset.train.labels), [2] * 100)
    keys, pixels = batch("cifar100", "test")
    pixels = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    for image, label in zip(dataset.test.images, dataset.test.labels, strict=True):
        (i,) = np.flatnonzero((pixels == image).all(axis=(1, 2, 3)))
        assert keys["fine_labels"][i] == label


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_python_archive_gives_the_same_images_order_and_split_and_streams(
    binary, python, name, tmp_path, monkeypatch
):
    expected = load_dataset(name, data_dir=binary(name).parent)
    (tmp_path / "mine" / tfds_sets.TFDS_SETS[name].archive.name).unlink()
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "another cache"))
    dataset = load_dataset(name, data_dir=python(name).parent)
    assert dataset.source == expected.source
    assert dataset.class_names == expected.class_names
    assert np.array_equal(dataset.val.index, expected.val.index)
    streams = [
        [hash(image.tobytes()) for image, _ in each.stream().as_numpy_iterator()] for each in (dataset, expected)
    ]
    assert streams[0] == streams[1]


@pytest.mark.parametrize(("name", "attached"), [("cifar10", True), ("cifar100", False)])
def test_the_files_of_a_python_archive_are_read_if_their_pixels_are_the_published_ones(
    python, name, attached, tmp_path, monkeypatch
):
    path = python(name)
    expected = load_dataset(name, data_dir=path)
    unpacked = tmp_path / "input" / "somebodys-cifar"
    with tarfile.open(path) as tar:
        tar.extractall(unpacked, filter="data")
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "another cache"))
    monkeypatch.setenv("KAGGLE_INPUT", str(tmp_path / "input"))
    given = None if attached else unpacked
    with pytest.raises(InputError, match=rf"{unpacked}.* does not have the published images of {name}: .*train/"):
        load_dataset(name, data_dir=given)
    known = {
        part: {label: exact_copy.Published(*one[:1], *one) for label, one in classes.items()}
        for part, classes in dataset_digests(expected).items()
    }
    monkeypatch.setattr(exact_copy, "published", lambda name: known)
    assert load_dataset(name, data_dir=given).source == expected.source


def test_what_a_killed_conversion_left_is_removed_by_the_next(python, tmp_path):
    for name in ("cifar10.partial", "cifar10/incomplete.AB12CD_3.0.2"):
        left = tmp_path / "cache" / "tfds" / name / "half"
        left.parent.mkdir(parents=True)
        left.write_bytes(b"half")
    assert load_dataset("cifar10", data_dir=python("cifar10").parent).source["counts"]["train"] == 80
    assert not list((tmp_path / "cache").rglob("half"))


@pytest.mark.parametrize("function", ["posix system", "builtins eval", "numpy load", "numpy.core.multiarray scalar"])
def test_a_pickle_that_refers_to_more_than_arrays_is_refused_and_nothing_is_called(python, tmp_path, function):
    called = tmp_path / "called"
    module, name = function.split()
    argument = f"touch {called}" if name == "system" else f"open({str(called)!r}, 'w')"
    harm = f"\x80\x02c{module}\n{name}\n(V{argument}\ntR.".encode("latin-1")
    path = python("cifar10", data_batch_3=harm)
    with pytest.raises(InputError, match=rf"data_batch_3 is refused: .*{module}\.{name}"):
        load_dataset("cifar10", data_dir=path.parent)
    assert not called.exists()


def test_a_pickle_of_something_else_is_named(python):
    path = python("cifar10", data_batch_3=pickled([1, 2]))
    with pytest.raises(InputError, match="does not have the content of a CIFAR archive for Python"):
        load_dataset("cifar10", data_dir=path.parent)


def test_without_data_dir_the_binary_archive_is_downloaded(archive, monkeypatch):
    monkeypatch.setattr(tfds_sets, "download", lambda archives: (archives[0], archive))
    assert load_dataset("cifar10").source["counts"] == {"train": 80, "val": 20, "test": 20}


def test_the_stream_gives_just_the_train_split_once_an_epoch_in_an_order_of_seed_and_epoch(archive):
    from kmodels.data.batches import stream_batches

    dataset = load_dataset("cifar10", data_dir=archive.parent)
    batches, steps = stream_batches(dataset, 26, 0, epochs=1)
    assert steps == 3
    assert [len(labels) for _, labels in batches.as_numpy_iterator()] == [26, 26, 26]

    def epochs(seed):
        batches, steps = stream_batches(dataset, 32, seed, epochs=2)
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


def test_a_run_can_train_on_the_stream(archive, tmp_path, tiny):
    from kmodels import run

    streamed = replace(
        tiny, dataset="cifar10", image_size=None, data_loader="stream", subset=50, model="mlp", augmentation="none"
    )
    record = run(streamed, out=tmp_path, data_dir=archive.parent, verbose=0)
    assert record.status == "completed"
    assert record.epochs_run == 2
    assert record.source["counts"] == {"train": 40, "val": 10, "test": 20}


@pytest.mark.parametrize("kind", ["binary", "python"])
def test_an_archive_may_have_any_name(request, kind, tmp_path):
    path = request.getfixturevalue(kind)("cifar10").rename(tmp_path / "cifar (1).gz")
    assert load_dataset("cifar10", data_dir=path).source["counts"]["train"] == 80


def test_an_archive_in_an_unsupported_format_is_named(archive):
    archive.rename(archive.with_name("cifar-10-matlab.tar.gz"))
    with pytest.raises(InputError, match=r"matlab.*Expected: cifar-10-binary.tar.gz .*; or cifar-10-python.tar.gz"):
        load_dataset("cifar10", data_dir=archive.parent)


@pytest.mark.parametrize("kind", ["binary", "python"])
def test_a_damaged_archive_is_named_with_what_is_expected(request, kind):
    path = request.getfixturevalue(kind)("cifar10")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=rf"damaged .* Expected: cifar-10-{kind}.tar.gz"):
        load_dataset("cifar10", data_dir=path)


def test_for_an_empty_folder_the_error_says_what_is_expected(archive):
    archive.unlink()
    with pytest.raises(InputError, match=r"neither cifar10 prepared by tfds .* Expected: cifar-10"):
        load_dataset("cifar10", data_dir=archive.parent)
    with pytest.raises(InputError, match=r"data_dir .* exists"):
        load_dataset("cifar10", data_dir=archive.parent / "none")


def test_only_tfds_sets_stream():
    from kmodels.data.batches import stream_batches

    with pytest.raises(InputError, match="'stream' reads data prepared by tfds"):
        stream_batches(load_dataset("digits"), 8, 0, 1)


def test_tensorflow_beside_another_backend_sees_no_gpu(backend):
    from kmodels.backend import import_tensorflow

    tf = import_tensorflow()
    if backend != "tensorflow":
        assert tf.config.get_visible_devices("GPU") == []
