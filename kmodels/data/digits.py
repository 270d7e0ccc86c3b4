"""scikit-learn's bundled handwritten digits: 1,797 real scans of 8x8 pixels, no download.

Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI 1998 (its test part).
"""

from kmodels.data.cache import SPLITS, prepared
from kmodels.data.resizing import resize_arrays
from kmodels.data.splits import SPLIT_SEED, stratified_split


def load(name, image_size, data_dir):
    """Opens the digits, divided 60/20/20, the grey channel repeated three times.

    Args:
        name: "digits".
        image_size: height and width to resize to, in pixels; None means 8.
        data_dir: must be None.

    Returns:
        A Dataset.
    """

    def prepare(writer):
        import numpy as np
        from sklearn.datasets import load_digits

        bunch = load_digits()
        grey = np.round(bunch.images * (255 / 16)).astype(np.uint8)
        images = resize_arrays(np.repeat(grey[..., None], 3, axis=-1), image_size)
        for split, indices in zip(SPLITS, stratified_split(bunch.target, (0.6, 0.2, 0.2)), strict=True):
            writer.fill(split, images[indices], bunch.target[indices], indices)
        return [str(digit) for digit in bunch.target_names], {
            "kind": "scikit-learn",
            "name": "digits",
            "split": f"60/20/20, stratified, seed {SPLIT_SEED}",
            "notes": ["8x8 grey scans, repeated in three channels"],
        }

    return prepared(name, {"image_size": image_size}, prepare)
