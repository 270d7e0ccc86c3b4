"""EuroSAT from a zip file, a folder and a download, with tiny files."""

import hashlib
import itertools
import sys
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kmodels import InputError, load_dataset
from kmodels.data import eurosat
from kmodels.data.eurosat import CLASSES


@pytest.fixture(autouse=True)
def _whole(monkeypatch, tmp_path):
    """Makes a set of five images a class count as complete."""
    monkeypatch.setattr(eurosat, "IMAGES", 50)
    monkeypatch.setattr(eurosat, "SMALL", {"train": 20, "val": 10, "test": 10})
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def folder(tmp_path):
    """What is in EuroSAT.zip, unpacked: 2750/<class>/<class>_<n>.jpg, each in another grey."""
    greys = itertools.count(2, 3)
    for name, number in itertools.product(CLASSES, (1, 2, 3, 10, 20)):
        path = tmp_path / "unpacked" / "2750" / name / f"{name}_{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (64, 64), (next(greys),) * 3).save(path)
    return tmp_path / "unpacked"


@pytest.fixture
def zipped(folder, tmp_path, monkeypatch):
    """The path of an EuroSAT.zip, with the expected hash, in a folder with another file."""
    path = tmp_path / "mine" / "EuroSAT.zip"
    path.parent.mkdir()
    (path.parent / "other.zip").touch()
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*"), reverse=True):
            archive.write(file, file.relative_to(folder))
    published = replace(eurosat.ARCHIVE, size=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    monkeypatch.setattr(eurosat, "ARCHIVE", published)
    return path


def test_the_split_is_60_20_20_over_classes_and_names_in_alphabetical_order(zipped, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    dataset = load_dataset("eurosat", data_dir=zipped.parent)
    assert dataset.class_names == tuple(sorted(CLASSES)) == CLASSES
    assert dataset.image_shape == (64, 64, 3)
    assert dataset.source["counts"] == {"train": 30, "val": 10, "test": 10}
    assert dataset.source["split"] == "60/20/20, stratified, seed 2020"
    assert dataset.source["original"] is True
    assert dataset.source["notes"] == []
    # 10 and 20 come before 2 and 3 as text.
    order = [2 + 3 * (5 * label + i) for label in range(10) for i in (0, 3, 1, 4, 2)]
    for split, images in zip((dataset.train, dataset.val, dataset.test), (3, 1, 1), strict=True):
        assert np.array_equal(np.bincount(split.labels), [images] * 10)
        assert np.array_equal(split.labels, split.index // 5)
        assert np.array_equal(split.images[:, 0, 0, 0], np.take(order, split.index))


def test_zip_and_folder_give_the_same_dataset(zipped, folder):
    expected = load_dataset("eurosat", data_dir=zipped).source
    (folder / "papers").mkdir()
    for data_dir in (folder, folder / "2750"):
        assert load_dataset("eurosat", data_dir=data_dir).source == expected


def test_an_archive_that_is_handed_over_stands_for_the_download(zipped, kmodels_command, tmp_path):
    mine = zipped.rename(tmp_path / "EuroSAT (1).zip")
    assert kmodels_command("data", "prepare", "eurosat", "--archive", mine)[0] == 0
    assert load_dataset("eurosat").source["original"] is True
    assert (tmp_path / "cache" / "archives" / "EuroSAT.zip").resolve() == mine


def test_downloaded_it_is_the_same_and_stays_when_the_zip_is_gone(zipped, monkeypatch):
    monkeypatch.setattr(eurosat, "download", lambda archives: (archives[0], zipped))
    source = load_dataset("eurosat").source
    assert source == load_dataset("eurosat", data_dir=zipped).source
    zipped.unlink()
    assert load_dataset("eurosat").source == source


def test_the_small_set_is_a_fixed_part_of_each_split(zipped, monkeypatch):
    whole = load_dataset("eurosat", data_dir=zipped)
    small = load_dataset("eurosat_small", data_dir=zipped)
    assert small.class_names == whole.class_names
    assert small.source["counts"] == {"train": 20, "val": 10, "test": 10}
    assert (
        small.source["split"] == "20/10/10 of those of eurosat (60/20/20, stratified, seed 2020), stratified, same seed"
    )
    assert small.source["notes"] == ["a small part of EuroSAT, chosen here with a fixed seed"]
    assert small.source["original"] is True
    assert np.array_equal(np.bincount(small.train.labels), [2] * 10)
    for part, split in ((small.train, whole.train), (small.val, whole.val), (small.test, whole.test)):
        indices = np.searchsorted(split.index, part.index)
        assert np.array_equal(split.index[indices], part.index)
        assert np.array_equal(split.images[indices], part.images)
    monkeypatch.setattr(eurosat, "SMALL", {"train": 31, "val": 10, "test": 10})
    with pytest.raises(InputError, match=r"31 images of train.*Received: 30"):
        load_dataset("eurosat_small", 32, zipped)


def test_a_zip_is_the_original_by_its_hash_and_a_folder_by_its_images(zipped, folder, monkeypatch):
    monkeypatch.setattr(eurosat, "ARCHIVE", replace(eurosat.ARCHIVE, sha256="0" * 64))
    source = load_dataset("eurosat", data_dir=zipped).source
    assert source["original"] is False
    assert source["notes"][0].startswith(f"not the published EuroSAT.zip: it has {zipped.stat().st_size:,} bytes, sha")
    assert load_dataset("eurosat", data_dir=folder).source["original"] is True
    monkeypatch.setattr(eurosat, "IMAGES", 51)
    (note,) = load_dataset("eurosat", 8, folder).source["notes"][:1]
    assert note == "not the original set: 50 of its 51 images, mostly JPEG of 64x64 pixels"
    monkeypatch.setattr(eurosat, "IMAGES", 50)
    image = next(folder.rglob("River_2.jpg"))
    Image.new("RGB", (64, 63)).save(image)
    assert load_dataset("eurosat", data_dir=folder).source["original"] is False
    Image.new("RGB", (64, 64)).save(image, format="PNG")
    assert load_dataset("eurosat", data_dir=folder).source["original"] is False


def test_a_truncated_zip_and_other_folders_are_refused_with_what_is_expected(zipped, folder, tmp_path):
    whole = zipped.read_bytes()
    zipped.write_bytes(whole[:-100])
    with pytest.raises(InputError, match=r"damaged.*Expected: EuroSAT.zip"):
        load_dataset("eurosat", data_dir=zipped.parent)
    zipped.write_bytes(whole.replace(b"\xff\xd9", b"\xff\xd8", 1))
    with pytest.raises(InputError, match=r"EuroSAT.zip/2750/.*: Bad CRC-32"):
        load_dataset("eurosat", data_dir=zipped.parent)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"missing: Annual.* Expected: EuroSAT.zip"):
        load_dataset("eurosat", data_dir=tmp_path / "empty")
    (folder / "2750" / "River").rename(folder / "2750" / "Rivers")
    with pytest.raises(InputError, match=r"missing: River; unexpected: Rivers"):
        load_dataset("eurosat_small", data_dir=folder)


def test_archive_and_classes_are_those_that_tfds_knows():
    from kmodels.data.archives import import_tfds

    pytest.importorskip("tensorflow_datasets")
    builder = import_tfds().builder("eurosat/rgb")
    assert tuple(builder.info.features["label"].names) == CLASSES
    archive = eurosat.ARCHIVE
    info = builder.url_infos[archive.url]
    assert (info.filename, info.size, info.checksum) == (archive.name, archive.size, archive.sha256)
