"""The features that a trained network gives to a dataset: computed once, kept beside the network.

A file of features holds a digest of the network's weights, of the pixels and of which of them were taken. Where one of
these has changed since, the features are those of another network or other images: they are computed again.
"""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import numpy as np

from kmodels.analysis import embed
from kmodels.data.cache import SPLITS
from kmodels.data.dataset import Split
from kmodels.errors import InputError
from kmodels.files import write_atomically
from kmodels.models.saving import weights_checksum


def embedded(network, file, dataset, say=print):
    """The dataset with features instead of images: float32 (n, d), the network's "embedding" of each.

    Args:
        network: a network whose layer "embedding" is 2-D.
        file: the .keras file that it was read from; its features are kept beside it. None: they are not kept.
        dataset: a Dataset.
        say: is told what is computed, and why.
    """
    digest = file and _digest(file, dataset)
    features = file and _kept(features_path(file), digest, say)
    if features is None:
        say(f"computing the features of {sum(len(getattr(dataset, split)) for split in SPLITS):,} images")
        features = {split: embed(network, getattr(dataset, split).images) for split in SPLITS}
        if file:
            _keep(features_path(file), digest, features, say)
    splits = {split: getattr(dataset, split) for split in SPLITS}
    return replace(
        dataset, **{name: Split(features[name], split.labels, split.index) for name, split in splits.items()}
    )


def features_path(file):
    """Where the features of the network in a .keras file are kept."""
    file = Path(file)
    return file.with_name(f"{file.stem}_features.npz")


def _digest(file, dataset):
    digest = hashlib.sha256(weights_checksum(file).encode())
    digest.update(dataset.source["sha256"].encode())
    for split in SPLITS:
        digest.update(np.ascontiguousarray(getattr(dataset, split).index))
    return digest.hexdigest()


def _kept(path, digest, say):
    """{split: features} of the file; None if it is not there, or holds those of other weights or images."""
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            if str(arrays["digest"]) == digest:
                return {split: arrays[split] for split in SPLITS}
            say(f"{path.name} holds the features of other weights or images; not used")
    except Exception:
        # Whatever is wrong with bytes that a crash or a disk left: zip, zlib and NumPy have their own errors.
        say(f"{path.name} is corrupt; not used")
    return None


def _keep(path, digest, features, say):
    buffer = io.BytesIO()
    np.savez(buffer, digest=np.array(digest), **features)
    try:
        write_atomically(path, buffer.getvalue())
    except InputError as error:
        say(f"{error}; the features are not kept")
