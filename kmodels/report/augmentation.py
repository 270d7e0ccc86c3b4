"""Examples of an augmentation policy, as a picture."""

import keras
import numpy as np

from kmodels import plots
from kmodels.augment import POLICIES, build_augmentation
from kmodels.augment.mixing import mixing_layer
from kmodels.errors import require
from kmodels.plots.style import label as shown
from kmodels.report.pictures import save

ROWS, SAMPLES = 4, 7


def write_examples(policy, dataset, seed, path):
    """Writes a picture of a training image of each of four classes, each with seven augmented copies beside it.

    The four are one batch: where a policy mixes images, each is mixed with the one above it, the first with the last,
    and the share of both is below.

    Args:
        policy: one of POLICIES.
        dataset: a Dataset.
        seed: of the classes, the images and the augmentation; at least 0.
        path: of the PNG file.

    Returns:
        The path.

    Raises:
        InputError: for an unknown policy, a seed below 0, or images that the policy does not accept.
    """
    require(seed >= 0, "seed must be at least 0", seed)
    indices = _of_different_classes(dataset.train.labels, seed)
    images = np.asarray(dataset.train.images[indices])
    names = [shown(dataset.class_names[label], 14) for label in dataset.train.labels[indices]]
    columns, captions = _steps(policy, images, names, seed)
    figure = plots.image_grid(
        np.stack([images, *columns], axis=1),
        row_titles=names,
        column_titles=["original", *(f"sample {i + 1}" for i in range(SAMPLES))],
        captions=list(zip([""] * len(names), *captions, strict=True)),
        title=f"{policy}: {POLICIES[policy].description}",
    )
    return save(figure, path)


def _of_different_classes(labels, seed):
    """Indices of one image of each of up to four classes, in the order of the classes."""
    rng = np.random.default_rng(seed)
    classes = np.unique(labels)
    chosen = np.sort(rng.choice(classes, min(ROWS, len(classes)), replace=False))
    return [rng.choice(np.flatnonzero(labels == label)) for label in chosen]


def _steps(policy, images, names, seed):
    """For each sample the images as a training step sees them, uint8, and a caption for each."""
    augmentation = build_augmentation(policy, images.shape[1:], seed)
    mixing = mixing_layer(augmentation)
    columns, captions = [], []
    for _ in range(SAMPLES):
        augmented = keras.ops.convert_to_numpy(augmentation(images, training=True))
        columns.append(np.round(augmented).astype(np.uint8))
        share = mixing and keras.ops.convert_to_numpy(mixing.take_share())
        captions.append(
            [_mixture(*of) for of in zip(share, names, np.roll(names, 1), strict=True)] if mixing else [""] * len(names)
        )
    return columns, captions


def _mixture(share, own, others):
    return f"{100 * share:.0f} % {own}\n{100 * (1 - share):.0f} % {others}"
