"""scikit-learn's bundled handwritten digits: 1,797 real scans of 8x8 pixels, no download.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part).
"""

from kmodels.data.cache import SPLITS, prepared
from kmodels.data.pictures import fit_arrays
from kmodels.data.splits import SPLIT_SEED, stratified_split


def load(name, image_size, data_dir):
    """The digits split 60/20/20, grey repeated in three channels; `data_dir` must be None."""

    def prepare(writer):
        import numpy as np
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey = np.round(bunch.images * (255 / 16)).astype(np.uint8)
        images = fit_arrays(np.repeat(grey[..., None], 3, axis=-1), image_size)
        for split, places in zip(SPLITS, stratified_split(bunch.target, (0.6, 0.2, 0.2)), strict=True):
            writer.fill(split, images[places], bunch.target[places], places)
        return [str(digit) for digit in bunch.target_names], {
            "kind": "scikit-learn",
            "name": "digits",
            "split": f"60/20/20, stratified, seed {SPLIT_SEED}",
            "notes": ["8x8 grey scans, repeated in three channels"],
        }

    return prepared(name, {"image_size": image_size}, prepare)
