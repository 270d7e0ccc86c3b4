"""The datasets found here: prepared in the cache, prepared by tfds, and attached to a Kaggle notebook."""

import json
import os
from dataclasses import dataclass
from pathlib import Path

KAGGLE = "/kaggle/input"
# Folders of an attached dataset that are looked into, and how deep: some have a million files.
FOLDERS, DEPTH = 200, 3


@dataclass(frozen=True)
class Found:
    """A dataset found.

    Attributes:
        name: as `load_dataset` takes it.
        where: "cache", "tfds" or "kaggle".
        path: to give as data_dir, or the folder in the cache.
        images: how many, None if unknown.
    """

    name: str
    where: str
    path: str
    images: int | None = None


def find_datasets(cache, kaggle=KAGGLE):
    """All datasets found.

    Args:
        cache: the cache folder, or None.
        kaggle: where Kaggle mounts what is attached.

    Returns:
        A tuple of Found, sorted by where and name.
    """
    found = [*_tfds(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")]
    if cache:
        found += [*_prepared(Path(cache)), *_tfds(Path(cache) / "tfds")]
    for folder in _attached(Path(kaggle)):
        found += attached_datasets(folder)
    return tuple(sorted(set(found), key=lambda each: (each.where, each.name, each.path)))


def _prepared(cache):
    for file in _glob(cache, "*-????????????/meta.json"):
        try:
            source = json.loads(file.read_text(encoding="utf-8"))["source"]
            images, tfds = sum(source["counts"].values()), "tfds:" if file.parent.name.startswith("tfds_") else ""
            yield Found(f"{tfds}{source['name']}", "cache", str(file.parent), images)
        except (OSError, ValueError, LookupError, TypeError, AttributeError):
            # Damaged: it is prepared again when it is next used.
            continue


def _tfds(folder):
    for pattern in ("*/*/dataset_info.json", "*/*/*/dataset_info.json"):
        for file in _glob(Path(folder), pattern):
            name = file.parent.parent.relative_to(folder).as_posix()
            if "incomplete" not in file.parent.name:
                yield Found(name if name in ("cifar10", "cifar100") else f"tfds:{name}", "tfds", str(folder))


def _glob(folder, pattern):
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _attached(kaggle):
    """The folders of attached datasets, in both layouts: datasets/<owner>/<slug> and, formerly, <slug>."""
    top = [folder for folder in _glob(kaggle, "*") if folder.name not in ("datasets", "competitions", "models")]
    return [folder for folder in [*_glob(kaggle, "datasets/*/*"), *top] if folder.is_dir()]


def attached_datasets(folder):
    """What an attached folder has of what kmodels knows.

    It is recognised by the names of archives and of class folders; whether the images are the original ones, kmodels
    finds out when it prepares them.

    Args:
        folder: a Path.

    Returns:
        A list of Found.
    """
    try:
        from kmodels.data import eurosat, exact_copy, intel_scenes, stl10_5
        from kmodels.data.file_sources import Folder
        from kmodels.data.tfds_sets import TFDS_SETS
    except Exception:
        # A library that cannot be imported is a problem of its own.
        return []
    archives = {name: {known.archive, known.python_archive.name} for name, known in TFDS_SETS.items()}
    archives |= {"stl10_5": {stl10_5.ARCHIVE.name}, "eurosat": {eurosat.ARCHIVE.name}}
    classes = {frozenset(exact_copy.published(name)["train"]): name for name in TFDS_SETS}
    classes |= {frozenset(eurosat.CLASSES): "eurosat", frozenset(intel_scenes.CLASSES): "intel_scenes"}
    files, found, waiting, looked = Folder(folder), list(_tfds(folder)), [("", 0)], 0
    for inside, depth in waiting:
        looked += 1
        try:
            folders, names = files.folders(inside), set(files.names(inside))
        except (OSError, ValueError):
            continue
        found += [Found(name, "kaggle", str(files.where(inside))) for name, known in archives.items() if known & names]
        name = classes.get(frozenset(folders))
        if name:
            found.append(Found(name, "kaggle", _data_dir(files, inside, name)))
        elif depth < DEPTH and looked + len(waiting) < FOLDERS:
            waiting += [(f"{inside}/{each}".lstrip("/"), depth + 1) for each in folders]
    return [Found(each.name, "kaggle", each.path, each.images) for each in dict.fromkeys(found)]


def _data_dir(files, inside, name):
    """The data_dir for the class folders in the folder `inside`."""
    if name == "intel_scenes":
        return str(files.path)
    # CIFAR: train and test are beside each other.
    return str(files.where(inside) if name == "eurosat" else files.where(inside).parent)
