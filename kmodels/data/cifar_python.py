"""Convert the pickled CIFAR archives (Python version), or their files, to the binary files that tfds reads.

Both have the same images in the same order. Unpickling can call any function that the file names. The unpickler here
calls none: it accepts only the three names that arrays need, and replaces each of them with a class that stores data.
"""

import contextlib
import pickle
import tarfile
from functools import partial
from pathlib import Path

import numpy as np

from kmodels.data.exact_copy import require_published
from kmodels.data.pixel_digests import class_digests, image_digests
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


def unpacked_folder(name, folder):
    """Where the files of an unpacked -python.tar.gz archive are, in a folder or the one folder of the archive in it.

    Args:
        name: "cifar10" or "cifar100".
        folder: a Path.

    Returns:
        A Path; None if they are not all there.
    """
    members = [Path(member) for member in (*IMAGES[name], *NAMES[name])]
    for place in (folder, folder / members[0].parent):
        if all((place / member.name).is_file() for member in members):
            return place
    return None


def write_binary(name, path, folder):
    """Writes the content of a -python.tar.gz archive as the files of the binary archive.

    Args:
        name: "cifar10" or "cifar100".
        path: of the archive, or of a folder with its files; their pixels must be the published ones, because there is
            no hash of the archive to compare.
        folder: a Path, to write into.

    Raises:
        InputError: if a pickle in it contains anything but dicts, lists, strings, numbers and arrays; if the files of a
            folder do not have the published pixels.
    """
    try:
        _write_binary(name, path, folder)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise InputError(f"{path} does not have the content of a CIFAR archive for Python: {error!r}") from error


def _write_binary(name, path, folder):
    with contextlib.ExitStack() as stack:
        tar = None if path.is_dir() else stack.enter_context(tarfile.open(path))
        read = partial(_unpickle, tar, path)
        names = {target: lines for member, keys in NAMES[name].items() for target, lines in _names(read(member), keys)}
        found = {}
        for member, target in IMAGES[name].items():
            batch = read(member)
            columns = [np.array(batch[key], np.uint8)[:, None] for key in LABELS[name]]
            pixels = batch[b"data"].pixels()
            _write(folder / target, np.concatenate([*columns, pixels], axis=1).tobytes())
            if tar is None:
                images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
                digests, labels = found.setdefault("test" if "test" in member else "train", ([], []))
                digests += image_digests(images)
                labels += columns[-1][:, 0].tolist()
        for target, lines in names.items():
            _write(folder / target, b"\n".join(lines) + b"\n")
    if tar is None:
        classes = [line.decode() for line in list(names.values())[-1]]
        require_published(name, path, {part: class_digests(*images, classes) for part, images in found.items()})


def _names(content, keys):
    return [(target, content[key]) for key, target in keys.items()]


def _write(path, content):
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(content)


def _unpickle(tar, path, member):
    with tar.extractfile(member) if tar else open(path / Path(member).name, "rb") as file:
        try:
            return _Unpickler(file, encoding="bytes").load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise InputError(f"{path}/{Path(member).name if tar is None else member} is refused: {error}") from error


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
