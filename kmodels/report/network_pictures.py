"""PNG files beside a record that need its network, which lies there too, and the images that it was measured on.

Ten test images with what is said of them; Grad-CAM; t-SNE of the embeddings; what layers make of an image.
"""

from pathlib import Path

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
from kmodels.data import load_dataset
from kmodels.errors import InputError, require
from kmodels.models.saving import load_network
from kmodels.report.pictures import picture_path, save
from kmodels.report.tables import percent

TSNE_SAMPLES = 480
# Of more classes, Grad-CAM shows the first.
MOST_CLASSES = 20


def write_network_pictures(record, out, data_dir=None):
    """What needs the network and the images; returns the paths.

    Args:
        record: a completed one, whose network lies beside it.
        out: the results folder.
        data_dir: where the dataset's files are; see `load_dataset`.

    Raises:
        InputError: if the network is not there, or the data are not those that the record was measured on.
    """
    seen, paths = _network_and_test(record, out, data_dir), []
    for write in (_write_ten, _write_grad_cam, _write_tsne, _write_features):
        try:
            paths += write(record, out, *seen)
        except InputError as error:
            print(f"one picture less of {record.stem}: {error}")
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


def write_tsne(record, out, data_dir=None, **options):
    """t-SNE of the embeddings of test images; returns the path in a list.

    Args:
        record, out, data_dir: as in `write_network_pictures`.
        **options: samples, how many; seed, of their draw and of t-SNE; perplexity, None: 30, less for few samples.

    Raises:
        InputError: as there, or if the perplexity is not smaller than the number of samples.
    """
    return _write_tsne(record, out, *_network_and_test(record, out, data_dir), **options)


def write_features(record, out, data_dir=None, layers=None, images=None):
    """What layers make of test images: a picture for each image; returns the paths.

    Args:
        record, out, data_dir: as in `write_network_pictures`.
        layers: names of layers; None: up to four activations and the embedding.
        images: their places in the test split; None: the first one.

    Raises:
        InputError: as there, or if there is no such layer or image.
    """
    return _write_features(record, out, *_network_and_test(record, out, data_dir), layers, images)


def _probabilities(network, images):
    return np.exp(log_softmax(predict_logits(network, images)))


def _write_ten(record, out, network, test):
    ten = _ten(test.labels)
    images = np.asarray(test.images[ten])
    figure = plots.predictions(images, _probabilities(network, images), test.labels[ten], record.class_names)
    return [save(figure, picture_path(record, out, "ten"))]


def _write_grad_cam(record, out, network, test, layers=None):
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


def _write_tsne(record, out, network, test, samples=TSNE_SAMPLES, seed=0, perplexity=None):
    require(samples >= 4, "samples must be at least 4", samples)
    require(0 <= seed < 2**32, "seed must be from 0 to 4294967295", seed)
    places = np.random.RandomState(seed).permutation(len(test))[:samples]
    labels = test.labels[places]
    perplexity = min(30.0, (len(places) - 1) / 3) if perplexity is None else perplexity
    points = tsne(embed(network, np.asarray(test.images[places])), seed, perplexity)
    figure = plots.embedding(points, labels, record.class_names, silhouette(points, labels))
    usual = samples == TSNE_SAMPLES and seed == 0
    return [save(figure, picture_path(record, out, "tsne" if usual else f"tsne_{samples}_seed{seed}"))]


def _write_features(record, out, network, test, layers=None, images=None):
    layers = [*cam_layers(network, 4), "embedding"] if layers is None else layers
    places = (0,) if images is None else images
    for place in places:
        require(0 <= place < len(test), f"images must be from 0 to {len(test) - 1}, places in the test split", place)
    shown = np.asarray(test.images[list(places)])
    maps = feature_maps(network, shown, layers)
    titles = _titles(_probabilities(network, shown), test.labels[list(places)], record.class_names)
    paths = []
    for i, (place, (title, _)) in enumerate(zip(places, titles, strict=True)):
        figure = plots.feature_maps(shown[i], {name: values[i] for name, values in maps.items()}, title)
        name = "features" if images is None else f"features_{place}"
        paths.append(save(figure, picture_path(record, out, name)))
    return paths


def _network_and_test(record, out, data_dir):
    """The network of a record, and the test split that it was measured on."""
    if record.status != "completed":
        raise InputError(f"its run was not completed but {record.status}; there is no network")
    if record.experiment.head in ("svm", "nearest_mean"):
        network = record.started_from["network"]
        raise InputError(
            f"head {record.experiment.head!r} has no network of its own but sees the features of {network}"
        )
    path = Path(out) / f"{record.stem}.keras"
    if not path.is_file():
        raise InputError(f"its network {path.name} is not here; running the experiment again makes it")
    return load_network(path), dataset_of(record, data_dir).test


def dataset_of(record, data_dir=None):
    """The Dataset that a record was measured on, before anything was taken from its train split.

    Raises:
        InputError: if what is found is another one.
    """
    dataset = load_dataset(record.experiment.dataset, record.experiment.image_size, data_dir)
    if dataset.source["sha256"] != record.source["sha256"]:
        raise InputError("the images found are not those that the record was measured on (another checksum)")
    return dataset


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
