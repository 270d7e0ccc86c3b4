"""Intel Image Classification from Kaggle's zip file and from every layout of its folders, with tiny files."""

import itertools
import shutil
import zipfile

import numpy as np
import pytest
from PIL import Image

from kmodels import InputError, load_dataset
from kmodels.data import intel_scenes
from kmodels.data.intel_scenes import CLASSES


@pytest.fixture
def kaggle(tmp_path):
    """Kaggle's layout: four images a class to train and one to test, each in another colour; one unlabelled."""
    root = tmp_path / "kaggle"
    colours = itertools.count(1)
    for part, numbers in (("train", (2, 10, 300, 4)), ("test", (20,))):
        for name, number in itertools.product(CLASSES, numbers):
            folder = root / f"seg_{part}" / f"seg_{part}" / name
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (150, 150), (next(colours), 7, 9)).save(folder / f"{number}.png")
    (root / "seg_pred" / "seg_pred").mkdir(parents=True)
    Image.new("RGB", (150, 150)).save(root / "seg_pred" / "seg_pred" / "5.png")
    return root


def load(data_dir, image_size=None):
    return load_dataset("intel_scenes", image_size, data_dir)


def zipped(folder, path):
    """A zip of the folder's content, in an order that is not sorted."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png"), reverse=True):
            archive.write(file, file.relative_to(folder))
    return path


def single_level(root):
    for part in ("seg_train", "seg_test"):
        (root / part / part).rename(root / "moved")
        (root / part).rmdir()
        (root / "moved").rename(root / part)
    return root


def plain(root):
    single_level(root)
    shutil.rmtree(root / "seg_pred")
    (root / "seg_train").rename(root / "train")
    (root / "seg_test").rename(root / "Test")
    return root


def wrapped(root):
    (root.parent / "outer").mkdir()
    root.rename(root.parent / "outer" / "archive")
    return root.parent / "outer"


def zip_of_a_wrapped_folder(root):
    return zipped(wrapped(root), root.parent / "mine.zip")


def folder_with_the_zip(root):
    downloads = root.parent / "downloads"
    (downloads / "other things").mkdir(parents=True)
    zipped(root, downloads / "archive.zip")
    return downloads


def test_all_labelled_images_are_merged_and_split_60_20_20(kaggle):
    dataset = load(kaggle)
    assert dataset.class_names == CLASSES
    assert dataset.image_shape == (150, 150, 3)
    assert dataset.source["name"] == "intel_scenes"
    assert dataset.source["counts"] == {"train": 18, "val": 6, "test": 6}
    index = np.concatenate([dataset.train.index, dataset.val.index, dataset.test.index])
    assert np.array_equal(np.sort(index), np.arange(30))
    # Test comes before train, then the classes, then the names in text order: 10.png before 2.png.
    order = [*range(25, 31), *(4 * label + colour for label in range(6) for colour in (2, 1, 3, 4))]
    for split in (dataset.train, dataset.val, dataset.test):
        for image, label, i in zip(split.images, split.labels, split.index, strict=True):
            assert image[0, 0].tolist() == [order[i], 7, 9]
            assert label == (i if i < 6 else (i - 6) // 4)


@pytest.mark.parametrize(
    "layout", [single_level, plain, wrapped, zip_of_a_wrapped_folder, folder_with_the_zip], ids=lambda f: f.__name__
)
def test_the_split_does_not_depend_on_the_layout(kaggle, layout):
    expected = load(kaggle).source
    source = load(layout(kaggle)).source
    assert source == expected


def test_a_zip_that_has_been_read_opens_again_without_preparing(kaggle, tmp_path, monkeypatch):
    path = zipped(kaggle, tmp_path / "archive.zip")
    first = load(path)
    monkeypatch.setattr(intel_scenes, "write_images", None)
    assert load(path).source == first.source


def test_the_six_class_folders_are_enough(kaggle):
    assert load(kaggle / "seg_train" / "seg_train").source["counts"] == {"train": 12, "val": 6, "test": 6}


def test_it_is_the_original_when_all_images_are_there_in_their_size(kaggle, monkeypatch):
    source = load(kaggle).source
    assert source["original"] is False
    assert source["notes"] == ["not the original set: 30 of its 17,034 labelled images, mostly 150x150 pixels"]
    monkeypatch.setattr(intel_scenes, "IMAGES", 30)
    assert load(kaggle, 40).source["original"] is False, "the original images are JPEG"
    for file in kaggle.rglob("*.png"):
        Image.open(file).save(file.with_suffix(".jpg"), quality=100, subsampling=0)
        file.unlink()
    source = load(kaggle, 32).source
    assert source["original"] is True
    assert source["notes"][0] == "resized to cover 32x32 pixels and center-cropped: 30"


def test_images_of_another_size_are_resized_and_make_it_another_set(kaggle, monkeypatch):
    monkeypatch.setattr(intel_scenes, "IMAGES", 30)
    for file in list(kaggle.rglob("seg_train/sea/*.png"))[:2]:
        Image.new("RGB", (113, 150), (200, 0, 0)).save(file)
    dataset = load(kaggle)
    assert dataset.image_shape == (150, 150, 3)
    assert dataset.source["original"] is False
    assert "not the original set: 30 of its 30 labelled images, mostly 150x150 pixels" in dataset.source["notes"]
    assert "resized to cover 150x150 pixels and center-cropped: 2" in dataset.source["notes"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda train: (train / "sea").rename(train / "Sea"),
            r"missing: sea; unexpected: Sea",
        ),
        (lambda train: (train / "bird").mkdir(), r": unexpected: bird\."),
        (lambda train: shutil.rmtree(train), r"missing: buildings, forest, glacier, mountain, sea, street"),
        (
            lambda train: (train.parents[1] / "val").mkdir(),
            r"seg_test, seg_train, val, but",
        ),
        (lambda train: (train.parents[1] / "train").mkdir(), r"seg_test, seg_train, train, but"),
        (lambda train: [file.unlink() for file in (train / "sea").iterdir()], r"no image: .*sea"),
        (lambda train: (train / "sea" / "2.png").write_bytes(b"?"), r"cannot read .*sea/2\.png"),
    ],
)
def test_what_is_wrong_with_the_folder_is_named(kaggle, spoil, message):
    spoil(kaggle / "seg_train" / "seg_train")
    with pytest.raises(InputError, match=message):
        load(kaggle)


def test_another_folder_a_missing_one_and_several_zips_are_refused(kaggle, tmp_path):
    (tmp_path / "pets" / "cat").mkdir(parents=True)
    (tmp_path / "pets" / "dog").mkdir()
    with pytest.raises(InputError, match=r"unexpected: cat, dog.* dataset 'folder'"):
        load(tmp_path / "pets")
    with pytest.raises(InputError, match=r"data_dir .* exists"):
        load(tmp_path / "none")
    for name in ("a.zip", "b.zip"):
        zipped(kaggle, tmp_path / "pets" / name)
    with pytest.raises(InputError, match=r"several zip files: a\.zip, b\.zip"):
        load(tmp_path / "pets")


def test_a_broken_image_in_a_zip_is_named(kaggle, tmp_path):
    (kaggle / "seg_test" / "seg_test" / "sea" / "20.png").write_bytes(b"no image")
    path = zipped(kaggle, tmp_path / "archive.zip")
    with pytest.raises(InputError, match=r"cannot read .*archive\.zip/seg_test/seg_test/sea/20\.png"):
        load(path)


def test_copies_in_different_splits_are_reported_with_paths_from_the_top(kaggle):
    for file in kaggle.rglob("sea/*.png"):
        Image.new("RGB", (150, 150), (255, 0, 0)).save(file)
    *_, note = load(kaggle).source["notes"]
    assert note.startswith("identical images in different splits: 1, with different labels: 0 (seg_t")
    assert note.count(" = ") == 2
