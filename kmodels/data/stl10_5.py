"""STL-10, five of its ten classes: 6,500 labelled photographs, 96x96 pixels, downloaded or your archive.

The classes are relabelled 0 to 4: car, deer, horse, monkey, truck; 500 images of each to train and 800 to test. Test is
as published; val is a fifth of train. tfds would also prepare the 100,000 unlabelled images, so the archive is read
here: without unpacking, and no further than the labelled images.

Source: Coates, Lee and Ng, An Analysis of Single Layer Networks in Unsupervised Feature Learning, AISTATS 2011,
https://cs.stanford.edu/~acoates/stl10/
"""

import tarfile
from pathlib import PurePosixPath

import numpy as np

from kmodels.data.archives import Archive, existing, find
from kmodels.data.cache import prepared
from kmodels.data.downloads import download
from kmodels.data.progress import progress
from kmodels.data.resizing import resize_arrays
from kmodels.data.splits import SPLIT_SEED, stratified_split

ARCHIVE = Archive(
    name="stl10_binary.tar.gz",
    size=2_640_397_119,
    sha256="f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
    url="http://ai.stanford.edu/~acoates/stl10/stl10_binary.tar.gz",
)
OTHER_ARCHIVES = ("stl10_matlab.tar.gz",)
# In the order of the archive's labels, which start at 1.
ALL_CLASSES = ("airplane", "bird", "car", "cat", "deer", "dog", "horse", "monkey", "ship", "truck")
CLASSES = ("car", "deer", "horse", "monkey", "truck")
SIDE = 96
# Images resized at once.
BLOCK = 500


def load(name, image_size, data_dir):
    """Opens the set.

    Args:
        name: "stl10_5".
        image_size: height and width to resize to, in pixels; None means 96.
        data_dir: stl10_binary.tar.gz or its folder; None downloads it.

    Returns:
        A Dataset.

    Raises:
        InputError: if the archive is missing, damaged or cannot be downloaded.
    """
    place = None if data_dir is None else existing(data_dir)

    def prepare(writer):
        _, path = download([ARCHIVE]) if place is None else find(place, [ARCHIVE], OTHER_ARCHIVES)
        files = _read(path)
        train, train_labels, train_index = _of_classes(files, "train")
        test, test_labels, test_index = _of_classes(files, "test")
        with progress(f"preparing {name}", len(train) + len(test)) as bar:
            for split, indices in zip(("train", "val"), stratified_split(train_labels, (0.8, 0.2)), strict=True):
                _write(writer, split, train[indices], train_labels[indices], train_index[indices], image_size, bar)
            _write(writer, "test", test, test_labels, test_index, image_size, bar)
        return CLASSES, {
            "kind": "archive",
            "name": name,
            "original": True,
            "split": f"test as published; train divided 80/20, stratified, seed {SPLIT_SEED}",
            "notes": [
                f"5 of the 10 classes of STL-10, relabelled 0 to 4: {', '.join(CLASSES)}",
                *([f"resized to {image_size}x{image_size}"] if image_size not in (None, SIDE) else []),
            ],
        }

    return prepared(name, {"image_size": image_size}, prepare)


def _read(path):
    """{file name: bytes} of the labelled images and their labels. Reading stops after the last of them."""
    files = dict.fromkeys(("train_X.bin", "train_y.bin", "test_X.bin", "test_y.bin"))
    with tarfile.open(path, "r|gz") as tar:
        for member in tar:
            file = PurePosixPath(member.name).name
            if file in files:
                files[file] = tar.extractfile(member).read()
            if all(files.values()):
                break
    return files


def _of_classes(files, part):
    """Of the images whose class is in CLASSES: pixels (n, 96, 96, 3), labels (n,) and indices in the part (n,)."""
    published = np.frombuffer(files[f"{part}_y.bin"], np.uint8)
    chosen = [1 + ALL_CLASSES.index(name) for name in CLASSES]
    index = np.flatnonzero(np.isin(published, chosen))
    # The archive stores planes of red, green and blue, each column by column.
    planes = np.frombuffer(files[f"{part}_X.bin"], np.uint8).reshape(-1, 3, SIDE, SIDE)
    return planes[index].transpose(0, 3, 2, 1), np.searchsorted(chosen, published[index]), index


def _write(writer, name, images, labels, index, image_size, bar):
    """Fills a split, BLOCK images at a time."""
    size = image_size or SIDE
    split = writer.split(name, len(labels), size, size)
    split.labels[:], split.index[:] = labels, index
    for start in range(0, len(labels), BLOCK):
        block = images[start : start + BLOCK]
        split.images[start : start + BLOCK] = resize_arrays(block, image_size)
        bar.update(len(block))
