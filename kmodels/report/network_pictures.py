"""Pictures beside a record that need its network, saved beside the record too, and the images it was measured on.

Ten test images with their predictions; Grad-CAM; t-SNE of the embeddings; feature maps of several layers.
"""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kmodels import plots
from kmodels.analysis import (
    cam_layers,
    embed,
    feature_maps,
    grad_cam,
    log_softmax,
    predict_logits,
    silhouette,
    tsne,
)
from kmodels.data import Dataset
from kmodels.data.image_notes import were_unreadable_left_out
from kmodels.errors import InputError, describe_error, require
from kmodels.interrupts import Interrupts
from kmodels.models.logits import logits_network
from kmodels.models.saving import weights_checksum
from kmodels.plots.style import label as shown
from kmodels.records.descriptions import percent
from kmodels.records.networks import load_network_of_run
from kmodels.report.pictures import picture_path, save, slug
from kmodels.training.job import open_dataset

TSNE_SAMPLES = 480
# Of more classes, Grad-CAM shows the first.
MOST_CLASSES = 20
# What t-SNE shows, where the network has a layer of this name.
EMBEDDING = "embedding"


class Trained(NamedTuple):
    """A trained network, with its images.

    Attributes:
        network: as it was saved; its layers are read here, because `layer.output` belongs to this graph.
        logits: a network of the same layers from images to logits: probabilities are computed from it, and Grad-CAM.
        dataset: the Dataset that it was measured on.
    """

    network: Any
    logits: Any
    dataset: Dataset


def write_network_pictures(record, out, data_dir=None):
    """Writes every picture that needs the network and the images; a line names those that cannot be drawn.

    Args:
        record: a completed Record, whose network is beside it.
        out: the results folder.
        data_dir: where the dataset's files are; see `load_dataset`.

    Returns:
        The paths of the pictures.

    Raises:
        InputError: if the network is missing, or the data are not those that the record was measured on.
    """
    trained, paths = load_trained(record, out, data_dir), []
    for name, write in _WRITERS.items():
        try:
            paths += write(record, out, trained)
        except Exception as error:
            Interrupts.check()
            # A network of the user's own may fail in any way; the other pictures are drawn all the same.
            print(f"no {name} of {record.stem}: {describe_error(error)}")
    return paths


def _probabilities(trained, images):
    return np.exp(log_softmax(predict_logits(trained.logits, images)))


def write_ten(record, out, trained):
    """Draws ten test images with their predictions.

    Args:
        record: the Record of the network.
        out: the results folder.
        trained: what `load_trained` returns.

    Returns:
        The path of the picture, in a list.
    """
    test = trained.dataset.test
    ten = _ten(test.labels)
    images = np.asarray(test.images[ten])
    figure = plots.predictions(images, _probabilities(trained, images), test.labels[ten], record.class_names)
    return [save(figure, picture_path(record, out, "ten"))]


def write_grad_cam(record, out, trained, layers=None):
    """Draws Grad-CAM for one test image per class.

    Args:
        record, out, trained: as in `write_ten`.
        layers: names of the layers side by side; None: up to five.

    Returns:
        The paths of the pictures.

    Raises:
        InputError: if the network has no such layer.
    """
    # What is on the page is only replaced by the same.
    name_of_layers = "grad_cam_layers" if layers is None else f"grad_cam_{slug(' '.join(layers))}"
    layers = cam_layers(trained.network) if layers is None else layers
    if not layers:
        return []
    test = trained.dataset.test
    indices = [int(np.flatnonzero(test.labels == label)[0]) for label in np.unique(test.labels)][:MOST_CLASSES]
    images, labels = np.asarray(test.images[indices]), test.labels[indices]
    titles = _titles(_probabilities(trained, images), labels, record.class_names)
    maps = {layer: grad_cam(trained.logits, images, layer) for layer in layers}
    last = maps["feature_map"] if "feature_map" in maps else grad_cam(trained.logits, images)
    figures = {
        "grad_cam": plots.grad_cam_panels(images, last, [one for one, _ in titles]),
        name_of_layers: plots.grad_cam_layers(images, maps, [three for _, three in titles]),
    }
    return [save(figure, picture_path(record, out, name)) for name, figure in figures.items()]


def write_tsne(record, out, trained, samples=TSNE_SAMPLES, seed=0, perplexity=None):
    """Draws t-SNE of the embeddings of test images.

    Args:
        record, out, trained: as in `write_ten`.
        samples: how many images.
        seed: of the choice of images and of t-SNE.
        perplexity: None means 30, or less for fewer than 91 samples.

    Returns:
        The path of the picture, in a list.

    Raises:
        InputError: if the network has no embedding, or the perplexity is not smaller than the number of samples.
    """
    require(samples >= 4, "samples must be at least 4", samples)
    require(0 <= seed < 2**32, "seed must be from 0 to 4294967295", seed)
    names = _layer_names(trained)
    require(EMBEDDING in names, f"the network must have a layer {EMBEDDING!r}, the input of its classifier", names)
    indices = np.random.RandomState(seed).permutation(len(trained.dataset.test))[:samples]
    labels = trained.dataset.test.labels[indices]
    name = "tsne" if (samples, seed, perplexity) == (TSNE_SAMPLES, 0, None) else f"tsne_{samples}_seed{seed}"
    if perplexity is None:
        perplexity = min(30.0, (len(indices) - 1) / 3)
    else:
        name += f"_perplexity{perplexity:g}"
    points = tsne(embed(trained.network, np.asarray(trained.dataset.test.images[indices]), EMBEDDING), seed, perplexity)
    figure = plots.embedding(points, labels, record.class_names, silhouette(points, labels))
    return [save(figure, picture_path(record, out, name))]


def write_features(record, out, trained, layers=None, images=None):
    """Draws feature maps of several layers: a picture for each test image.

    Args:
        record, out, trained: as in `write_ten`.
        layers: names of layers; None: up to four activations and the embedding.
        images: indices in the test split; None: the first image.

    Returns:
        The paths of the pictures.

    Raises:
        InputError: if there is no such layer or image.
    """
    test, usual = trained.dataset.test, layers is None and images is None
    if layers is None:
        # Layers inside nested models cannot be read.
        names = _layer_names(trained)
        layers = [name for name in (*cam_layers(trained.network, 4), EMBEDDING) if name in names]
        require(layers, f"the network must have convolutions or a layer {EMBEDDING!r}", names)
    indices = (0,) if images is None else images
    for index in indices:
        require(0 <= index < len(test), f"images must be indices in the test split, 0 to {len(test) - 1}", index)
    shown = np.asarray(test.images[list(indices)])
    maps = feature_maps(trained.network, shown, layers)
    titles = _titles(_probabilities(trained, shown), test.labels[list(indices)], record.class_names)
    paths = []
    for i, (index, (title, _)) in enumerate(zip(indices, titles, strict=True)):
        figure = plots.feature_maps(shown[i], {name: values[i] for name, values in maps.items()}, title)
        name = "features" if usual else f"features_{index}"
        paths.append(save(figure, picture_path(record, out, name)))
    return paths


# What a line calls a picture that cannot be drawn -> what draws it.
_WRITERS = {
    "test images with predictions": write_ten,
    "Grad-CAM": write_grad_cam,
    "t-SNE": write_tsne,
    "feature maps": write_features,
}


def _layer_names(trained):
    return [layer.name for layer in trained.network.layers]


def load_trained(record, out, data_dir):
    """The Trained of a record.

    Args:
        record: a completed Record, whose network is beside it.
        out: the results folder.
        data_dir: where the dataset's files are; see `load_dataset`.

    Raises:
        InputError: if the network is missing, or the data are not those that the record was measured on.
    """
    experiment = record.experiment
    if record.status != "completed":
        raise InputError(f"the run was not completed but {record.status}; there is no network")
    path = Path(out) / f"{record.stem}.keras"
    if experiment.is_fitted and not path.is_file():
        network = (record.started_from or {}).get("network")
        raise InputError(f"head {experiment.head!r} has no network of its own; it uses the features of {network}")
    if not path.is_file():
        raise InputError(
            f"the network {path.name} is missing; run the experiment again with --again (again=True) to get it"
        )
    if record.network_sha256 not in (None, weights_checksum(path)):
        raise InputError(f"the network {path.name} is not the one of the record; run the experiment with --again")
    network = load_network_of_run(path)
    logits = logits_network(network, len(record.class_names))
    return Trained(network, logits, dataset_of(record, data_dir))


def dataset_of(record, data_dir=None, remedy="; give the folder or archive of those as --data-dir (data_dir)"):
    """The Dataset that a record was measured on, before its train split was reduced.

    Args:
        record: a Record.
        data_dir: where the dataset's files are; see `load_dataset`.
        remedy: what helps where they are other images, the end of the message.

    Returns:
        A Dataset.

    Raises:
        InputError: if it cannot be loaded, or is another one than the record's.
    """
    experiment = record.experiment
    try:
        dataset = open_dataset(experiment, data_dir, were_unreadable_left_out(record.source))
    except Exception as error:
        # A function of the user's own may fail in any way.
        if isinstance(error, InputError) or "dataset" not in experiment.references:
            raise
        raise InputError(f"dataset {experiment.dataset!r} cannot be loaded: {describe_error(error)}") from error
    if dataset.source["sha256"] != record.source["sha256"]:
        raise InputError(
            f"the images are not those that the record was measured on: their checksum is another one{remedy}"
        )
    return dataset


def _ten(labels):
    """Indices of the first ten test images; of ten from the first to the last where those are all of one class."""
    if len(np.unique(labels[:10])) > 1 or len(labels) <= 10:
        return np.arange(min(10, len(labels)))
    return np.linspace(0, len(labels) - 1, 10).round().astype(int)


def _titles(probabilities, labels, class_names):
    """For each image a title of one line and one of three: the predicted class, the true one and the probability."""
    titles = []
    for label, row in zip(labels, probabilities, strict=True):
        guess, truth = (shown(class_names[i], 18) for i in (row.argmax(), label))
        wrong = "" if row.argmax() == label else f"predicted {guess}, "
        titles.append(
            (
                f"{truth}: {wrong}{100 * row.max():.0f} %",
                f"predicted: {guess}\ntruth: {truth}\nscore: {percent(row.max())} %",
            )
        )
    return titles
