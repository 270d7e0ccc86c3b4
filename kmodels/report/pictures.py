"""PNG files beside a record, `<record.stem>_<name>.png`: those that the record alone suffices for."""

import io
from pathlib import Path

from kmodels import plots
from kmodels.files import write_atomically
from kmodels.report.tables import training_counts

# Name of a picture -> its caption.
PICTURES = {
    "curves": "Training curves. The dot marks the epoch whose weights were kept; a cross, if there is one, the epoch "
    "after which training stopped early.",
    "confusion": "Confusion matrix of the test split: counts and their share of the true class.",
    "classes": "Test accuracy by class.",
    "reliability": "Is the confidence right? Test images in 15 bins by the probability of the predicted class: where "
    "the bar stays below the dash, the network is surer than it is right.",
    "ten": "Ten test images with the predicted class and its probability: the first ten, or, in a set sorted by class, "
    "ten from the first to the last.",
    "grad_cam": "Grad-CAM for the predicted class of one test image a class, with the network's confidence: the image, "
    "the heat map (red: raised the score), the image masked by the map.",
    "grad_cam_layers": "Grad-CAM of the same images at several layers, from the first to the last.",
    "tsne": "t-SNE of what the classifier sees of up to 480 test images, coloured by their true class; the silhouette "
    "score, -1 to 1, says how far the classes stand apart in the picture.",
    "features": "What layers of the network make of one test image.",
    "long_tail": "Training images of each class, and the groups that accuracies are given for.",
}


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
        if record.experiment.imbalance:
            figures["long_tail"] = plots.long_tail(
                training_counts(record), record.class_names, *record.experiment.shots
            )
    return [save(figure, picture_path(record, out, name)) for name, figure in figures.items()]


def _published(record, name):
    """What the report printed class by class; None if it did not, or for other classes than the record's."""
    values = getattr(record.experiment.published, name, None)
    return values if values is not None and len(values) == len(record.class_names) else None


def save_titled(figure, title, folder):
    """Saves a figure under its title, `<folder>/<title>.png`; returns the path."""
    slug = "_".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
    return save(figure, Path(folder) / f"{slug}.png")


def save(figure, path):
    """Writes a figure as PNG, whole or not at all; returns the path."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return write_atomically(path, buffer.getvalue())
