"""Convert the pickled CIFAR archives (Python version) to the binary files that tfds reads.

Both have the same images in the same order. Unpickling can call any function that the file names. The unpickler here
calls none: it accepts only the three names that arrays need, and replaces each of them with a class that stores data.
"""

import pickle
import tarfile

import numpy as np

from kmodels.errors import InputError

# {pickled file: binary file} of images, and {pickled file: {key: text file}} of class names.
IMAGES = {
    "cifar10": {
        "cifar-10-batches-py/test_batch": "cifar-10-batches-bin/test_batch.bin",
        **{f"cifar-10-batches-py/data_batch_{i}": f"cifar-10-batches-bin/data_batch_{i}.bin" for i in range(1, 6)},
    },
    "cifar100": {f"cifar-100-python/{part}": f"cifar-100-binary/{part}.bin" for part in ("train", "test")},
}
NAMES = {
    "cifar10": {"cifar-10-batches-py/batches.meta": {b"label_names": "cifar-10-batches-bin/batches.meta.txt"}},
    "cifar100": {
        "cifar-100-python/meta": {
            b"coarse_label_names": "cifar-100-binary/coarse_label_names.txt",
            b"fine_label_names": "cifar-100-binary/fine_label_names.txt",
        }
    },
}
# The labels of an image, in the order in which they precede its pixels.
LABELS = {"cifar10": (b"labels",), "cifar100": (b"coarse_labels", b"fine_labels")}


def write_binary(name, path, folder):
    """Writes the content of a -python.tar.gz archive as the files of the binary archive.

    Args:
        name: "cifar10" or "cifar100".
        path: of the archive.
        folder: a Path, to write into.

    Raises:
        InputError: if a pickle in it contains anything but dicts, lists, strings, numbers and arrays.
    """
    with tarfile.open(path) as tar:
        for member, target in IMAGES[name].items():
            batch = _unpickle(tar, member, path)
            columns = [np.array(batch[key], np.uint8)[:, None] for key in LABELS[name]]
            _write(folder / target, np.concatenate([*columns, batch[b"data"].pixels()], axis=1).tobytes())
        for member, targets in NAMES[name].items():
            names = _unpickle(tar, member, path)
            for key, target in targets.items():
                _write(folder / target, b"\n".join(names[key]) + b"\n")


def _write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _unpickle(tar, member, path):
    with tar.extractfile(member) as file:
        try:
            return _Unpickler(file, encoding="bytes").load()
        except pickle.UnpicklingError as error:
            raise InputError(f"{path}/{member} is refused: {error}") from error


class _Stored:
    """Replaces an array or dtype: stores its pickled state and calls nothing."""

    def __init__(self, *arguments):
        self.state = None

    def __setstate__(self, state):
        self.state = state

    def pixels(self):
        """The pixels of an array, uint8 (images, 3072)."""
        _, shape, _, _, content = self.state
        return np.frombuffer(content, np.uint8).reshape(shape)


class _Unpickler(pickle.Unpickler):
    # What a pickled array refers to: the function that creates it, its class and its dtype.
    KNOWN = (("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"))

    def find_class(self, module, name):
        if (module, name) not in self.KNOWN:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no CIFAR archive contains")
        return _Stored
