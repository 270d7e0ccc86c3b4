"""Datasets attached to a Kaggle kernel: found by what is in them, in read-only folders of either layout."""

import zipfile

import numpy as np
import pytest
from PIL import Image

from kmodels import InputError, load_dataset
from kmodels.data import about, eurosat, intel_scenes
from kmodels.data.kaggle import find_attached

OWNED, PLAIN = "datasets/somebody/some-set", "some-set"


@pytest.fixture(params=[OWNED, PLAIN])
def attached(request, tmp_path, monkeypatch):
    """The folder of an attached dataset, beside another that has nothing to do with it."""
    root = tmp_path / "kaggle"
    monkeypatch.setenv("KAGGLE_INPUT", str(root))
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))
    other = root / "datasets" / "another" / "set" / "train" / "cat"
    other.mkdir(parents=True)
    (other / "1.png").touch()
    folder = root / request.param
    folder.mkdir(parents=True)
    yield folder
    folder.chmod(0o755)


def write_images(folder, names, images, size):
    rng = np.random.default_rng(0)
    for name in names:
        (folder / name).mkdir(parents=True)
        for i in range(images):
            Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)).save(folder / name / f"{i}.png")


def test_intel_scenes_are_read_without_data_dir_and_nothing_is_written_there(attached):
    for part, images in (("train", 4), ("test", 1)):
        write_images(attached / f"seg_{part}" / f"seg_{part}", intel_scenes.CLASSES, images, 16)
    write_images(attached / "seg_pred", ["seg_pred"], 3, 16)
    before = sorted(attached.rglob("*"))
    attached.chmod(0o555)
    dataset = load_dataset("intel_scenes", image_size=8)
    assert dataset.source["counts"] == {"train": 18, "val": 6, "test": 6}
    assert sorted(attached.rglob("*")) == before
    kinds = {place.what: place for place in about.places("intel_scenes")}
    assert kinds["attached on Kaggle"] == ("attached on Kaggle", str(attached), True)
    assert kinds["prepared"].exists


def test_eurosat_is_found_in_an_inner_folder(attached, monkeypatch):
    write_images(attached / "EuroSAT" / "2750", eurosat.CLASSES, 5, 64)
    assert load_dataset("eurosat", image_size=8).source["counts"] == {"train": 30, "val": 10, "test": 10}
    assert find_attached("eurosat_small") == attached / "EuroSAT" / "2750"


def test_archives_are_found_by_their_names(attached):
    assert find_attached("cifar10") is find_attached("stl10_5") is find_attached("eurosat") is None
    for name, file in (
        ("cifar10", "cifar-10-python.tar.gz"),
        ("cifar100", "cifar-100-binary.tar.gz"),
        ("stl10_5", "stl10_binary.tar.gz"),
    ):
        (attached / file).touch()
        assert find_attached(name) == attached / file
    with zipfile.ZipFile(attached / "EuroSAT.zip", "w"):
        pass
    assert find_attached("eurosat") == attached / "EuroSAT.zip"
    with pytest.raises(InputError, match=r"stl10_binary.tar.gz is damaged.*empty file"):
        load_dataset("stl10_5")


def test_png_copies_of_cifar_are_told_apart_by_their_classes(attached):
    from kmodels.data.exact_copy import published

    for part in ("train", "test"):
        for label in published("cifar10")["train"]:
            (attached / "cifar10" / part / label).mkdir(parents=True)
    assert find_attached("cifar10") == attached / "cifar10"
    assert find_attached("cifar100") is None
    with pytest.raises(InputError, match="some-set/cifar10"):
        load_dataset("cifar10")


def test_without_it_the_error_says_where_to_get_it(attached):
    with pytest.raises(InputError, match=r"intel_scenes.* kaggle in .*kaggle\.com/.* --data-dir|--data-dir"):
        load_dataset("intel_scenes")
