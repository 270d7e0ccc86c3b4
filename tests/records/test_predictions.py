from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from kmodels import Experiment, InputError, run
from kmodels.data.dataset import Split, image_name
from kmodels.records.predictions import (
    images_folder,
    predictions_of,
    predictions_path,
    read_predictions,
    write_predictions,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Twelve images a class, dark and bright; one class has names that are no UTF-8."""
    folder = tmp_path_factory.mktemp("images")
    for label, name in enumerate(("dark", "bright")):
        (folder / name).mkdir()
        for i in range(12):
            shade = 60 + 120 * label + i
            Image.new("RGB", (16, 16), (shade, shade, shade)).save(folder / name / f"{i}\udcff.png")
    return folder


@pytest.fixture(scope="module")
def tried(folder, tmp_path_factory):
    """(record, path of its .json file) of a short training."""
    out = tmp_path_factory.mktemp("runs")
    experiment = Experiment(name="own/mlp", dataset="folder", image_size=16, model="mlp", epochs=1, batch_size=8)
    record = run(experiment, out=out, data_dir=folder, verbose=0)
    return record, out / f"{record.stem}.json"


def test_every_validation_and_test_image_is_kept_with_its_file(tried, folder):
    record, path = tried
    predictions = read_predictions(path)
    for split in ("val", "test"):
        kept, evaluation = predictions[split], getattr(record, split)
        assert len(kept.labels) == evaluation.examples
        assert np.mean(kept.predicted == kept.labels) == pytest.approx(evaluation.accuracy)
        assert (kept.probabilities.argmax(axis=1) == kept.predicted).all()
        assert kept.probabilities.sum(axis=1) == pytest.approx(1, abs=2e-3)
        assert kept.folder == str(folder)
        names = [record.class_names[label] for label in kept.labels]
        assert all((folder / image_name(kept, i)).parent.name == name for i, name in enumerate(names))
        assert all((folder / image_name(kept, i)).is_file() for i in range(len(names)))


def test_images_of_no_files_are_called_by_their_index(tmp_path):
    experiment = Experiment(name="own/mlp", dataset="synthetic", model="mlp", epochs=1, batch_size=8)
    record = run(experiment, out=tmp_path, verbose=0)
    kept = read_predictions(tmp_path / f"{record.stem}.json")["test"]
    assert kept.files is None
    assert image_name(kept, 0) == f"image {kept.index[0]}"


def test_outputs_that_are_not_finite_are_kept_as_a_wrong_class():
    split = Split(np.zeros((3, 8, 8, 3), np.uint8), np.array([0, 1, 1]), np.arange(3))
    kept = predictions_of(split, np.array([[np.nan, 0], [0, np.nan], [0, 1]]))
    assert kept.predicted.tolist() == [1, 0, 1]


def test_a_record_without_predictions_has_none(tried, folder, tmp_path):
    _, path = tried
    alone = tmp_path / path.name
    alone.write_bytes(path.read_bytes())
    assert read_predictions(alone) is None
    assert images_folder(alone) is None
    assert images_folder(path) == str(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and no zip file"])
def test_corrupt_predictions_are_refused(tried, tmp_path, content):
    _, path = tried
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    predictions_path(copy).write_bytes(content)
    with pytest.raises(InputError, match="corrupt"):
        read_predictions(copy)


@pytest.mark.parametrize(
    "change", [lambda p: replace(p, predicted=1 - p.predicted), lambda p: replace(p, index=p.index[1:])]
)
def test_predictions_of_another_run_are_refused(tried, tmp_path, change):
    _, path = tried
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    write_predictions(copy, {split: change(kept) for split, kept in read_predictions(path).items()})
    with pytest.raises(InputError, match="another run"):
        read_predictions(copy)
