"""What is to be known of a dataset before it is downloaded or opened, and where it lies on this machine."""

import os
from pathlib import Path
from typing import NamedTuple

from kmodels.files import cache_folder


class About(NamedTuple):
    """A dataset of DATASETS.

    Attributes:
        what: its images, in a few words.
        images: how many, as text.
        classes: how many, as text.
        licence: its name, or what its publishers say instead.
        sources: where its files may come from.
    """

    what: str
    images: str
    classes: str
    licence: str
    sources: str


# Of CIFAR and STL-10 the publishers ask for a citation and state no licence.
ABOUT = {
    "cifar10": About(
        "CIFAR-10: photographs, 32x32", "60,000", "10", "none stated", "download, archive, PNG files, Kaggle"
    ),
    "cifar100": About(
        "CIFAR-100: photographs, 32x32", "60,000", "100", "none stated", "download, archive, PNG files, Kaggle"
    ),
    "digits": About("handwritten digits, 8x8, grey", "1,797", "10", "CC BY 4.0", "in scikit-learn"),
    "eurosat": About("EuroSAT: land use from above, 64x64", "27,000", "10", "MIT", "download, archive, folder, Kaggle"),
    "eurosat_small": About("a fixed part of eurosat, 64x64", "3,500", "10", "MIT", "download, archive, folder, Kaggle"),
    "folder": About("your own images (--data-dir)", "-", "-", "yours", "folder"),
    "intel_scenes": About(
        "Intel Image Classification: scenes, 150x150", "17,034", "6", "see its Kaggle page", "archive, folder, Kaggle"
    ),
    "stl10_5": About("five classes of STL-10, 96x96", "6,500", "5", "none stated", "download, archive, Kaggle"),
    "synthetic": About("random pixels, to try things", "120", "10", "-", "made here"),
}


def archives_of(name):
    """The Archives that a dataset is downloaded as, of which one is enough; [] for one that is not downloaded."""
    from kmodels.data import eurosat, stl10_5, tfds_sets

    if name in tfds_sets.TFDS_SETS:
        return tfds_sets.archives(name)
    return {"eurosat": [eurosat.ARCHIVE], "eurosat_small": [eurosat.ARCHIVE], "stl10_5": [stl10_5.ARCHIVE]}.get(
        name, []
    )


def size_in_words(size):
    """A number of bytes: "94 MB"."""
    return (
        f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:,.0f} MB" if size >= 1e6 else f"{size / 1e3:,.0f} kB"
    )


def introduction(name):
    """One sentence on a dataset: what it is, its licence, and how large its download would be."""
    about, archives = ABOUT[name], archives_of(name)
    size = f"; the download is {size_in_words(archives[0].size)}" if archives else ""
    return f"{name}: {about.what}, {about.images} images in {about.classes} classes; licence: {about.licence}{size}"


class Prepared(NamedTuple):
    """A prepared dataset in the cache: its folder, (height, width) of its images, and its size on disk in bytes."""

    folder: Path
    pixels: tuple[int, int]
    size: int


def prepared_sets(name):
    """The Prepared datasets of this name: one for each image size, folder and option."""
    import numpy as np

    found = []
    # After the name there are twelve hexadecimal digits.
    for folder in sorted(cache_folder().glob(f"{name.replace(':', '_').replace('/', '_')}-{'[0-9a-f]' * 12}")):
        try:
            pixels = np.load(folder / "train_images.npy", mmap_mode="r").shape[1:3]
        except (OSError, ValueError):
            # Damaged; it is prepared again when it is opened.
            pixels = (0, 0)
        found.append(Prepared(folder, pixels, sum(file.stat().st_size for file in folder.iterdir())))
    return found


class Place(NamedTuple):
    """Where a dataset is looked for: what is there, the path or URL, and whether it is there (None: not known)."""

    what: str
    path: str
    exists: bool | None


def places(name):
    """Where the files of a dataset are looked for without data_dir, in this order, as Places."""
    from kmodels.data.kaggle import find_attached, input_folder

    archives, found = archives_of(name), []
    if archives or name == "intel_scenes":
        attached = find_attached(name)
        found.append(Place("attached on Kaggle", str(attached or input_folder()), attached is not None))
    found.append(Place("prepared", str(cache_folder() / f"{name}-*"), bool(prepared_sets(name))))
    if name in ("cifar10", "cifar100"):
        own = cache_folder() / "tfds"
        default = Path(os.environ.get("TFDS_DATA_DIR") or os.path.expanduser("~/tensorflow_datasets"))
        found += [Place("prepared by tfds", str(top / name), (top / name).is_dir()) for top in (default, own)]
    cached = [cache_folder() / "archives" / archive.name for archive in archives]
    found += [Place("archive", str(path), path.exists()) for path in cached]
    for archive in archives:
        found.append(Place(f"download, {size_in_words(archive.size)}", archive.url, None))
        found += [Place("mirror", mirror, None) for mirror in archive.mirrors]
    return found
