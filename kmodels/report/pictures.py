"""PNG files beside a record: `<record.stem>_<name>.png`."""

import io
from pathlib import Path

import numpy as np

from kmodels import plots
from kmodels.errors import InputError
from kmodels.files import write_atomically
from kmodels.report.tables import percent

# Name of a picture -> its caption.
PICTURES = {
    "curves": "Training curves. The dot marks the lowest validation loss, whose weights were kept; a cross, if "
    "there is one, the epoch after which training was stopped early.",
    "confusion": "Confusion matrix of the test split: counts and their share of the true class.",
    "classes": "Test accuracy by class.",
    "reliability": "Is the confidence right? Test images in 15 bins by the probability of the predicted class: where "
    "the bar stays below the dash, the network is surer than it is right.",
    "ten": "Ten test images with the predicted class and its probability: the first ten, or, in a set sorted by class, "
    "ten from the first to the last.",
    "grad_cam": "Grad-CAM for the predicted class of one test image a class, with the network's confidence: the image, "
    "the heat map (red: raised the score), the image masked by the map.",
    "grad_cam_layers": "Grad-CAM of the same images at several layers, from the first to the last.",
}
# Of more classes, Grad-CAM shows the first.
MOST_CLASSES = 20


def picture_path(record, out, name):
    """Where the picture of that name lies."""
    return Path(out) / f"{record.stem}_{name}.png"


def write_pictures(record, out):
    """What the record alone suffices for: curves, confusion matrix, classes, calibration; returns the paths."""
    figures = {}
    if record.epochs_run:
        figures["curves"] = plots.training_curves([record])
    if record.test:
        figures["confusion"] = plots.confusion_matrix(
            record.test.confusion_matrix, record.class_names, _published(record, "confusion_matrix")
        )
        figures["classes"] = plots.per_class_accuracy(
            record.test.per_class_accuracy, record.class_names, _published(record, "per_class_accuracy")
        )
        if record.test.calibration:
            figures["reliability"] = plots.reliability_diagram(record.test.calibration)
    return [save(figure, picture_path(record, out, name)) for name, figure in figures.items()]


def _published(record, name):
    """What the report printed class by class; None if it did not, or for other classes than the record's."""
    values = getattr(record.experiment.published, name, None)
    return values if values is not None and len(values) == len(record.class_names) else None


def write_network_pictures(record, out, data_dir=None):
    """What needs the network and the images; returns the paths.

    Args:
        record: a completed one, whose network lies beside it.
        out: the results folder.
        data_dir: where the dataset's files are; see `load_dataset`.

    Raises:
        InputError: if the network is not there, or the data are not those that the record was measured on.
    """
    seen = _network_and_test(record, out, data_dir)
    paths = [*_write_ten(record, out, *seen), *_write_grad_cam(record, out, *seen, None)]
    return paths


def write_grad_cam(record, out, data_dir=None, layers=None):
    """Grad-CAM for one test image a class, and ten test images; returns the paths.

    Args:
        record, out, data_dir: as in `write_network_pictures`.
        layers: names of the layers side by side; None chooses up to five.

    Raises:
        InputError: as there, or if the network has no such layer.
    """
    seen = _network_and_test(record, out, data_dir)
    return [*_write_ten(record, out, *seen), *_write_grad_cam(record, out, *seen, layers)]


def _probabilities(network, images):
    from kmodels.analysis import log_softmax, predict_logits

    return np.exp(log_softmax(predict_logits(network, images)))


def _write_ten(record, out, network, test):
    ten = _ten(test.labels)
    images = np.asarray(test.images[ten])
    figure = plots.predictions(images, _probabilities(network, images), test.labels[ten], record.class_names)
    return [save(figure, picture_path(record, out, "ten"))]


def _write_grad_cam(record, out, network, test, layers):
    from kmodels.analysis import cam_layers, grad_cam

    layers = cam_layers(network) if layers is None else layers
    if not layers:
        return []
    places = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)][:MOST_CLASSES]
    images, labels = np.asarray(test.images[places]), test.labels[places]
    titles = _titles(_probabilities(network, images), labels, record.class_names)
    maps = {layer: grad_cam(network, images, layer) for layer in layers}
    last = maps["feature_map"] if "feature_map" in maps else grad_cam(network, images)
    figures = {
        "grad_cam": plots.grad_cam_panels(images, last, [one for one, _ in titles]),
        "grad_cam_layers": plots.grad_cam_layers(images, maps, [three for _, three in titles]),
    }
    return [save(figure, picture_path(record, out, name)) for name, figure in figures.items()]


def _network_and_test(record, out, data_dir):
    """The network of a record, and the test split that it was measured on."""
    from kmodels.data import load_dataset
    from kmodels.models.saving import load_network

    if record.status != "completed":
        raise InputError(f"its run was not completed but {record.status}; there is no network")
    path = Path(out) / f"{record.stem}.keras"
    if not path.is_file():
        raise InputError(f"its network {path.name} is not here; running the experiment again makes it")
    dataset = load_dataset(record.experiment.dataset, record.experiment.image_size, data_dir)
    if dataset.source["sha256"] != record.source["sha256"]:
        raise InputError("the images found are not those that the record was measured on (another checksum)")
    return load_network(path), dataset.test


def _ten(labels):
    """Places of the first ten test images; of ten from the first to the last where these are all of one class."""
    if len(np.unique(labels[:10])) > 1 or len(labels) <= 10:
        return np.arange(min(10, len(labels)))
    return np.linspace(0, len(labels) - 1, 10).round().astype(int)


def _titles(probabilities, labels, class_names):
    """For each image a title of one line and one of three: what was predicted, what is true, how sure it was."""
    titles = []
    for label, row in zip(labels, probabilities, strict=True):
        guess, truth = class_names[row.argmax()], class_names[label]
        taken = "" if guess == truth else f"taken for {guess}, "
        titles.append(
            (
                f"{truth}: {taken}{100 * row.max():.0f} %",
                f"predicted: {guess}\ntruth: {truth}\nscore: {percent(row.max())} %",
            )
        )
    return titles


def save_titled(figure, title, folder):
    """Saves a figure under its title, `<folder>/<title>.png`; returns the path."""
    slug = "_".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
    return save(figure, Path(folder) / f"{slug}.png")


def save(figure, path):
    """Writes a figure as PNG, whole or not at all; returns the path."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return write_atomically(path, buffer.getvalue())
