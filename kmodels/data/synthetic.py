"""Random pixels in ten classes, for trying a script in seconds. Nothing can be learnt from them."""

import numpy as np

from kmodels.data.cache import SPLITS, checksum
from kmodels.data.dataset import Dataset, Split

EXAMPLES = 40
CLASSES = 10


def load(name, image_size, data_dir):
    """40 images a split, the same each time; `data_dir` must be None. Made in memory, never cached."""
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
