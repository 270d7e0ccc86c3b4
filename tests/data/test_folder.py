"""Image folders: both layouts, and every mistake in them."""

import numpy as np
import pytest
from PIL import Image

from kmodels import InputError, load_dataset

CLASSES = ("cat", "dog")


def save(path, size=(8, 8), mode="RGB", value=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    channels = {"RGB": 3, "RGBA": 4, "L": 0}[mode]
    shape = (size[1], size[0], channels) if channels else (size[1], size[0])
    rng = np.random.default_rng(len(path.name))
    pixels = rng.integers(0, 256, shape, np.uint8) if value is None else np.full(shape, value, np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def split_folder(tmp_path):
    """train with ten images a class, test with four, all different; the grey value tells the class."""
    for split, number, value in (("train", 10, 0), ("test", 4, 50)):
        for label, name in enumerate(CLASSES):
            for i in range(number):
                save(tmp_path / "pets" / split / name / f"{i}.png", value=100 * label + value + i)
    return tmp_path / "pets"


def test_splits_of_the_folder_are_kept_and_val_is_a_fifth_of_train(split_folder):
    dataset = load_dataset("folder", data_dir=split_folder)
    assert dataset.class_names == CLASSES
    assert dataset.source["counts"] == {"train": 16, "val": 4, "test": 8}
    assert dataset.source["name"] == "pets"
    assert dataset.source["original"] is False
    assert dataset.source["formats"] == {"PNG": 28}
    for split in (dataset.train, dataset.val, dataset.test):
        assert split.images.dtype == np.uint8
        assert split.labels.dtype == np.int32
        assert np.array_equal(split.images[:, 0, 0, 0] >= 100, split.labels == 1)
    values = np.concatenate([dataset.train.images, dataset.val.images])[:, 0, 0, 0]
    assert len(set(values.tolist())) == 20


def test_a_val_folder_is_used_under_any_of_its_names(split_folder):
    for name in CLASSES:
        save(split_folder / "valid" / name / "one.png")
    assert load_dataset("folder", data_dir=split_folder).source["counts"] == {"train": 20, "val": 2, "test": 8}


def test_a_folder_of_classes_is_split_60_20_20(split_folder):
    dataset = load_dataset("folder", data_dir=split_folder / "train")
    assert dataset.source["counts"] == {"train": 12, "val": 4, "test": 4}


def test_a_new_file_makes_a_new_dataset(split_folder):
    before = load_dataset("folder", data_dir=split_folder).source["sha256"]
    assert load_dataset("folder", data_dir=split_folder).source["sha256"] == before
    save(split_folder / "train" / "cat" / "new.png")
    assert load_dataset("folder", data_dir=split_folder).source["sha256"] != before


def test_grey_and_transparent_images_become_rgb_and_are_counted_once(split_folder, capsys):
    save(split_folder / "train" / "cat" / "grey.png", mode="L")
    save(split_folder / "train" / "cat" / "grey2.png", mode="L")
    save(split_folder / "train" / "dog" / "clear.png", mode="RGBA")
    notes = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert notes == ["converted from L to RGB: 2", "converted from RGBA to RGB: 1"]
    assert capsys.readouterr().out.count("converted from L") == 1


def test_image_size_resizes_all_to_one_square_without_distortion(split_folder):
    wide = np.zeros((16, 48, 3), np.uint8)
    wide[:, 16:32] = 200
    Image.fromarray(wide).save(split_folder / "test" / "cat" / "wide.png")
    dataset = load_dataset("folder", image_size=16, data_dir=split_folder)
    assert dataset.image_shape == (16, 16, 3)
    # The middle third of the wide image fills the square; without cropping, its dark ends would show.
    assert dataset.test.images.min(axis=(1, 2, 3)).max() == 200
    assert dataset.source["notes"] == ["resized to cover 16x16 pixels and center-cropped: 29"]


def test_an_image_size_that_all_images_have_resizes_none(split_folder):
    assert load_dataset("folder", image_size=8, data_dir=split_folder).source["notes"] == []


def test_copies_in_different_splits_are_kept_and_reported_those_under_different_labels_first(split_folder):
    test, train = split_folder / "test", split_folder / "train"
    for name in ("x.png", "y.png"):
        save(test / "cat" / name, value=240)
    save(train / "cat" / "alike.png", value=240)
    # The same grey in another shape is another image; copies within a split are no leak.
    save(train / "cat" / "wide.png", size=(16, 4), value=240)
    save(train / "dog" / "x.png", value=241)
    save(train / "dog" / "y.png", value=241)
    save(split_folder / "val" / "cat" / "one.png", value=250)
    save(split_folder / "val" / "dog" / "one.png", value=251)
    save(test / "dog" / "other.png", value=250)
    dataset = load_dataset("folder", image_size=8, data_dir=split_folder)
    assert dataset.source["counts"] == {"train": 24, "val": 2, "test": 11}
    assert dataset.source["notes"][-1] == (
        "identical images in different splits: 2, with different labels: 1 "
        "(val/cat/one.png = test/dog/other.png; train/cat/alike.png = test/cat/y.png)"
    )


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda root: (root / "test" / "dog" / "0.png").write_bytes(b"no image"), r"cannot read .*0\.png"),
        (lambda root: save(root / "test" / "dog" / "z.png", size=(9, 8)), r"z\.png is 9x8.*image_size"),
        (
            lambda root: [path.unlink() for path in (root / "test" / "dog").iterdir()],
            r"dog has no image",
        ),
        (lambda root: save(root / "test" / "bird" / "b.png"), "different classes: bird"),
        (lambda root: (root / "test").rename(root / "val"), "no test"),
    ],
)
def test_what_is_wrong_with_the_folder_is_named(split_folder, spoil, message):
    spoil(split_folder)
    with pytest.raises(InputError, match=message):
        load_dataset("folder", data_dir=split_folder)


def test_a_truncated_jpeg_is_named(split_folder):
    path = split_folder / "train" / "cat" / "cut.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)).resize((8, 8)).save(path)
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(InputError, match=r"cannot read .*cut\.jpg"):
        load_dataset("folder", data_dir=split_folder)


def test_a_missing_folder_and_a_folder_of_one_class_are_refused(tmp_path, split_folder):
    with pytest.raises(InputError, match="must be a folder"):
        load_dataset("folder", data_dir=tmp_path / "none")
    with pytest.raises(InputError, match="needs data_dir"):
        load_dataset("folder")
    with pytest.raises(InputError, match=r"two class folders.*did you mean .*pets"):
        load_dataset("folder", data_dir=tmp_path)


def test_sixteen_bit_images_are_refused_rather_than_clipped(split_folder):
    deep = Image.fromarray(np.full((8, 8), 40_000, np.uint16))
    deep.save(split_folder / "train" / "cat" / "deep.png")
    with pytest.raises(InputError, match=r"deep\.png has more than 8 bits"):
        load_dataset("folder", data_dir=split_folder)


def test_the_orientation_that_a_camera_stores_is_applied(split_folder):
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    picture.paste((255, 255, 255), (0, 0, 8, 4))
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.save(split_folder / "test" / "cat" / "00.png", exif=exif)
    first = load_dataset("folder", data_dir=split_folder).test.images[1]
    assert first[:4].max() == 0
    assert first[4:].min() == 255


def test_what_is_left_out_is_counted(split_folder):
    (split_folder / "train" / "cat" / "notes.txt").write_text("")
    (split_folder / "train" / "cat" / ".hidden").write_text("")
    save(split_folder / "train" / "cat" / "inner" / "deep.png")
    (note,) = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert note == "files without an image extension, left out: 2"


def test_split_names_are_found_in_capitals_and_other_folders_are_named(split_folder):
    (split_folder / "test").rename(split_folder / "Test")
    (split_folder / "__MACOSX").mkdir()
    assert load_dataset("folder", data_dir=split_folder).source["counts"]["test"] == 8
    (split_folder / "unlabeled").mkdir()
    with pytest.raises(InputError, match="unlabeled, which is not a split"):
        load_dataset("folder", data_dir=split_folder)


def test_two_folders_for_one_split_are_refused(split_folder):
    for folder in ("val", "validation"):
        for name in CLASSES:
            save(split_folder / folder / name / "one.png")
    with pytest.raises(InputError, match="two folders for val"):
        load_dataset("folder", data_dir=split_folder)


def test_one_folder_is_prepared_once_however_it_is_named(split_folder, monkeypatch, capfd):
    first = load_dataset("folder", data_dir=split_folder)
    monkeypatch.chdir(split_folder.parent)
    capfd.readouterr()
    assert load_dataset("folder", data_dir=f"./{split_folder.name}").source == first.source
    assert "preparing" not in capfd.readouterr().err


def test_too_few_images_to_divide_are_refused(tmp_path):
    for name in CLASSES:
        save(tmp_path / name / "only.png")
    with pytest.raises(InputError, match=r"cat \(1\), dog \(1\).*at least 4"):
        load_dataset("folder", data_dir=tmp_path)
