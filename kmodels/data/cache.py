"""Prepared once, then memory-mapped: pixels on disk as uint8 arrays.

A prepared dataset is a folder `<cache>/<name>-<key>/` of .npy files and meta.json. It is filled under another name and
renamed when it is complete, and a lock lets one process prepare while others wait for it: nobody ever reads half a
dataset, and a killed preparation leaves nothing that counts.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

import numpy as np

from kmodels.data.dataset import Dataset, Split
from kmodels.data.splits import SPLIT_SEED
from kmodels.errors import InputError
from kmodels.files import writable_folder

SPLITS = ("train", "val", "test")
# Part of every key: raise it when what a prepared folder holds, or how it is made, changes.
FORMAT = 2


def cache_folder():
    """`$KMODELS_CACHE`, or kmodels/ in the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(os.environ.get("KMODELS_CACHE") or Path(base) / "kmodels")


class Writer:
    """Hands out the arrays of a dataset under preparation; they are files, so no set is too large."""

    def __init__(self, folder):
        self.folder = folder

    def split(self, name, examples, height, width):
        """Arrays to fill, as a Split: images (examples, height, width, 3), labels and index (examples,)."""
        return Split(
            self._array(f"{name}_images", np.uint8, (examples, height, width, 3)),
            self._array(f"{name}_labels", np.int32, (examples,)),
            self._array(f"{name}_index", np.int64, (examples,)),
        )

    def fill(self, name, images, labels, index):
        """Writes a whole split at once."""
        split = self.split(name, len(labels), *images.shape[1:3])
        split.images[:], split.labels[:], split.index[:] = images, labels, index

    def _array(self, name, dtype, shape):
        path = self.folder / f"{name}.npy"
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):
            # The file would grow as it is written, and a full disk would then kill the process without a word.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array


def prepared(name, key, prepare, stream=None):
    """Opens the dataset of this key, calling `prepare(writer)` first if nobody has.

    Args:
        name: of the dataset.
        key: plain values that decide the content: another key is another folder.
        prepare: fills every split of the Writer and returns (class_names, source).
        stream: handed on to the Dataset.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, SPLIT_SEED, key], sort_keys=True).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{name}-{digest}"
    if not folder.exists():
        _prepare(folder, prepare)
    try:
        meta = json.loads((folder / "meta.json").read_text())
        splits = {split: _open(folder, split) for split in SPLITS}
    except (OSError, ValueError) as error:
        raise InputError(f"the prepared data in {folder} are damaged ({error}); delete that folder") from error
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
            raise InputError(f"cannot prepare the data in {folder.parent}: {error.strerror}") from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _open(folder, split):
    images, labels, index = (
        np.load(folder / f"{split}_{part}.npy", mmap_mode="r") for part in ("images", "labels", "index")
    )
    return Split(images, np.asarray(labels), np.asarray(index))


def checksum(splits):
    """SHA-256 of all pixels and labels in order: equal exactly when training would see the same data."""
    digest = hashlib.sha256()
    for split in splits:
        for start in range(0, len(split), 4096):
            digest.update(np.ascontiguousarray(split.images[start : start + 4096]))
        digest.update(np.ascontiguousarray(split.labels))
    return digest.hexdigest()
