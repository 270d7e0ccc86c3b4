"""Random pixels in ten classes, to try a script in seconds. There is nothing to learn in them."""

import numpy as np

from kmodels.data.cache import SPLITS, checksum
from kmodels.data.dataset import Dataset, Split

EXAMPLES = 40
CLASSES = 10


def load(name, image_size, data_dir):
    """Makes 40 images for each split, in memory, the same every time.

    Args:
        name: "synthetic".
        image_size: height and width, in pixels; None means 32.
        data_dir: must be None.

    Returns:
        A Dataset.
    """
    rng = np.random.default_rng(0)
    size = image_size or 32
    labels = np.tile(np.arange(CLASSES, dtype=np.int32), EXAMPLES // CLASSES)
    splits = {
        split: Split(
            rng.integers(0, 256, (EXAMPLES, size, size, 3), np.uint8),
            labels,
            np.arange(EXAMPLES) + EXAMPLES * i,
        )
        for i, split in enumerate(SPLITS)
    }
    source = {
        "kind": "synthetic",
        "name": "synthetic",
        "split": "40/40/40",
        "notes": ["random pixels"],
        "counts": dict.fromkeys(SPLITS, EXAMPLES),
        "sha256": checksum(splits.values()),
    }
    return Dataset(name=name, **splits, class_names=tuple(f"class {i}" for i in range(CLASSES)), source=source)
