"""Exact copies of CIFAR as image files: compared with the published pixels, refused where they differ."""

import shutil

import numpy as np
import pytest
from PIL import Image

from kmodels import Experiment, InputError, load_dataset, read_record, run
from kmodels.data import exact_copy
from kmodels.data.exact_copy import Published
from kmodels.data.pixel_digests import class_digests, dataset_digests, image_digests, whole_digest
from kmodels.records.descriptions import on_published_data, pixels_name
from kmodels.report.markdown import results_page

# Not in alphabetical order: labels are in the order of the table.
CLASSES = ("dog", "cat")
IMAGES = {"train": 10, "test": 4}


def arrays():
    """{part: images (n, 32, 32, 3) and labels (n,)}."""
    rng, parts = np.random.default_rng(0), {}
    for part, images in IMAGES.items():
        labels = np.repeat(range(len(CLASSES)), images)
        parts[part] = rng.integers(0, 256, (len(labels), 32, 32, 3), np.uint8), labels
    return parts


def write(folder, suffix="png", names=str):
    """Writes the images, with the name `names(i)` for image i of its part; returns the folder."""
    for part, (images, labels) in arrays().items():
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            path = folder / part / CLASSES[label] / f"{names(i)}.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(image).save(path)
    return folder


@pytest.fixture
def table(monkeypatch):
    """The table of the published pixels, whose entries a test may change."""
    known = {
        part: {
            label: Published(one.images, one.images, one.digest[:16])
            for label, one in class_digests(image_digests(images), labels, CLASSES).items()
        }
        for part, (images, labels) in arrays().items()
    }
    monkeypatch.setattr(exact_copy, "published", lambda name: known)
    return known


@pytest.fixture
def folder(tmp_path, table):
    """An exact copy."""
    return write(tmp_path / "copy")


def lose_one(folder, table):
    """One dog of the test images is neither in the folder nor known to the table."""
    (folder / "test" / "dog" / "0.png").unlink()
    images, labels = (part[1:] for part in arrays()["test"])
    table["test"]["dog"] = Published(4, 3, class_digests(image_digests(images), labels, CLASSES)["dog"].digest[:16])


def test_an_exact_copy_is_the_published_data(folder):
    dataset = load_dataset("cifar10", data_dir=folder)
    assert dataset.class_names == CLASSES
    assert dataset.source["counts"] == {"train": 16, "val": 4, "test": 8}
    assert np.array_equal(np.bincount(dataset.val.labels), [2, 2])
    source = dataset.source
    assert (source["kind"], source["original"], source["missing"]) == ("exact pixels", True, {})
    assert source["copy"] == "exact pixels, 28 of 28"
    assert on_published_data(source)
    images, labels = arrays()["test"]
    assert {image.tobytes(): label for image, label in zip(images, labels, strict=True)} == {
        image.tobytes(): label for image, label in zip(dataset.test.images, dataset.test.labels, strict=True)
    }


def test_digests_of_files_equal_those_of_arrays_and_of_any_order_and_format(folder, tmp_path):
    dataset = load_dataset("cifar10", data_dir=folder)
    parts = {part: class_digests(image_digests(images), labels, CLASSES) for part, (images, labels) in arrays().items()}
    assert dataset_digests(dataset) == parts
    assert dataset.source["pixels_sha256"] == whole_digest(parts)
    other = load_dataset("cifar10", data_dir=write(tmp_path / "bmp", "bmp", lambda i: 99 - i))
    assert other.source["pixels_sha256"] == whole_digest(parts)
    assert other.source["sha256"] != dataset.source["sha256"], "its images are in another order"
    moved = load_dataset("cifar10", data_dir=shutil.copytree(folder, tmp_path / "elsewhere"))
    assert moved.source == dataset.source


def test_images_are_compared_before_they_are_resized(folder):
    dataset = load_dataset("cifar10", image_size=16, data_dir=folder)
    assert dataset.image_shape == (16, 16, 3)
    assert dataset.source["original"] is True
    assert dataset.source["pixels_sha256"] == load_dataset("cifar10", data_dir=folder).source["pixels_sha256"]


def test_one_changed_pixel_is_refused(folder):
    path = folder / "train" / "cat" / "12.png"
    with Image.open(path) as image:
        image.putpixel((3, 4), (0, 0, 0))
        image.save(path)
    with pytest.raises(InputError, match=r"1 of its 4 class folders differ: train/cat \(other pixels\).*'folder'"):
        load_dataset("cifar10", data_dir=folder)


def test_jpeg_files_and_other_sizes_are_refused(folder, tmp_path):
    with pytest.raises(InputError, match=r"4 of its 4 class folders differ: .*JPEG files: 28.*--dataset folder"):
        load_dataset("cifar10", data_dir=write(tmp_path / "lossy", "jpg"))
    Image.new("RGB", (64, 32)).save(folder / "test" / "dog" / "0.png")
    with pytest.raises(InputError, match=r"1 of its 4 .* test/dog \(images of another size than 32x32: 1"):
        load_dataset("cifar10", data_dir=folder)


def test_unreadable_images_are_named(folder):
    (folder / "test" / "dog" / "0.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"1 of its 4 .* test/dog \(unreadable: test/dog/0.png"):
        load_dataset("cifar10", data_dir=folder)


@pytest.mark.parametrize("change", ["fewer", "more", "other classes", "no test"])
def test_other_images_than_those_of_the_set_are_refused_before_any_is_read(folder, change):
    if change == "fewer":
        (folder / "train" / "cat" / "12.png").unlink()
        message = r"1 of its 4 .* train/cat \(9 of 10 images\)"
    elif change == "more":
        (folder / "train" / "cat" / "more.png").write_bytes(b"")
        message = r"1 of its 4 .* train/cat \(11 of 10 images\)"
    elif change == "other classes":
        (folder / "train" / "cat").rename(folder / "train" / "cow")
        message = "missing: cat; unexpected: cow"
    else:
        shutil.rmtree(folder / "test")
        message = "test"
    with pytest.raises(InputError, match=message):
        load_dataset("cifar10", data_dir=folder)


def test_a_copy_without_the_images_that_are_not_known_is_exact_and_says_what_is_missing(
    folder, table, tmp_path, capsys, kmodels_command
):
    lose_one(folder, table)
    experiment = Experiment(name="tests/exact", dataset="cifar10", model="mlp", epochs=1, batch_size=16)
    record = run(experiment, out=tmp_path / "out", data_dir=folder, verbose=0)
    record = read_record(tmp_path / "out" / f"{record.stem}.json")
    assert record.source["missing"] == {"test/dog": 1}
    assert len(record.source["pixels_sha256"]) == 64
    assert on_published_data(record.source)
    assert pixels_name(record.source) == "cifar10 (exact pixels, 27 of 28)"
    assert any("missing of the 28 published images: 1 (test/dog 1)" in note for note in record.source["notes"])
    assert "(the published data; missing images: 1)" in results_page([record], tmp_path / "out")
    capsys.readouterr()
    status, printed, _ = kmodels_command("data", "verify", "cifar10", "--data-dir", folder)
    assert status == 0
    assert "exact pixels, 27 of 28; missing: test/dog 1" in printed
    assert f"pixels_sha256 {record.source['pixels_sha256']}" in printed


def test_a_complete_class_of_which_not_all_images_are_known_is_accepted_unless_it_cannot_be_exact(folder, table):
    table["test"]["dog"] = Published(4, 3, "0" * 16)
    source = load_dataset("cifar10", data_dir=folder).source
    assert (source["original"], source["missing"]) == (True, {})
    assert source["copy"] == "exact pixels, 28 of 28; not compared: test/dog"
    assert any("test/dog could not be compared" in note for note in source["notes"])
    path = folder / "test" / "dog" / "0.png"
    path.unlink()
    Image.new("RGB", (32, 32)).save(path.with_suffix(".jpg"))
    with pytest.raises(InputError, match=r"1 of its 4 .* test/dog \(JPEG files: 1\)"):
        load_dataset("cifar10", data_dir=folder)


def test_the_table_has_every_class():
    published = {name: exact_copy.published(name) for name in ("cifar10", "cifar100")}
    assert [len(published[name][part]) for name in published for part in IMAGES] == [10, 10, 100, 100]
    for name, incomplete in (("cifar10", 97), ("cifar100", 0)):
        entries = [one for classes in published[name].values() for one in classes.values()]
        assert sum(one.images for one in entries) == 60_000
        assert sum(one.images - one.known for one in entries) == incomplete
        assert len({one.digest for one in entries}) == len(entries)


def test_the_table_is_written_from_a_folder(tmp_path):
    folder = write(tmp_path / "copy")
    (folder / "test" / "dog" / "0.png").unlink()
    exact_copy.write_table({"cifar10": folder}, tmp_path / "table.json")
    written = exact_copy.published("cifar10", tmp_path / "table.json")
    images, labels = arrays()["train"]
    expected = class_digests(image_digests(images), labels, CLASSES)["dog"]
    assert written["train"]["dog"] == Published(10, 10, expected.digest[:16])
    assert written["test"]["dog"][:2] == (4, 3)


@pytest.mark.network
@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_the_official_archive_has_the_pixels_of_the_table(name):
    dataset = load_dataset(name)
    pixels = dataset_digests(dataset)
    assert dataset.source["pixels_sha256"] == whole_digest(pixels)
    for part, classes in exact_copy.published(name).items():
        assert tuple(classes) == dataset.class_names
        for label, known in classes.items():
            images, digest = pixels[part][label]
            assert images == known.images
            assert known.known < known.images or digest[:16] == known.digest
