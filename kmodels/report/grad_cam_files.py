"""Grad-CAM of any .keras file on any image files: what `kmodels gradcam MODEL.keras IMAGES...` draws."""

import math
from pathlib import Path

import numpy as np

from kmodels import plots
from kmodels.analysis import cam_layers, grad_cam, log_softmax, predict_logits
from kmodels.analysis.evaluation import NEVER_FINITE
from kmodels.classifier import unscaled
from kmodels.data.given_image import pixels_of
from kmodels.data.image_files import images_inside
from kmodels.data.pillow_reading import UnreadableError, pillow_warnings
from kmodels.errors import InputError, require
from kmodels.models.about import read_about
from kmodels.models.checks import check_one_output
from kmodels.records import read_record
from kmodels.records.networks import load_network_of_run
from kmodels.report.pictures import save
from kmodels.text import clip, printable

# Of more images, the first are drawn.
MOST_IMAGES = 20
# Height and width of images for a network that takes any, where its file does not say which it was trained on.
ANY_SIZE = 224


def write_grad_cam_of_files(file, images, out=Path(), layers=None, scale=1.0):
    """Writes Grad-CAM of a network on image files, for the class that it predicts: of one layer, and of several.

    Images are scaled to cover the network's input and cropped to its centre, as everywhere in kmodels. Classes have
    their names where a record beside the file or the file itself has them, else their indices.

    Args:
        file: a .keras file with one input of images, (height, width, 1 or 3), and one output.
        images: paths of image files, or of folders (with their subfolders); of more than 20 images the first are drawn.
        out: the folder to write into.
        layers: names of the layers side by side; None: up to five.
        scale: what pixels from 0 to 255 are multiplied by before they are given to the network.

    Returns:
        The paths of the pictures.

    Raises:
        InputError: if a file cannot be read, the network does not fit, or its outputs are not finite for any image.
    """
    require(math.isfinite(scale) and scale > 0, "scale must be a finite number above 0", scale)
    files = _image_files(images)
    network, about = load_network_of_run(file), read_about(file)
    check_one_output(network)
    if scale == 1 and (note := unscaled(network, about)):
        print(f"{note}; see --scale")
    shown, given = _pixels(files, _image_shape(network, about))
    given = given if scale == 1 else given.astype(np.float32) * scale
    if about:
        about.require_values(given, "--scale (scale=) must bring pixels into this range")
    return _drawn(network, files, shown, given, _class_names(Path(file)), Path(out) / Path(file).stem, layers)


def write_grad_cam_of_classified(classifier, file, images, out):
    """As `write_grad_cam_of_files`, with the images and names of a Classifier.

    Args:
        classifier: a Classifier.
        file: its .keras file.
        images: paths of image files that it can read.
        out: the folder to write into.
    """
    shown, given = _pixels(images, classifier.image_shape)
    return _drawn(classifier.network, images, shown, given, classifier.class_names, Path(out) / Path(file).stem)


def _pixels(files, image_shape):
    """The images as they are shown, uint8 (n, height, width, 3), and as a network with this input takes them."""
    given = np.stack([_read(path, image_shape) for path in files])
    return given if image_shape[-1] == 3 else given.repeat(3, axis=-1), given


def _drawn(network, files, shown, given, names, stem, layers=None):
    """Draws one layer, and several; returns the paths of the pictures, which begin with `stem`."""
    logits = predict_logits(network, given)
    finite = ~np.isnan(log_softmax(logits)).any(axis=1)
    if not finite.any():
        raise InputError(NEVER_FINITE)
    classes = [
        (names[label] if label < len(names) else f"class {label}") if known else "not finite"
        for label, known in zip(logits.argmax(axis=1), finite, strict=True)
    ]
    titles = [f"{clip(printable(path.name), 26)}\n{name}" for path, name in zip(files, classes, strict=True)]

    def maps(layer=None):
        found = np.zeros(given.shape[:3], np.float32)
        found[finite] = grad_cam(network, given[finite], layer)
        return found

    figures = {"grad_cam": plots.grad_cam_panels(shown, maps(), titles)}
    layers = cam_layers(network) if layers is None else layers
    if layers:
        figures["grad_cam_layers"] = plots.grad_cam_layers(shown, {layer: maps(layer) for layer in layers}, titles)
    return [save(figure, stem.with_name(f"{stem.name}_{name}.png")) for name, figure in figures.items()]


def _image_files(paths):
    files = []
    for path in paths:
        if not Path(path).is_dir():
            require(Path(path).is_file(), "images must be image files or folders that exist", str(path))
            files.append(Path(path))
            continue
        files += images_inside(path)
    if len(files) > MOST_IMAGES:
        print(f"drawing the first {MOST_IMAGES} of {len(files)} images")
    return files[:MOST_IMAGES]


def _image_shape(network, about):
    """(height, width, channels), the same as that of a Classifier where it knows one."""
    shapes = [tuple(tensor.shape) for tensor in getattr(network, "inputs", None) or ()]
    require(
        len(shapes) == 1 and len(shapes[0]) == 4 and shapes[0][-1] in (1, 3),
        "the network must have one input, images (height, width, 1 or 3)",
        ", ".join(str(shape[1:]) for shape in shapes) or "a network that does not tell its inputs",
    )
    height, width, channels = shapes[0][1:]
    if about and None in (height, width):
        return about.image_shape
    return height or width or ANY_SIZE, width or height or ANY_SIZE, channels


def _read(path, image_shape):
    try:
        with pillow_warnings():
            return pixels_of(path, image_shape)
    except UnreadableError as error:
        raise InputError(f"cannot read the image {path}: {error}") from error


def _class_names(file):
    """Those of the record beside the network, else those that the file itself knows; none without either."""
    record = file.with_suffix(".json")
    try:
        known = read_record(record) if record.is_file() else read_about(file)
        return known.class_names if known else ()
    except InputError as error:
        print(f"no class names: {error}")
        return ()
