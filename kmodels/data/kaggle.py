"""Datasets that are attached to a Kaggle kernel: read-only folders, found by what is in them.

Kaggle mounts them as /kaggle/input/datasets/<owner>/<slug>/, formerly as /kaggle/input/<slug>/; KAGGLE_INPUT names
another folder than /kaggle/input. Whoever uploaded a set chose its name and may have put it in folders within folders.
"""

import itertools
import os
from pathlib import Path

# How deep below the folder of all attached data a set may begin: datasets/<owner>/<slug>/<folder>/<folder>.
MAX_DEPTH = 6
# How many folders are looked into, and how many names of each: class folders with their images are no place to search.
MAX_FOLDERS, MAX_NAMES = 1000, 500


def input_folder():
    """The folder of all attached data; it need not exist."""
    return Path(os.environ.get("KAGGLE_INPUT") or "/kaggle/input")


def find_attached(name, top=None):
    """Where a dataset lies among the attached data.

    Args:
        name: of the dataset; "cifar10", "cifar100", "eurosat", "eurosat_small", "intel_scenes" and "stl10_5" can be
            found.
        top: another folder to look in, and in the folders within it; None: that of all attached data.

    Returns:
        The Path of its folder or archive, as `data_dir` of `load_dataset`; None if there is none.
    """
    fits = _tests().get(name)
    if fits is None:
        return None
    for folder in _folders(input_folder() if top is None else top):
        found = fits(folder)
        if found:
            return found
    return None


def _folders(top):
    """The folders under `top`, the outer ones before the inner ones."""
    level, seen = [top], 0
    for _ in range(MAX_DEPTH):
        inner = []
        for folder in level:
            names = _names(folder)
            if names is None:
                continue
            seen += 1
            if seen > MAX_FOLDERS:
                return
            yield Listed(folder, *names)
            inner += [folder / name for name in names[0]]
        level = inner


class Listed:
    """A folder with the names of folders and of files in it."""

    def __init__(self, path, folders, files):
        self.path, self.folders, self.files = path, folders, files

    def inner(self, *names):
        """Names of the folders in a folder of this one; a folder that has only one stands for that."""
        path = self.path.joinpath(*names)
        folders, _ = _names(path) or ((), ())
        while len(folders) == 1:
            path = path / folders[0]
            folders, _ = _names(path) or ((), ())
        return set(folders)


def _names(folder):
    """Sorted names of folders and of files in a folder; None if it cannot be read."""
    try:
        with os.scandir(folder) as entries:
            found = [(entry.name, entry.is_dir()) for entry in itertools.islice(entries, MAX_NAMES)]
    except OSError:
        return None
    return [sorted(name for name, is_dir in found if is_dir is wanted) for wanted in (True, False)]


def _tests():
    """{name: function from a Listed to the dataset's path there, or None}."""
    from kmodels.data import cifar_python, eurosat, exact_copy, intel_scenes, stl10_5, tfds_sets

    def archive_of(archives, folder):
        return next((folder.path / archive.name for archive in archives if archive.name in folder.files), None)

    def cifar(name, folder):
        found = archive_of(tfds_sets.archives(name), folder) or cifar_python.unpacked_folder(name, folder.path)
        if found or not set(exact_copy.PARTS) <= set(folder.folders):
            return found
        classes = set(exact_copy.published(name)["train"])
        inside, _ = _names(folder.path / "train") or ((), ())
        return folder.path if set(inside) == classes else None

    def satellite(folder):
        return archive_of([eurosat.ARCHIVE], folder) or (
            folder.path if set(eurosat.CLASSES) == set(folder.folders) else None
        )

    def scenes(folder):
        parts = {name.lower(): name for name in folder.folders}
        if "seg_train" not in parts or folder.inner(parts["seg_train"]) != set(intel_scenes.CLASSES):
            return None
        return folder.path

    return {
        "cifar10": lambda folder: cifar("cifar10", folder),
        "cifar100": lambda folder: cifar("cifar100", folder),
        "eurosat": satellite,
        "eurosat_small": satellite,
        "intel_scenes": scenes,
        "stl10_5": lambda folder: archive_of([stl10_5.ARCHIVE], folder),
    }
