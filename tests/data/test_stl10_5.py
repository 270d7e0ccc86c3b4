"""Five classes of STL-10, from small archives in the genuine format."""

import hashlib
import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from kmodels import InputError, load_dataset
from kmodels.data import stl10_5

PARTS = {"train": 5, "test": 3}
# Labels of car, deer, horse, monkey and truck in the archive.
PUBLISHED = [3, 5, 7, 8, 10]


def labels(part):
    """PARTS[part] labels of each of the ten classes, shuffled."""
    return np.random.default_rng(PARTS[part]).permutation(np.repeat(np.arange(1, 11, dtype=np.uint8), PARTS[part]))


def images(part):
    """(n, 96, 96, 3): the pixels tell label, index, row and column."""
    rows, columns = np.mgrid[:96, :96].astype(np.uint8)
    return (
        np.stack([np.stack([rows, columns, np.full_like(rows, i)], axis=-1) for i in range(len(labels(part)))])
        + labels(part)[:, None, None, None]
    )


def content(part):
    """The files of a part: images as planes of red, green and blue, each column by column; labels from 1."""
    return {
        f"{part}_X.bin": np.ascontiguousarray(images(part).transpose(0, 3, 2, 1)).tobytes(),
        f"{part}_y.bin": labels(part).tobytes(),
    }


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """Returns a function that writes the archive, sets the expected hash, and returns its folder."""
    path = tmp_path / "mine" / "stl10_binary.tar.gz"
    path.parent.mkdir()
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))

    def write(files, lost=0):
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
            for name, bytes_ in files.items():
                entry = tarfile.TarInfo(f"stl10_binary/{name}")
                entry.size = len(bytes_)
                tar.addfile(entry, io.BytesIO(bytes_))
        path.write_bytes(packed.getvalue()[: len(packed.getvalue()) - lost])
        published = replace(
            stl10_5.ARCHIVE, size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest()
        )
        monkeypatch.setattr(stl10_5, "ARCHIVE", published)
        return path.parent

    return write


def test_the_labelled_images_of_five_classes_are_relabelled_and_train_is_divided(archive, tmp_path):
    folder = archive({**content("test"), "class_names.txt": b"airplane\n", **content("train"), "fold_indices.txt": b""})
    dataset = load_dataset("stl10_5", data_dir=folder)
    assert dataset.class_names == ("car", "deer", "horse", "monkey", "truck")
    assert dataset.image_shape == (96, 96, 3)
    assert dataset.source["counts"] == {"train": 20, "val": 5, "test": 15}
    assert dataset.source["original"] is True
    assert dataset.stream is None
    assert np.array_equal(np.bincount(dataset.val.labels), [1] * 5)
    for part, splits in {"train": (dataset.train, dataset.val), "test": (dataset.test,)}.items():
        expected = images(part)
        for split in splits:
            assert np.array_equal(np.take(PUBLISHED, split.labels), labels(part)[split.index])
            assert np.array_equal(split.images, expected[split.index])
    (folder / "stl10_binary.tar.gz").unlink()
    assert load_dataset("stl10_5", data_dir=folder).source == dataset.source


@pytest.mark.parametrize("last", [True, False])
def test_unlabelled_images_are_not_read_where_they_come_last_and_never_kept(archive, tmp_path, last):
    noise = {"unlabeled_X.bin": np.random.default_rng(0).bytes(400_000)}
    files = {**content("train"), **content("test")}
    # The end of the file is cut off: reading it would fail.
    folder = archive({**files, **noise}, lost=300_000) if last else archive({**noise, **files})
    dataset = load_dataset("stl10_5", image_size=8, data_dir=folder / "stl10_binary.tar.gz")
    assert dataset.source["counts"] == {"train": 20, "val": 5, "test": 15}
    assert dataset.source["notes"][-1] == "resized to 8x8"
    assert sum(file.stat().st_size for file in (tmp_path / "cache").rglob("*")) < 30_000


def test_a_missing_and_a_damaged_archive_are_named_with_what_is_expected(archive):
    folder = archive({"train_X.bin": b"?"})
    path = folder / "stl10_binary.tar.gz"
    path.write_bytes(b"another")
    with pytest.raises(InputError, match=r"it has 7 bytes.*Expected: stl10_binary.tar.gz"):
        load_dataset("stl10_5", data_dir=folder)
    path.rename(folder / "stl10_matlab.tar.gz")
    with pytest.raises(InputError, match=r"stl10_matlab.tar.gz, .* unsupported"):
        load_dataset("stl10_5", data_dir=folder)
    (folder / "stl10_matlab.tar.gz").unlink()
    with pytest.raises(InputError, match=r"no archive of the set. Expected: stl10_binary.tar.gz"):
        load_dataset("stl10_5", data_dir=folder)


def test_the_archive_is_the_one_that_tfds_knows():
    tfds = pytest.importorskip("tensorflow_datasets")
    archive = stl10_5.ARCHIVE
    info = tfds.builder_cls("stl10").url_infos[archive.url]
    assert (info.filename, info.size, info.checksum) == (archive.name, archive.size, archive.sha256)
