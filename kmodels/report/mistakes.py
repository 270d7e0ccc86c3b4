"""What a network gets wrong, image by image; and images whose labels, or whose copies, a person should look at."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from kmodels import plots
from kmodels.analysis import cam_layers, embed, grad_cam
from kmodels.analysis.data_problems import label_issues, near_duplicates
from kmodels.data.cache import SPLITS
from kmodels.data.dataset import image_name
from kmodels.errors import InputError, require
from kmodels.files import write_atomically
from kmodels.plots.style import label as shown
from kmodels.records.descriptions import percent
from kmodels.records.predictions import KEPT, read_predictions
from kmodels.report.network_pictures import EMBEDDING, dataset_of, load_trained
from kmodels.report.pictures import picture_path, save
from kmodels.text import aligned, printable

# Of more mistakes, the picture shows the surest.
PICTURED = 24
# In each table on a page.
ROWS = 20


class Mistakes(NamedTuple):
    """What `write_mistakes` found.

    Attributes:
        text: tables for a terminal.
        paths: of the picture and of the file with the text.
    """

    text: str
    paths: tuple[Path, ...]


def write_mistakes(record, out, data_dir=None, split="test", number=ROWS, check_data=True):
    """Finds the surest mistakes of a run, labels that may be wrong, and near duplicates across splits.

    It writes a picture of the mistakes with their Grad-CAM, and a text file with the tables, beside the record.

    Args:
        record: a completed Record, with its predictions and its network beside it. Of a head without a network there is
            no Grad-CAM, and nothing on labels.
        out: the results folder.
        data_dir: where the dataset's files are; None: where they were during the run.
        split: "test" or "val": of which the mistakes are.
        number: how many rows of each table.
        check_data: whether to look for wrong labels and near duplicates, which takes one pass of the network over all
            images.

    Returns:
        The Mistakes.

    Raises:
        InputError: if there are no predictions, or the data are not those that the record was measured on.
    """
    require(split in KEPT, f"split must be {' or '.join(KEPT)}", split)
    require(number >= 1, "number must be at least 1", number)
    path = Path(out) / f"{record.stem}.json"
    predictions = read_predictions(path)
    if predictions is None:
        raise InputError(
            f"the predictions of each image are not beside {path}; run the experiment again with --again (again=True)"
        )
    data_dir = data_dir or predictions[split].folder
    network = Path(out) / f"{record.stem}.keras"
    trained = load_trained(record, out, data_dir) if network.is_file() else None
    dataset = trained.dataset if trained else dataset_of(record, data_dir)
    wrong = _surest(predictions[split])
    # Those of the page keep their name for themselves.
    name = "mistakes" if split == "test" else f"mistakes_{split}"
    paths = []
    if len(wrong):
        of_split = predictions[split], getattr(dataset, split)
        figure = _picture(record, *of_split, wrong[:PICTURED], trained)
        paths.append(save(figure, picture_path(record, out, name)))
    parts = [_mistakes_table(record, split, predictions[split], wrong, number)]
    if check_data and trained and EMBEDDING in [layer.name for layer in trained.network.layers]:
        parts.append(_labels_table(record, dataset, trained, number))
    if check_data:
        parts.append(_duplicates_table(record, dataset, number))
    if folder := predictions[split].folder:
        parts.append(f"files are in {printable(folder)}")
    text = "\n\n".join(parts)
    tables = tables_path(record, out, name if number == ROWS else f"{name}_{number}")
    paths.append(write_atomically(tables, f"{text}\n"))
    return Mistakes(text, tuple(paths))


def tables_path(record, out, name="mistakes"):
    """The file in which `write_mistakes` leaves its tables.

    Args:
        record: a Record.
        out: the results folder.
        name: of the tables; "mistakes" are those on the page.
    """
    return Path(out) / f"{record.stem}_{name}.txt"


def _surest(predictions):
    """Indices of the images that are wrong, the surest first; without probabilities, in their order."""
    wrong = np.flatnonzero(predictions.predicted != predictions.labels)
    if predictions.probabilities is None:
        return wrong
    return wrong[np.argsort(-predictions.probabilities[wrong].max(axis=1), kind="stable")]


def _picture(record, predictions, split, wrong, trained):
    images = np.asarray(split.images[wrong])
    maps = None
    if trained and cam_layers(trained.network):
        maps = grad_cam(trained.logits, images, classes=predictions.predicted[wrong])
    titles = []
    for i in wrong:
        guess, truth = (
            shown(record.class_names[label], 18) for label in (predictions.predicted[i], predictions.labels[i])
        )
        sure = "" if predictions.probabilities is None else f" ({100 * predictions.probabilities[i].max():.0f} %)"
        titles.append(f"taken for {guess}{sure}, is {truth}\n{image_name(split, i)}")
    return plots.mistakes(images, maps, titles)


def _mistakes_table(record, split, predictions, wrong, number):
    total = len(predictions.labels)
    title = f"{split}: {len(wrong):,} of {total:,} images are wrong ({percent(len(wrong) / total)} %)"
    if not len(wrong):
        return title
    rows = [("confidence %", "predicted", "true", "file")]
    for i in wrong[:number]:
        sure = None if predictions.probabilities is None else float(predictions.probabilities[i].max())
        guess, truth = (record.class_names[label] for label in (predictions.predicted[i], predictions.labels[i]))
        rows.append((percent(sure), guess, truth, image_name(predictions, i)))
    order = "the first" if predictions.probabilities is None else "the surest"
    return f"{title}; {order}:\n\n{aligned(rows, right=(0,))}{_rest(wrong, number)}"


def _labels_table(record, dataset, trained, number):
    images = _together(dataset)
    features = np.concatenate([embed(trained.network, getattr(dataset, split).images, EMBEDDING) for split in SPLITS])
    labels = np.concatenate([getattr(dataset, split).labels for split in SPLITS])
    issues = label_issues(features, labels, len(dataset.class_names))
    title = f"labels that may be wrong: {len(issues.index):,} of {len(labels):,} images look like another class"
    if not len(issues.index):
        return title
    rows = [("margin %", "label", "looks like", "split", "file")]
    for i, suggested, margin in list(zip(*issues, strict=True))[:number]:
        names = (record.class_names[label] for label in (labels[i], suggested))
        rows.append((percent(float(margin)), *names, *images(i)))
    return f"{title}:\n\n{aligned(rows, right=(0,))}{_rest(issues.index, number)}"


def _duplicates_table(record, dataset, number):
    found = []
    for later, earlier in (("val", ("train",)), ("test", ("train", "val"))):
        for other in earlier:
            splits = getattr(dataset, later), getattr(dataset, other)
            pairs = near_duplicates(*(split.images for split in splits))
            found += [(alike, (later, i), (other, j)) for i, j, alike in zip(*pairs, strict=True)]
    title = f"near duplicates across splits: {len(found):,}"
    if not found:
        return title
    found.sort(key=lambda pair: -pair[0])

    def cells(split, i):
        part = getattr(dataset, split)
        return split, record.class_names[part.labels[i]], image_name(part, i)

    rows = [("alike %", "split", "label", "file", "split", "label", "file")]
    rows += [(percent(float(alike)), *cells(*one), *cells(*other)) for alike, one, other in found[:number]]
    return f"{title}:\n\n{aligned(rows, right=(0,))}{_rest(found, number)}"


def _together(dataset):
    """A function from an index in all splits, one after the other, to the split's name and the image's."""
    splits = [(name, getattr(dataset, name)) for name in SPLITS]

    def found(i):
        for name, split in splits:
            if i < len(split):
                return name, image_name(split, i)
            i -= len(split)
        raise IndexError(i)

    return found


def _rest(rows, number):
    return f"\nand {len(rows) - number:,} more" if len(rows) > number else ""
