"""The cache of prepared datasets: uint8 arrays on disk, written once and then memory-mapped.

A prepared dataset is a folder `<cache>/<name>-<digest of its key>/` of .npy files and meta.json. It is written under
another name, flushed to the disk and renamed when complete; a lock lets one process prepare it while others wait. So
nobody reads an incomplete dataset, and a killed preparation is repeated. meta.json has digests of the files: a part of
the images is checked whenever they are opened, and what is damaged is prepared again.
"""

import contextlib
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
from kmodels.files import OTHER_CACHE, cache_folder, flush, writable_cache

SPLITS = ("train", "val", "test")
PARTS = ("images", "labels", "index")
# A further part of the splits that are read from image files.
FILES = "files"
# Part of every key: raise it when the content of prepared folders, or the way to prepare them, changes.
FORMAT = 2
# What is read of a file of images to check it: evenly spaced blocks of so many bytes.
CHECKED_BLOCKS, CHECKED_BYTES = 64, 4096


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

    def files(self, name, paths):
        """Keeps the paths of the image files of a split, in its order."""
        np.save(self.folder / f"{name}_{FILES}.npy", np.array([os.fsencode(path) for path in paths]))

    def keep(self, name, indices):
        """Cuts a split that is filled down to some of its examples.

        Args:
            name: "train", "val" or "test".
            indices: of the examples that stay, in order.
        """
        for part in (*PARTS, FILES):
            path = self.folder / f"{name}_{part}.npy"
            if not path.exists():
                continue
            whole = path.rename(path.with_suffix(".whole"))
            before = np.load(whole, mmap_mode="r")
            after = self._array(path.stem, before.dtype, (len(indices), *before.shape[1:]))
            for start in range(0, len(indices), 4096):
                chosen = indices[start : start + 4096]
                after[start : start + len(chosen)] = before[chosen]
            # Windows deletes no file that is mapped.
            del before
            whole.unlink()

    def _array(self, name, dtype, shape):
        path = self.folder / f"{name}.npy"
        array = np.lib.format.open_memmap(path, "w+", dtype, shape)
        if hasattr(os, "posix_fallocate"):
            # Else the file grows as it is written, and a full disk kills the process without a message.
            with path.open("r+b") as file:
                os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        return array


def prepared(name, key, prepare, stream=None):
    """Opens a dataset, after calling `prepare(writer)` if it is not in the cache; then notes on its files are printed.

    Args:
        name: of the dataset.
        key: JSON values that determine the content: another key is another folder.
        prepare: fills every split of the Writer and returns (class_names, source).
        stream: passed to the Dataset.

    Returns:
        A Dataset, whose images are memory-mapped.

    Raises:
        InputError: if the cache cannot be written.
    """
    digest = hashlib.sha256(json.dumps([FORMAT, SPLIT_SEED, key], sort_keys=True).encode()).hexdigest()[:12]
    folder = cache_folder() / f"{re.sub('[/:]', '_', name)}-{digest}"
    try:
        meta, splits = _open(folder)
    except InputError:
        _prepare(name, folder, prepare)
        meta, splits = _open(folder)
    return Dataset(
        name=name,
        **splits,
        class_names=tuple(meta["class_names"]),
        source=meta["source"],
        stream=stream,
    )


def are_told(source):
    """Whether the notes of a source are printed when it is prepared: those on image files, which may be the user's."""
    return "formats" in source


def _prepare(name, folder, prepare):
    from kmodels.locks import alone

    writable_cache()
    _remove_leftovers(folder.parent)
    with alone(f"{folder}.lock", f"preparing {name}"):
        if folder.exists():
            # Another process has prepared it meanwhile, or it is damaged.
            try:
                _open(folder)
                return
            except InputError as error:
                print(f"{error}; preparing it again")
        partial = folder.with_name(f"{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir()
        try:
            class_names, source = prepare(Writer(partial))
            if are_told(source):
                for note in source["notes"]:
                    print(f"{source['name']}: {note}")
            splits = {split: _open_split(partial, split) for split in SPLITS}
            source = {
                **source,
                "counts": {split: len(arrays) for split, arrays in splits.items()},
                "sha256": checksum(splits.values()),
            }
            digests = {path.name: _digest(path) for path in sorted(partial.glob("*.npy"))}
            meta = {"class_names": list(class_names), "source": source, "digests": digests}
            digests["meta.json"] = _meta_digest(meta)
            (partial / "meta.json").write_text(json.dumps(meta, indent=1))
            # Else a crash of the machine may leave a folder with its final name and empty files.
            for path in (*partial.iterdir(), partial):
                flush(path)
            if folder.exists():
                shutil.rmtree(folder)
            partial.rename(folder)
            flush(folder.parent)
        except OSError as error:
            raise InputError(
                f"cannot prepare the dataset in {folder.parent}: {error.strerror or error}; {OTHER_CACHE}"
            ) from error
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _remove_leftovers(cache):
    """Removes what killed preparations left. One that is alive has its lock."""
    from kmodels.locks import FileLock

    for partial in cache.glob("*.partial"):
        with contextlib.suppress(OSError), FileLock(partial.with_suffix(".lock"), timeout=0):
            shutil.rmtree(partial, ignore_errors=True)


def _open(folder):
    """The content of meta.json and {split: Split} of a prepared dataset.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    try:
        meta = json.loads((folder / "meta.json").read_text())
        if set(meta) != {"class_names", "source", "digests"}:
            raise ValueError("meta.json has other keys than it was written with")
        for name, digest in meta["digests"].items():
            if (_meta_digest(meta) if name == "meta.json" else _digest(folder / name)) != digest:
                raise ValueError(f"{name} has changed since it was written")
        splits = {split: _open_split(folder, split) for split in SPLITS}
        return {"class_names": meta["class_names"], "source": meta["source"]}, splits
    except (OSError, ValueError, EOFError, LookupError, TypeError, AttributeError) as error:
        why = f"no {Path(error.filename).name}" if isinstance(error, FileNotFoundError) else error
        raise InputError(f"the prepared dataset in {folder} is damaged ({why})") from error


def _open_split(folder, split):
    images, labels, index = (np.load(folder / f"{split}_{part}.npy", mmap_mode="r") for part in PARTS)
    files = folder / f"{split}_{FILES}.npy"
    names = np.load(files, mmap_mode="r") if files.exists() else None
    return Split(images, np.asarray(labels), np.asarray(index), names)


def _meta_digest(meta):
    return hashlib.sha256(json.dumps([meta["class_names"], meta["source"]], sort_keys=True).encode()).hexdigest()


def _digest(path):
    """SHA-256 of a file; of a file of images, of its size and some of its blocks: it may be larger than memory."""
    with path.open("rb") as file:
        if not path.stem.endswith("_images"):
            return hashlib.file_digest(file, "sha256").hexdigest()
        size = path.stat().st_size
        digest = hashlib.sha256(str(size).encode())
        for i in range(CHECKED_BLOCKS):
            file.seek(max(0, size - CHECKED_BYTES) * i // (CHECKED_BLOCKS - 1))
            digest.update(file.read(CHECKED_BYTES))
        return digest.hexdigest()


def is_whole(dataset):
    """Whether all of a prepared dataset is as it was written, by its checksum; removes it where it is not."""
    splits = [getattr(dataset, split) for split in SPLITS]
    if checksum(splits) == dataset.source["sha256"]:
        return True
    shutil.rmtree(Path(dataset.train.images.filename).parent)
    return False


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
