"""The features that a trained network gives to a dataset: computed once, kept beside the network.

A file of features holds a digest of the network's weights, of the pixels and of which of them were taken. Where one of
these has changed since, the features are those of another network or other images: they are computed again.
"""

import hashlib
import io
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np

from kmodels.analysis.predict import layer_outputs, predict_outputs
from kmodels.data.cache import SPLITS
from kmodels.data.dataset import Split
from kmodels.errors import InputError, require
from kmodels.files import write_atomically
from kmodels.models.graph import inputs_of
from kmodels.models.logits import last_dense
from kmodels.models.saving import weights_checksum


def embedded(network, file, dataset, say=print):
    """The dataset with features instead of images: float32 (n, d), what enters the classifier for each.

    Args:
        network: as in `features_network`.
        file: the .keras file that it was read from; its features are kept beside it. None: they are not kept.
        dataset: a Dataset.
        say: is told what is computed, and why.
    """
    network = features_network(network)
    digest = file and _digest(file, network, dataset)
    features = file and _kept(features_path(file), digest, say)
    if features is None:
        say(f"computing the features of {sum(len(getattr(dataset, split)) for split in SPLITS):,} images")
        features = {split: predict_outputs(network, getattr(dataset, split).images) for split in SPLITS}
        if file:
            _keep(features_path(file), digest, features, say)
    splits = {split: getattr(dataset, split) for split in SPLITS}
    return replace(
        dataset, **{name: Split(features[name], split.labels, split.index) for name, split in splits.items()}
    )


def features_network(network):
    """The network from the same images to its features, (batch, d): what enters the Dense layer that it ends in.

    Args:
        network: a keras.Model with one input. Where it does not end in a Dense layer, its layer "embedding" gives the
            features.

    Raises:
        InputError: if it has neither.
    """
    if dense := last_dense(network):
        return dense.features
    output = layer_outputs(network).get("embedding")
    rule = "a head needs a network that ends in a Dense layer, whose input is the features, or has a layer 'embedding'"
    require(output is not None and len(output.shape) == 2, rule, network.layers[-1].name)
    return keras.Model(inputs_of(network), output)


def features_path(file):
    """Where the features of the network in a .keras file are kept."""
    file = Path(file)
    return file.with_name(f"{file.stem}_features.npz")


def _digest(file, features, dataset):
    digest = hashlib.sha256(weights_checksum(file).encode())
    # Files of earlier versions hold the output of this layer, whatever enters the classifier.
    if (layer := features.operations[-1].name) != "embedding":
        digest.update(layer.encode())
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
