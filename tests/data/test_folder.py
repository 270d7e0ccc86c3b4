"""Image folders: both layouts, and every mistake in them."""

import io
import os
import shutil
import struct
import threading
import time
import zlib
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image, ImageFile

from kmodels import Experiment, InputError, load_dataset, run, run_seeds
from kmodels.data import folder as folder_module
from kmodels.data import image_files, pillow_reading
from kmodels.data.dataset import image_name
from kmodels.report.network_pictures import dataset_of

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


def test_records_are_not_written_among_the_images(split_folder):
    experiment = Experiment(name="pets/one", dataset="folder", model="mlp", epochs=1)
    for function, seeds in ((run, 0), (run_seeds, (0,))):
        with pytest.raises(InputError, match="inside the folder of images"):
            function(experiment, seeds, split_folder / "runs", data_dir=split_folder)
    assert not (split_folder / "runs").exists()


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
    assert notes[:2] == ["converted from L to RGB: 2", "converted from RGBA to RGB: 1"]
    assert capsys.readouterr().out.count("converted from L") == 1


def test_transparent_pixels_and_further_frames_are_counted(split_folder):
    cat = split_folder / "train" / "cat"
    for name, alpha in (("clear", 0), ("opaque", 255)):
        Image.new("RGBA", (8, 8), (1, 2, 3, alpha)).save(cat / f"{name}.png")
    for name, alphas in (("palette", [0, 255]), ("unused", [255, 0])):
        picture = Image.new("P", (8, 8), 0)
        picture.putpalette([9, 90, 200, 0, 0, 0])
        picture.save(cat / f"{name}.png", transparency=bytes(alphas))
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green")]
    for ending in ("gif", "webp", "tiff", "png"):
        frames[0].save(cat / f"several.{ending}", save_all=True, append_images=frames[1:])
    notes = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert "images with transparent pixels, read in the colours stored under them: 2" in notes
    assert "files of several frames or pages, of which the first is read: 4" in notes
    assert not any("Pillow warned" in note for note in notes)


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
            r"this folder has no image: .*test/dog\. Each class needs images in every split",
        ),
        (
            lambda root: [path.unlink() for path in root.glob("*/dog/*")],
            r"these folders have no image: .*test/dog, .*train/dog",
        ),
        (
            lambda root: [path.rename(path.with_suffix(".raw")) for path in root.glob("test/cat/*")],
            r"no image: .*cat\. Found 4 files that cannot be read here \(\.raw 4\); convert HEIC and RAW",
        ),
        (lambda root: (root / "test").rename(root / "holdout"), "split train, and also holdout"),
        (lambda root: save(root / "test" / "bird" / "b.png"), "the same classes; only in test: bird"),
        (lambda root: (root / "test").rename(root / "val"), "no test"),
    ],
)
def test_what_is_wrong_with_the_folder_is_named(split_folder, spoil, message):
    spoil(split_folder)
    with pytest.raises(InputError, match=message):
        load_dataset("folder", data_dir=split_folder)


def test_folders_without_images_may_mean_that_the_folder_is_the_wrong_one(split_folder):
    top = split_folder / "train"
    (top / "Downloads").mkdir()
    with pytest.raises(InputError, match=r"Downloads.* Is .*pets/train the right folder\?.* move it out of it"):
        load_dataset("folder", data_dir=top)
    (top / "Music").mkdir()
    with pytest.raises(InputError, match=r"Downloads, .*Music.* move them out of it"):
        load_dataset("folder", data_dir=top)


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
    with pytest.raises(InputError, match=r"deep\.png: it has more than 8 bits"):
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
    (split_folder / "train" / "cat" / "inner").mkdir()
    (split_folder / "train" / "cat" / "inner" / "more.txt").write_text("")
    (note,) = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert note == "left out: 2 files that cannot be read here (.txt 2)"
    for name in ("a.HEIC", "b.heic", "c.mov", "d"):
        (split_folder / "train" / "cat" / name).write_text("")
    save(split_folder / "train" / "cat" / "new.png")
    (note,) = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert note.startswith("left out: 6 files that cannot be read here (")
    assert all(kind in note for kind in (".txt 2", ".heic 2", ".mov 1", "no extension 1"))
    assert note.endswith("); convert HEIC and RAW to JPEG first")


def test_images_beside_the_class_folders_are_counted_and_a_folder_of_images_only_is_refused(split_folder, tmp_path):
    for path in ("train/loose.png", "train/.hidden.png", "top.png"):
        save(split_folder / path)
    (split_folder / "train" / "labels.csv").touch()
    notes = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert "images beside the class folders, left out: 2 (top.png, train/loose.png)" in notes
    for number in range(2):
        save(tmp_path / "flat" / f"{number}.png")
        lie = ("1 image lies", "2 images lie")[number]
        with pytest.raises(InputError, match=f"Found: none; {lie} directly in it: put the images into one folder for"):
            load_dataset("folder", data_dir=tmp_path / "flat")


def test_one_image_under_two_labels_in_one_split_is_reported(split_folder):
    for name in ("cat", "dog"):
        save(split_folder / "test" / name / "same.png", value=250)
    for copy in ("x", "y"):
        save(split_folder / "test" / "dog" / f"{copy}.png", value=251)
    notes = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert notes == ["identical images in one split with different labels: 1 (test/cat/same.png = test/dog/same.png)"]


def test_classes_with_nearly_the_same_name_are_reported(split_folder):
    shutil.copytree(split_folder / "train" / "cat", split_folder / "train" / "old_Cat")
    shutil.copytree(split_folder / "train" / "dog", split_folder / "train" / "Old cat")
    notes = load_dataset("folder", data_dir=split_folder / "train").source["notes"]
    assert notes[0] == "classes with nearly the same name: 'Old cat' and 'old_Cat'"


def test_classes_with_other_numbers_in_their_names_are_not_reported(split_folder):
    for name in ("1-1", "11"):
        shutil.copytree(split_folder / "train" / "cat", split_folder / "train" / name)
    notes = load_dataset("folder", data_dir=split_folder / "train").source["notes"]
    assert not any("nearly the same name" in note for note in notes)


def test_a_class_may_have_underscores_and_hidden_folders_with_images_are_named(tmp_path):
    for folder in ("cat", "__other__", ".rejected", "cat/.small", "__MACOSX", ".empty"):
        (tmp_path / folder).mkdir()
        for i in range(0 if folder == ".empty" else 6):
            Image.new("RGB", (8, 8), (i, len(folder), 0)).save(tmp_path / folder / f"{i}.png")
    for file in (tmp_path / "__MACOSX").iterdir():
        file.rename(file.with_name(f"._{file.name}"))
    dataset = load_dataset("folder", data_dir=tmp_path)
    assert dataset.class_names == ("__other__", "cat")
    assert dataset.source["notes"] == ["hidden folders with images, left out: 2 (.rejected, cat/.small)"]


def test_split_names_are_found_in_capitals_and_other_folders_are_named(split_folder):
    (split_folder / "test").rename(split_folder / "Test")
    (split_folder / "__MACOSX").mkdir()
    assert load_dataset("folder", data_dir=split_folder).source["counts"]["test"] == 8
    (split_folder / "others").mkdir()
    with pytest.raises(InputError, match="others, which is not a split"):
        load_dataset("folder", data_dir=split_folder)


def test_two_folders_for_one_split_are_refused(split_folder):
    for folder in ("val", "validation"):
        for name in CLASSES:
            save(split_folder / folder / name / "one.png")
    with pytest.raises(InputError, match="two folders for val"):
        load_dataset("folder", data_dir=split_folder)


def test_one_folder_is_prepared_once_however_it_is_named(split_folder, monkeypatch):
    first = load_dataset("folder", data_dir=split_folder)
    monkeypatch.chdir(split_folder.parent)
    monkeypatch.setattr(folder_module, "write_images", None)
    assert load_dataset("folder", data_dir=f"./{split_folder.name}").source == first.source


@pytest.mark.parametrize("number", [1, 3])
def test_too_few_images_to_divide_are_refused_with_the_number_that_would_do(tmp_path, number):
    for name in CLASSES:
        for i in range(number):
            save(tmp_path / name / f"{i}.png")
    with pytest.raises(InputError, match=rf"cat \({number}\), dog \({number}\).*at least 4"):
        load_dataset("folder", data_dir=tmp_path)


def cut(path):
    """Saves a JPEG without its end."""
    noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), np.uint8)
    Image.fromarray(noise).save(path, format="JPEG")
    path.write_bytes(path.read_bytes()[:-60])


def test_all_unreadable_images_are_named_at_once_and_may_be_left_out(split_folder, capsys):
    whole = load_dataset("folder", data_dir=split_folder)
    names = [f"train/cat/{i}.jpg" for i in range(6)] + ["test/dog/0.png"]
    for name in names:
        cut(split_folder / name)
    with pytest.raises(InputError, match=r"cannot read 7 of 34 images: .*\.jpg: Truncated.* and 2 more.*skip_unr"):
        load_dataset("folder", data_dir=split_folder)
    capsys.readouterr()
    dataset = load_dataset("folder", data_dir=split_folder, skip_unreadable=True)
    assert len(dataset.train) + len(dataset.val) == 20
    assert len(dataset.test) == 7
    assert dataset.source["unreadable"] == 7
    (note,) = dataset.source["notes"]
    assert note.startswith("unreadable images, left out: 7 (train/cat/")
    assert note in capsys.readouterr().out
    pixels, labels = dataset.test.images[:, 0, 0, 0], dataset.test.labels
    assert np.array_equal(pixels, np.delete(whole.test.images[:, 0, 0, 0], 4))
    assert np.array_equal(labels, np.delete(whole.test.labels, 4))
    assert np.array_equal(dataset.test.index, np.delete(whole.test.index, 4))


def test_a_broken_link_is_an_image_that_cannot_be_read(split_folder):
    link = split_folder / "train" / "cat" / "link.png"
    link.symlink_to(split_folder / "later.png")
    with pytest.raises(InputError, match=r"cannot read the image .*link\.png: No such file"):
        load_dataset("folder", data_dir=split_folder)
    broken = load_dataset("folder", data_dir=split_folder, skip_unreadable=True)
    assert broken.source["unreadable"] == 1
    save(split_folder / "later.png")
    assert load_dataset("folder", data_dir=split_folder, skip_unreadable=True).source["unreadable"] == 0


def test_an_overwritten_file_of_many_is_seen_and_of_very_many_a_note_tells(split_folder, monkeypatch):
    for i in range(5200):
        os.link(split_folder / "train" / "cat" / "1.png", split_folder / "train" / "cat" / f"more{i}.png")
    first = load_dataset("folder", data_dir=split_folder)
    changed = split_folder / "train" / "dog" / "3.png"
    content = io.BytesIO()
    Image.new("RGB", (8, 8), (1, 2, 3)).save(content, "PNG")
    changed.write_bytes(content.getvalue())
    second = load_dataset("folder", data_dir=split_folder)
    assert second.source["sha256"] != first.source["sha256"]
    assert not any("checked for changes" in note for note in second.source["notes"])
    monkeypatch.setattr("kmodels.data.folder.FINGERPRINT_FILES", 5000)
    changed.touch()
    notes = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert any("5,000 files not all are checked" in note for note in notes)


def test_without_unreadable_images_nothing_is_left_out_and_other_datasets_do_not_skip(split_folder):
    strict = load_dataset("folder", data_dir=split_folder)
    skipping = load_dataset("folder", data_dir=split_folder, skip_unreadable=True)
    assert skipping.source == {**strict.source, "unreadable": 0}
    with pytest.raises(InputError, match="skip_unreadable"):
        load_dataset("digits", skip_unreadable=True)


def test_a_split_keeps_an_image_of_each_class(split_folder):
    for path in (split_folder / "test" / "dog").iterdir():
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"no image of test in .*dog can be read"):
        load_dataset("folder", data_dir=split_folder, skip_unreadable=True)


def test_a_run_leaves_unreadable_images_out_and_its_pictures_too(split_folder, tiny, tmp_path):
    (split_folder / "train" / "cat" / "0.png").write_bytes(b"no image")
    experiment = replace(tiny, dataset="folder", epochs=1, batch_size=8)
    with pytest.raises(InputError, match=r"cannot read the image .*0\.png: not an image"):
        run(experiment, 0, tmp_path, data_dir=split_folder, verbose=0)
    record = run(experiment, 0, tmp_path, data_dir=split_folder, skip_unreadable=True, verbose=0)
    assert record.source["unreadable"] == 1
    assert dataset_of(record, split_folder).source == record.source


def test_images_in_folders_inside_class_folders_are_read_and_counted(split_folder):
    save(split_folder / "train" / "cat" / "more" / "2020" / "x.png", value=201)
    save(split_folder / "train" / "cat" / ".hidden" / "x.png")
    (split_folder / "train" / "cat" / "more" / "loop").symlink_to(split_folder / "train" / "cat")
    first = load_dataset("folder", data_dir=split_folder)
    assert first.source["counts"]["train"] == 17
    assert first.source["notes"] == [
        "hidden folders with images, left out: 1 (train/cat/.hidden)",
        "images in folders inside class folders, read as of that class: 1 (train/cat/more/2020)",
    ]
    save(split_folder / "train" / "cat" / "more" / "2020" / "x.png", value=202)
    assert load_dataset("folder", data_dir=split_folder).source["sha256"] != first.source["sha256"]


@pytest.mark.parametrize(
    ("train", "test"),
    [("Training", "Testing"), ("seg_train/seg_train", "seg_test/seg_test"), ("training_set", "TEST")],
)
def test_splits_are_known_by_their_usual_names_in_any_case(split_folder, train, test):
    expected = load_dataset("folder", data_dir=split_folder)
    for name, path in (("train", train), ("test", test)):
        (split_folder / name).rename(split_folder / "moved")
        (split_folder / path).parent.mkdir(exist_ok=True)
        (split_folder / "moved").rename(split_folder / path)
    save(split_folder / "seg_pred" / "unknown.png")
    dataset = load_dataset("folder", data_dir=split_folder)
    assert dataset.source["sha256"] == expected.source["sha256"]
    assert dataset.source["notes"] == ["folder without labels, left out: seg_pred"]


def test_splits_inside_class_folders_are_refused_and_others_are_questioned(split_folder, tmp_path):
    for split in ("train", "test"):
        for name in CLASSES:
            (tmp_path / "turned" / name).mkdir(parents=True, exist_ok=True)
            (split_folder / split / name).rename(tmp_path / "turned" / name / split)
    with pytest.raises(InputError, match=r"cat has folders for splits: test, train.*test/cat"):
        load_dataset("folder", data_dir=tmp_path / "turned")
    for name in CLASSES:
        (tmp_path / "turned" / name / "train").rename(tmp_path / "turned" / name / "day")
        (tmp_path / "turned" / name / "test").rename(tmp_path / "turned" / name / "night")
    notes = load_dataset("folder", data_dir=tmp_path / "turned").source["notes"]
    assert notes[0].startswith("classes are cat, dog; each has the folders day, night.")


@pytest.mark.parametrize("ending", [".avif", ".mpo", ".jp2", ".tga", ".JPE"])
def test_every_format_of_photographs_that_pillow_reads_is_an_image(split_folder, ending):
    Image.init()
    if ending.lower() not in Image.registered_extensions():
        pytest.skip(f"this Pillow knows no {ending}")
    for i, path in enumerate(sorted((split_folder / "test" / "cat").iterdir())):
        Image.new("RGB", (8, 8), (0, 50 * i, 9)).save(path.with_suffix(ending))
        path.unlink()
    assert load_dataset("folder", data_dir=split_folder).source["counts"]["test"] == 8


def test_a_file_that_would_start_another_program_is_not_opened(split_folder):
    (split_folder / "test" / "cat" / "0.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n")
    with pytest.raises(InputError, match="not an image format"):
        load_dataset("folder", data_dir=split_folder)


def deep_png(path):
    """A PNG of 16 bits a channel, which Pillow cannot write."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = (b"\0" + b"\x12\x34" * 3 * 8) * 8
    header = struct.pack(">IIBBBBB", 8, 8, 16, 2, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )


def deep_ppm(path):
    path.write_bytes(b"P6 8 8 65535\n" + b"\x12\x34" * 3 * 64)


def deep_plain_ppm(path):
    path.with_name("deep.ppm").write_text("P3 8 8 65535\n" + "4660 " * 192)


def deep_jp2(path):
    """A JPEG 2000 file that says that its channels have 16 bits."""
    Image.new("RGB", (8, 8), (0x12,) * 3).save(path)
    content = bytearray(path.read_bytes())
    bits = content.index(b"\xff\x4f\xff\x51") + 42
    assert content[bits] == 7
    content[bits] = 15
    path.write_bytes(content)


def deep_avif(path):
    """An AVIF file that says, in its boxes for readers and for the decoder, that its channels have 10 bits."""
    Image.new("RGB", (8, 8), (0x12,) * 3).save(path)
    content = bytearray(path.read_bytes())
    bits = content.index(b"pixi") + 9
    assert content[bits : bits + 3] == b"\x08\x08\x08"
    content[bits : bits + 3] = b"\x0a\x0a\x0a"
    content[content.index(b"av1C") + 6] |= 0x40
    path.write_bytes(content)


def deep_tiff(path):
    """An uncompressed TIFF of 16 bits a channel, which Pillow cannot write."""
    fields = [(256, 3, 1, 8), (257, 3, 1, 8), (258, 3, 3, 122), (259, 3, 1, 1), (262, 3, 1, 2), (273, 4, 1, 128)]
    fields += [(277, 3, 1, 3), (278, 3, 1, 8), (279, 4, 1, 384)]
    packed = b"".join(struct.pack("<HHII", *entry) for entry in fields)
    start = b"II*\0" + struct.pack("<IH", 8, len(fields))
    path.write_bytes(start + packed + struct.pack("<IHHH", 0, 16, 16, 16) + b"\x34\x12" * 192)


@pytest.mark.parametrize("write", [deep_png, deep_ppm, deep_plain_ppm, deep_tiff, deep_jp2, deep_avif])
def test_colour_images_of_sixteen_bits_are_refused_as_grey_ones_are(split_folder, write):
    path = split_folder / "train" / "cat" / f"deep.{write.__name__.removeprefix('deep_')}"
    write(path)
    with pytest.raises(InputError, match=r"deep\.\w+: it has more than 8 bits"):
        load_dataset("folder", data_dir=split_folder)


@pytest.mark.parametrize("limit", [40, 20])
def test_too_many_pixels_are_refused_before_they_are_decoded(split_folder, monkeypatch, limit):
    # Pillow warns from its limit on, and refuses from twice that on.
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    with pytest.raises(InputError, match=rf"28 of 28 .*64 pixels, and at most {limit} are decoded"):
        load_dataset("folder", data_dir=split_folder)


def test_what_pillow_warns_of_is_a_note(split_folder, capfd):
    Image.new("RGB", (8, 8), (1, 2, 3)).save(split_folder / "test" / "cat" / "0.png", exif=b"II*\0\x08\0\0\0\x05\0")
    (note,) = load_dataset("folder", data_dir=split_folder).source["notes"]
    assert note.startswith("Pillow warned: Corrupt EXIF data")
    assert "Warning" not in capfd.readouterr().err


def test_many_large_images_are_not_decoded_at_once(split_folder, monkeypatch):
    open_at_once, most = [], []

    def convert(image):
        open_at_once.append(image)
        most.append(len(open_at_once))
        time.sleep(0.005)
        open_at_once.pop()
        return bytes(8 * 8 * 3)

    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(image_files, "BLOCK", 1)
    monkeypatch.setattr(Image.Image, "tobytes", convert)
    monkeypatch.setattr(pillow_reading, "_pixels_memory", pillow_reading._Memory(2 * 8 * 8 * 10))
    load_dataset("folder", data_dir=split_folder)
    assert max(most) == 2


def test_an_interrupt_does_not_wait_for_all_images_at_work(split_folder, monkeypatch):
    decoded, begun = [], threading.Event()

    def convert(image):
        decoded.append(image)
        begun.set()
        time.sleep(0.05)
        return bytes(8 * 8 * 3)

    def interrupted(pool, function, starts):
        pool.submit(function, 0)
        begun.wait()
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(Image.Image, "tobytes", convert)
    monkeypatch.setattr(image_files.ThreadPoolExecutor, "map", interrupted)
    with pytest.raises(KeyboardInterrupt):
        load_dataset("folder", data_dir=split_folder)
    assert 1 <= len(decoded) < 5


def test_a_file_that_is_too_large_is_refused_before_it_is_read(split_folder, monkeypatch):
    monkeypatch.setattr(pillow_reading, "MAX_FILE_BYTES", 1000)
    (split_folder / "test" / "cat" / "0.png").write_bytes(bytes(1001))
    with pytest.raises(InputError, match=r"0\.png: it has 1,001 bytes, and at most 1,000 are read"):
        load_dataset("folder", data_dir=split_folder)


def test_a_pipe_is_not_waited_for(split_folder):
    os.mkfifo(split_folder / "test" / "cat" / "00.png")
    with pytest.raises(InputError, match=r"00\.png: not a file"):
        load_dataset("folder", data_dir=split_folder)


@pytest.mark.parametrize("name", ["a\nb", "\x1b[31mred", "\u202eevil", "\udcff"])
def test_names_of_any_kind_stay_on_their_line(split_folder, name, capsys):
    (split_folder / "train" / "cat" / f"{name}.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="cannot read the image") as refused:
        load_dataset("folder", data_dir=split_folder)
    assert str(refused.value).isprintable()
    dataset = load_dataset("folder", data_dir=split_folder, skip_unreadable=True)
    assert all(note.isprintable() for note in dataset.source["notes"])
    assert all(line.isprintable() for line in capsys.readouterr().out.splitlines())


@pytest.fixture
def series(tmp_path):
    """Twelve series of one to five pictures a class, named by class and series, and one picture without a number."""
    shade = 0
    for name in CLASSES:
        for number in range(12):
            for i in range(1 + number % 5):
                save(tmp_path / "series" / name / f"{name}{number}_{i}.png", value=shade)
                shade += 1
        save(tmp_path / "series" / name / "alone.png", value=shade)
        shade += 1
    return tmp_path / "series"


def names(dataset, split):
    part = getattr(dataset, split)
    return [image_name(part, i) for i in range(len(part))]


@pytest.mark.parametrize("pattern", [r"^[a-z]+\d+", r"(\w+\d+)_", r"^(.+)_\d+\.png$"])
def test_images_of_a_group_stay_in_one_split(series, pattern):
    dataset = load_dataset("folder", data_dir=series, group_by=pattern)
    split_of = {}
    for split in ("train", "val", "test"):
        labels = getattr(dataset, split).labels
        assert set(labels) == {0, 1}
        for name in names(dataset, split):
            group = name.rsplit("_", 1)[0]
            assert split_of.setdefault(group, split) == split
    total = sum(dataset.source["counts"].values())
    assert total == 2 * (sum(1 + number % 5 for number in range(12)) + 1)
    assert dataset.source["counts"]["train"] == pytest.approx(0.6 * total, abs=0.12 * total)
    assert any("24, the largest" in note for note in dataset.source["notes"])
    assert pattern.replace("\\", "\\\\") in dataset.source["split"]
    assert load_dataset("folder", data_dir=series).source["sha256"] != dataset.source["sha256"]


def test_groups_of_a_given_train_stay_together_and_those_in_test_too_are_named(split_folder):
    dataset = load_dataset("folder", data_dir=split_folder, group_by=r"\d")
    assert not {name[-5] for name in names(dataset, "train")} & {name[-5] for name in names(dataset, "val")}
    assert any("in train and in test: 4 (0, 1, 2, 3)" in note for note in dataset.source["notes"])


@pytest.mark.parametrize(
    ("pattern", "key"), [("[", "regular expression"), ("nothing", "pattern"), (r"cat|dog", "too few groups")]
)
def test_patterns_that_cannot_divide_are_refused(series, pattern, key):
    with pytest.raises(InputError, match=key):
        load_dataset("folder", data_dir=series, group_by=pattern)


def test_groups_are_of_folders_only():
    with pytest.raises(InputError, match="group_by"):
        load_dataset("digits", group_by="a")
    with pytest.raises(InputError, match="group_by"):
        Experiment(name="own/a", dataset="digits", model="mlp", group_by="a")


def test_a_record_finds_its_groups_again(series, tmp_path):
    experiment = Experiment(name="own/a", dataset="folder", model="mlp", group_by=r"(\w+\d+)_", epochs=1, batch_size=8)
    record = run(experiment, out=tmp_path / "out", data_dir=series, verbose=0)
    assert dataset_of(record, series).source["sha256"] == record.source["sha256"]
