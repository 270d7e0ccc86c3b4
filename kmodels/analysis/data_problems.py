"""Images that may be labelled wrongly, and images that are nearly the same: for a person to look at."""

import warnings
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.fft import dctn
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kmodels.analysis.heads import quiet_solvers
from kmodels.errors import require

SIDE = 32
# Bits of 64 in which the hashes of two copies may differ, and the least correlation of their grey pixels. Looked at on
# scenes and on CIFAR-100: nearly all such pairs are the same photograph, scaled, compressed or recoloured, or a second
# one of the same series.
MOST_BITS, LEAST_CORRELATION = 10, 0.95
# Of an image, the most similar by hash that are compared pixel by pixel.
COMPARED = 10
# How much more probable the other class must be than the one given.
LEAST_MARGIN = 0.5
# C of the logistic regression, for one feature: the sum of many standardised ones says as much with smaller weights.
PENALTY = 10.0


class NearDuplicates(NamedTuple):
    """Pairs of images that are nearly the same.

    Attributes:
        first: ints (pairs,), indices in the first images.
        second: ints (pairs,), in the second images.
        correlation: floats (pairs,), of their grey pixels, 1 for the same picture in another size.
    """

    first: np.ndarray
    second: np.ndarray
    correlation: np.ndarray


class LabelIssues(NamedTuple):
    """Images that may be labelled wrongly, the most suspicious first.

    Attributes:
        index: ints (n,), of the image.
        suggested: ints (n,), the class that it looks like.
        margin: floats (n,), by how much that is more probable than the class given, LEAST_MARGIN to 1.
    """

    index: np.ndarray
    suggested: np.ndarray
    margin: np.ndarray


def near_duplicates(images, others):
    """For each image the one of the others that is nearly the same, if there is one.

    Both become grey pictures of 32x32 pixels. Candidates have similar perceptual hashes (the signs of the low
    frequencies), and are compared pixel by pixel. Mirrored, turned and strongly cropped copies are not found.

    Args:
        images: (n, height, width, channels), may be memory-mapped.
        others: (m, height, width, channels), of any size.

    Returns:
        NearDuplicates, the most similar first.
    """
    ours, theirs = _thumbnails(images), _thumbnails(others)
    hashes, other_hashes = _hashes(ours), _hashes(theirs)
    found = []
    for start in range(0, len(ours), 256):
        distances = np.bitwise_count(hashes[start : start + 256, None] ^ other_hashes)
        for i in np.flatnonzero((distances <= MOST_BITS).any(axis=1)):
            candidates = np.flatnonzero(distances[i] <= MOST_BITS)
            candidates = candidates[np.argsort(distances[i, candidates], kind="stable")[:COMPARED]]
            correlations = _standardised(theirs[candidates]) @ _standardised(ours[start + i : start + i + 1])[0]
            best = correlations.argmax()
            if correlations[best] >= LEAST_CORRELATION:
                found.append((start + i, candidates[best], correlations[best]))
    found.sort(key=lambda pair: -pair[2])
    first, second, correlation = zip(*found, strict=True) if found else ((), (), ())
    return NearDuplicates(np.array(first, int), np.array(second, int), np.array(correlation, float))


def label_issues(features, labels, num_classes, seed=0):
    """Images whose features look like those of another class: confident learning, with a linear classifier.

    A logistic regression says of every image what a fit on four fifths of the images, without it, thinks of it (of a
    class with fewer than five, on all but one). An image is listed whose most probable class is another than the one
    given, is as probable as it is for images that have that label, and is more probable than the label by at least
    LEAST_MARGIN. Features of a network that has learnt wrong labels by heart hide them.

    Args:
        features: floats (n, d).
        labels: ints (n,), 0..num_classes-1.
        num_classes: how many classes there are.
        seed: of the division into five parts.

    Returns:
        LabelIssues; none where fewer than two classes have two images.

    Source: Northcutt, Jiang and Chuang, Confident Learning: Estimating Uncertainty in Dataset Labels, 2021.
    """
    features, labels = np.asarray(features), np.asarray(labels)
    require(
        features.ndim == 2 and labels.shape == (len(features),),
        "features must be (n, d) and labels (n,)",
        (features.shape, labels.shape),
    )
    sizes = np.bincount(labels, minlength=num_classes)
    used = np.flatnonzero(sizes[labels] > 1)
    classes = np.unique(labels[used])
    if len(classes) < 2:
        return LabelIssues(np.zeros(0, int), np.zeros(0, int), np.zeros(0))
    given = labels[used]
    # By the largest class, so that a class of two images does not halve the fit of all others: the images of a class
    # are in different parts, as far as there are parts, so every fit has one of each class.
    parts = StratifiedKFold(min(5, sizes.max()), shuffle=True, random_state=seed)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=PENALTY / features.shape[1], max_iter=200))
    # A solver that stops early is near enough.
    with quiet_solvers():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)
        probabilities = cross_val_predict(model, features[used], given, cv=parts, method="predict_proba")
    column = np.searchsorted(classes, given)
    own = probabilities[np.arange(len(given)), column]
    usual = np.array([own[column == i].mean() for i in range(len(classes))])
    confident = np.where(probabilities >= usual, probabilities, 0)
    best = confident.argmax(axis=1)
    margin = confident[np.arange(len(given)), best] - own
    listed = np.flatnonzero((best != column) & (margin >= LEAST_MARGIN))
    listed = listed[np.argsort(-margin[listed], kind="stable")]
    return LabelIssues(used[listed], classes[best[listed]], margin[listed])


def _thumbnails(images):
    """Grey pictures, float32 (n, SIDE, SIDE), of images of any size and range."""
    pictures = np.empty((len(images), SIDE, SIDE), np.float32)
    for i, image in enumerate(images):
        grey = Image.fromarray(np.asarray(image, np.float32).mean(axis=-1))
        pictures[i] = grey.resize((SIDE, SIDE), Image.Resampling.BOX)
    return pictures


def _hashes(thumbnails):
    """64 bits of each picture, uint64 (n,): which of its 64 lowest frequencies are above their median."""
    low = dctn(thumbnails, axes=(1, 2), norm="ortho")[:, :8, :8].reshape(-1, 64)
    # The mean brightness says nothing of what is to be seen.
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0]


def _standardised(thumbnails):
    """Rows whose products are correlations; of a picture of a single grey, zeros."""
    rows = thumbnails.reshape(len(thumbnails), -1)
    rows = rows - rows.mean(axis=1, keepdims=True)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-3)
