"""PNG files beside a record: `<record.stem>_<name>.png`."""

import io
from pathlib import Path

import numpy as np

from kmodels import plots
from kmodels.errors import InputError
from kmodels.files import write_atomically

# Name of a picture -> its caption.
PICTURES = {
    "curves": "Training curves. The dot marks the lowest validation loss, whose weights were kept.",
    "confusion": "Confusion matrix of the test split: counts, shaded by their share of the true class.",
    "classes": "Test accuracy by class.",
    "grad_cam": "Grad-CAM for the predicted class of one test image a class, with the network's confidence: the image, "
    "the heat map (red: raised the score), the image masked by the map.",
}


def picture_path(record, out, name):
    """Where the picture of that name lies."""
    return Path(out) / f"{record.stem}_{name}.png"


def write_pictures(record, out):
    """Curves, confusion matrix and class accuracies, as far as the record has them; returns their paths."""
    figures = {}
    if record.epochs_run:
        figures["curves"] = plots.training_curves([record])
    if record.test:
        figures["confusion"] = plots.confusion_matrix(record.test.confusion_matrix, record.class_names)
        figures["classes"] = plots.per_class_accuracy(record.test.per_class_accuracy, record.class_names)
    return [_save(figure, picture_path(record, out, name)) for name, figure in figures.items()]


def write_comparison(title, records, folder):
    """The curves of several records in one figure, `<folder>/<title>.png`; returns the path."""
    slug = "_".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
    return _save(plots.training_curves(records), Path(folder) / f"{slug}.png")


def write_grad_cam(record, out, data_dir=None):
    """Three panels for the first test image of each class; returns the path.

    Args:
        record: a completed one, whose network lies beside it.
        out: the results folder.
        data_dir: where the dataset's files are; see `load_dataset`.

    Raises:
        InputError: if the network is not there, or the data are not those that the record was measured on.
    """
    from kmodels.analysis import grad_cam, log_softmax, predict_logits
    from kmodels.data import load_dataset
    from kmodels.models.saving import load_network

    if record.status != "completed":
        raise InputError(f"its run was not completed but {record.status}; there is no network")
    weights = Path(out) / f"{record.stem}.keras"
    if not weights.is_file():
        raise InputError(f"its network {weights.name} is not here; running the experiment again makes it")
    dataset = load_dataset(record.experiment.dataset, record.experiment.image_size, data_dir)
    if dataset.source["sha256"] != record.source["sha256"]:
        raise InputError("the images found are not those that the record was measured on (another checksum)")
    labels = dataset.test.labels
    places = [int(np.flatnonzero(labels == label)[0]) for label in np.unique(labels)]
    images = np.asarray(dataset.test.images[places])
    network = load_network(weights)
    logits = predict_logits(network, images)
    chances = np.exp(log_softmax(logits))
    titles = []
    for label, row in zip(labels[places], chances, strict=True):
        guess = int(row.argmax())
        taken = "" if guess == label else f"taken for {record.class_names[guess]}, "
        titles.append(f"{record.class_names[label]}: {taken}{100 * row[guess]:.0f} %")
    return _save(
        plots.grad_cam_panels(images, grad_cam(network, images), titles), picture_path(record, out, "grad_cam")
    )


def _save(figure, path):
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return write_atomically(path, buffer.getvalue())
