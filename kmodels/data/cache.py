"""The cache of prepared datasets: uint8 arrays on disk, written once and then memory-mapped.

A prepared dataset is a folder `<cache>/<name>-<digest of its key>/` of .npy files and meta.json. It is written under
another name and renamed when complete; a lock lets one process prepare it while others wait. So nobody reads an
incomplete dataset, and a killed preparation is repeated.
"""

import hashlib
import json
import os
import re
import shutil
from pathlib import Path

import numpy as np

from kmodels.data.dataset import Dataset, Split
from kmodels.data.splits import SPLIT_SEED
from kmodels.errors import InputError
from kmodels.files import writable_folder

SPLITS = ("train", "val", "test")
# Part of every key: raise it when the content of prepared folders, or the way to prepare them, changes.
FORMAT = 2


def cache_folder():
    """The folder of all caches: `$KMODELS_CACHE`, or kmodels/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KMODELS_CACHE") or Path(base) / "kmodels")


class Writer:
    """Creates the arrays of a dataset under preparation, as memory-mapped files: a dataset may be larger than memory.

    Example:
        split = writer.split("train", examples=1000, height=32, width=32)
        split.images[0] = image
        split.labels[:], split.index[:] = labels, range(1000)
    """

    def __init__(self, folder):
        self.folder = folder

    def split(self, name, examples, height, width):
        """Creates the arrays of a split, to be filled.

        Args:
            name: "train", "val" or "test".
            examples: number of images.
            height: of the images, in pixels.
            width: of the images, in pixels.

        Returns:
            A Split: images (examples, height, width, 3), labels and index (examples,).
        """
        return Split(
            self._array(f"{name}_images", np.uint8, (examples, height, width, 3)),
            self._array(f"{name}_labels", np.int32, (examples,)),
            self._array(f"{name}_index", np.int64, (examples,)),
        )

    def fill(self, name, images, labels, index):
        """Writes a whole split.

        Args:
            name: "train", "val" or "test".
            images: uint8 (n, height, width, 3).
            labels: ints (n,).
            index: ints (n,), see Split.
        """
        split = self.split(name, len(labels), *images.shape[1:3])
        split.images[:], split.labels[:], split.index[:] = images, labels, index

    def _array(self, name, dtype, shape):
        path = self.folder / f"{name}.npy"
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):
            # Else the file grows as it is written, and a full disk kills the process without a message.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array


def prepared(name, key, prepare, stream=None):
    """Opens a dataset, after calling `prepare(writer)` if it is not in the cache.

    Args:
        name: of the dataset.
        key: JSON values that determine the content: another key is another folder.
        prepare: fills every split of the Writer and returns (class_names, source).
        stream: passed to the Dataset.

    Returns:
        A Dataset, whose images are memory-mapped.

    Raises:
        InputError: if the cache cannot be written, or the prepared dataset is damaged.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, SPLIT_SEED, key], sort_keys=True).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{re.sub('[/:]', '_', name)}-{digest}"
    if not folder.exists():
        _prepare(folder, prepare)
    try:
        meta = json.loads((folder / "meta.json").read_text())
        splits = {split: _open(folder, split) for split in SPLITS}
    except (OSError, ValueError) as error:
        raise InputError(f"the prepared dataset in {folder} is damaged ({error}); delete that folder") from error
    return Dataset(
        name=name,
        **splits,
        class_names=tuple(meta["class_names"]),
        source=meta["source"],
        stream=stream,
    )


def _prepare(folder, prepare):
    from filelock import FileLock

    writable_folder(folder.parent)
    with FileLock(f"{folder}.lock"):
        if folder.exists():
            return
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            class_names, source = prepare(Writer(partial))
            splits = {split: _open(partial, split) for split in SPLITS}
            source = {
                **source,
                "counts": {split: len(arrays) for split, arrays in splits.items()},
                "sha256": checksum(splits.values()),
            }
            meta = {"class_names": list(class_names), "source": source}
            (partial / "meta.json").write_text(json.dumps(meta, indent=1))
            partial.rename(folder)
        except OSError as error:
            raise InputError(f"cannot prepare the dataset in {folder.parent}: {error.strerror}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _open(folder, split):
    images, labels, index = (
        np.load(folder / f"{split}_{part}.npy", mmap_mode="r") for part in ("images", "labels", "index")
    )
    return Split(images, np.asarray(labels), np.asarray(index))


def checksum(splits):
    """SHA-256 of the pixels and labels of several splits, in order: equal if training would see the same data.

    Args:
        splits: an iterable of Split.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for split in splits:
        for start in range(0, len(split), 4096):
            digest.update(np.ascontiguousarray(split.images[start : start + 4096]))
        digest.update(np.ascontiguousarray(split.labels))
    return digest.hexdigest()
