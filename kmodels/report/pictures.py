"""Pictures beside a record, `<record.stem>_<name>.webp`: those that need nothing but the record."""

import io
from pathlib import Path

from PIL import Image

from kmodels import plots
from kmodels.files import write_atomically
from kmodels.records.summaries import training_counts

# Name of a picture -> its caption.
PICTURES = {
    "curves": "Training curves. The dot marks the epoch whose weights were kept; a cross, if there is one, the epoch "
    "after which training stopped early.",
    "confusion": "Confusion matrix of the test split: counts and their share of the true class.",
    "classes": "Test accuracy by class.",
    "reliability": "Is the confidence right? Test images in 15 bins by the probability of the predicted class: where "
    "the bar is below the dash, the network is overconfident.",
    "ten": "Up to ten test images with the predicted class and its probability: the first ones, or, in a set sorted by "
    "class, images from the first to the last.",
    "mistakes": "The surest mistakes on the test images, with Grad-CAM for the class that they were taken for.",
    "grad_cam": "Grad-CAM for the predicted class of one test image per class, with the network's confidence: the "
    "image, the heat map (red: raises the score), the image masked by the map.",
    "grad_cam_layers": "Grad-CAM of the same images at several layers, from the first to the last.",
    "tsne": "t-SNE of the embeddings (the input of the classifier) of up to 480 test images, coloured by their true "
    "class; the silhouette score, -1 to 1, measures how well the classes are separated in the picture.",
    "features": "Feature maps of several layers for one test image.",
    "long_tail": "Training images of each class, and the groups of classes that accuracies are given for.",
}


def picture_path(record, out, name):
    """The path of a picture beside a record.

    Args:
        record: a Record.
        out: the results folder.
        name: of the picture, one of PICTURES or another one.
    """
    return Path(out) / f"{record.stem}_{name}.webp"


def write_pictures(record, out):
    """Writes the pictures that need nothing but the record: curves, confusion matrix, classes, calibration.

    Args:
        record: a Record; one that was not completed has the curves at most.
        out: the results folder.

    Returns:
        The paths of the pictures.
    """
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
    """The published values class by class; None if there are none, or for other classes than the record's."""
    values = getattr(record.experiment.published, name, None)
    return values if values is not None and len(values) == len(record.class_names) else None


def save_titled(figure, title, folder):
    """Saves a figure as `<folder>/<slug of the title>.webp`.

    Args:
        figure: a matplotlib Figure.
        title: of the figure.
        folder: for the file.

    Returns:
        The path.
    """
    return save(figure, titled_path(title, folder))


def titled_path(title, folder):
    """The path of a figure of several runs.

    Args:
        title: of the figure.
        folder: of the report.
    """
    return Path(folder) / f"{slug(title) or 'figure'}.webp"


def slug(title):
    """Text as part of a file name: letters and digits in lower case, joined by underscores."""
    text = "_".join("".join(c if c.isalnum() else " " for c in title.lower()).split())
    # File systems allow 255 bytes.
    return text.encode()[:120].decode(errors="ignore")


def save(figure, path):
    """Writes a figure, completely or not at all.

    Args:
        figure: a matplotlib Figure.
        path: of the file. Its ending decides the format: .webp, which is several times smaller, else PNG.

    Returns:
        The path.
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    png = buffer.getvalue()
    return write_atomically(path, webp(png) if Path(path).suffix == ".webp" else png)


def webp(content):
    """A picture as WebP.

    Args:
        content: bytes of a picture that Pillow reads.

    Returns:
        Bytes: without loss where that is smaller, as for drawings; with a quality of 88 otherwise, as for photographs.
    """
    found = []
    for options in ({"lossless": True}, {"quality": 88}):
        buffer = io.BytesIO()
        with Image.open(io.BytesIO(content)) as picture:
            picture.convert("RGB").save(buffer, "WEBP", method=5, **options)
        found.append(buffer.getvalue())
    return min(found, key=len)
