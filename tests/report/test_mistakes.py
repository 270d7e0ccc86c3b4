import numpy as np
import pytest
from PIL import Image

from kmodels import Experiment, InputError, run
from kmodels.records.predictions import read_predictions
from kmodels.report import write_report
from kmodels.report.mistakes import write_mistakes


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Red, green and blue pictures with a pattern; one red one is called blue, one picture is in train and test."""
    folder, rng = tmp_path_factory.mktemp("images"), np.random.RandomState(0)
    for split, images in (("train", 10), ("test", 6)):
        for channel, name in enumerate(("blue", "green", "red")):
            (folder / split / name).mkdir(parents=True)
            for i in range(images):
                pixels = rng.randint(0, 60, (5, 5, 3)).astype(np.uint8)
                wrong = (split, name, i) == ("test", "blue", 3)
                pixels[..., 0 if wrong else 2 - channel] += 190
                picture = Image.fromarray(pixels).resize((32, 32), Image.Resampling.BICUBIC)
                picture.save(folder / split / name / f"{i}.png")
    (folder / "test" / "green" / "5.png").write_bytes((folder / "train" / "green" / "2.png").read_bytes())
    return folder


@pytest.fixture(scope="module")
def trained(folder, tmp_path_factory):
    """(record, results folder)"""
    out = tmp_path_factory.mktemp("runs")
    experiment = Experiment(
        name="own/colours", dataset="folder", image_size=32, model="conv_net", epochs=15, batch_size=8, patience=None
    )
    return run(experiment, out=out, data_dir=folder, verbose=0), out


def test_the_surest_mistake_is_named_with_its_file(trained, folder):
    record, out = trained
    found = write_mistakes(record, out)
    test = read_predictions(out / f"{record.stem}.json")["test"]
    wrong = int((test.predicted != test.labels).sum())
    assert wrong >= 1
    assert f"test: {wrong} of 18 images are wrong" in found.text
    line = next(line for line in found.text.splitlines() if "test/blue/3.png" in line)
    assert line.split()[1:3] == ["red", "blue"]
    assert f"files are in {folder}" in found.text
    picture, tables = found.paths
    with Image.open(picture) as drawn:
        assert min(drawn.size) > 100
    assert tables.read_text().strip() == found.text


def test_wrong_labels_and_copies_in_two_splits_are_listed_apart(trained):
    record, out = trained
    labels, copies = write_mistakes(record, out, number=50).text.split("\n\nlabels ")[1].split("\n\nnear duplicates ")
    assert ["blue", "red", "test", "test/blue/3.png"] in [line.split()[1:] for line in labels.splitlines()]
    assert "test/green/5.png" in copies
    assert "train/green/2.png" in copies


def test_rows_are_limited_and_the_rest_is_counted(trained):
    record, out = trained
    everything = write_mistakes(record, out, split="val", number=50, check_data=False).text
    assert "near duplicates" not in everything
    with pytest.raises(InputError, match="number"):
        write_mistakes(record, out, number=0)
    with pytest.raises(InputError, match="split"):
        write_mistakes(record, out, split="train")


def test_the_page_has_mistakes_labels_and_copies(trained, folder):
    record, out = trained
    *_, page = write_report([record.experiment], out, data_dir=folder)
    html = page.read_text()
    assert "Which images are wrong" in html
    assert "near duplicates across splits: 1" in html
    assert "The surest mistakes" in html


def test_without_predictions_a_sentence_says_what_to_do(trained, tmp_path):
    record, out = trained
    alone = tmp_path / f"{record.stem}.json"
    alone.parent.mkdir(parents=True)
    alone.write_bytes((out / f"{record.stem}.json").read_bytes())
    with pytest.raises(InputError, match="--again"):
        write_mistakes(record, tmp_path)


def test_a_classifier_without_probabilities_lists_what_is_wrong(trained, folder):
    record, out = trained
    head = Experiment(
        name="own/svm", dataset="folder", image_size=32, model="conv_net", head="svm", init_from=record.experiment.name
    )
    svm = run(head, out=out, data_dir=folder, verbose=0)
    found = write_mistakes(svm, out)
    assert "images are wrong" in found.text
