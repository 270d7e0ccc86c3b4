"""Digests of pixels that depend on neither the order of images nor the files that they came in."""

import hashlib
from typing import NamedTuple

import numpy as np


class ClassDigest(NamedTuple):
    """How many images a class of one part has, and the SHA-256 of their sorted digests, in hexadecimal digits."""

    images: int
    digest: str


def image_digest(pixels, width, height):
    """SHA-256 of one image.

    Args:
        pixels: uint8 (height, width, 3), or their bytes, row by row.
        width: in pixels.
        height: in pixels.

    Returns:
        32 bytes.
    """
    digest = hashlib.sha256(b"%dx%d " % (width, height))
    digest.update(pixels)
    return digest.digest()


def image_digests(images):
    """The `image_digest` of every image.

    Args:
        images: uint8 (n, height, width, 3).
    """
    return [image_digest(np.ascontiguousarray(image), image.shape[1], image.shape[0]) for image in images]


def class_digests(digests, labels, class_names):
    """The ClassDigest of every class of one part.

    Args:
        digests: as of `image_digests`; None for an image that does not count.
        labels: ints (n,), 0..classes-1.
        class_names: in the order of the labels.

    Returns:
        {class: ClassDigest}.
    """
    of_class = [[] for _ in class_names]
    for digest, label in zip(digests, labels, strict=True):
        if digest is not None:
            of_class[label].append(digest)
    return {
        name: ClassDigest(len(found), hashlib.sha256(b"".join(sorted(found))).hexdigest())
        for name, found in zip(class_names, of_class, strict=True)
    }


def dataset_digests(dataset):
    """The ClassDigests of a Dataset as it was published: its train and val images together, and its test images.

    Args:
        dataset: a Dataset that was not resized.

    Returns:
        {"train" or "test": {class: ClassDigest}}.
    """
    train, val, test = ((image_digests(s.images), s.labels) for s in (dataset.train, dataset.val, dataset.test))
    together = train[0] + val[0], np.concatenate([train[1], val[1]])
    return {part: class_digests(*found, dataset.class_names) for part, found in (("train", together), ("test", test))}


def whole_digest(parts):
    """SHA-256 of a whole dataset.

    Args:
        parts: as of `dataset_digests`.

    Returns:
        64 hexadecimal digits.
    """
    lines = [f"{part}/{name} {one.digest}\n" for part, classes in parts.items() for name, one in classes.items()]
    return hashlib.sha256("".join(sorted(lines)).encode()).hexdigest()
