"""CIFAR-10 and CIFAR-100 through tensorflow-datasets: downloaded, or from an archive that you already have.

A folder of image files, `{train,test}/<class>/<file>`, is read without tfds, see `exact_copy`.

tfds downloads, checks the hash, unpacks and encodes. Here the pixels are copied once into our memory-mapped cache and
divided by our published split. The archives for Python are first converted to what tfds reads, so that images, order
and split are the same for either archive.
"""

import shutil
from dataclasses import dataclass

import numpy as np

from kmodels.data import exact_copy
from kmodels.data.archives import Archive, archive_folder, download, find, import_tfds
from kmodels.data.cache import cache_folder, prepared
from kmodels.data.cifar_python import write_binary
from kmodels.data.file_sources import Folder
from kmodels.data.pixel_digests import class_digests, whole_digest
from kmodels.data.splits import SPLIT_SEED, stratified_split
from kmodels.data.tfds_reading import copy_images, download_and_prepare, read_labels, stream
from kmodels.files import writable_folder


@dataclass(frozen=True)
class TfdsSet:
    """What tfds does not know of a dataset.

    Attributes:
        summary: one line on it.
        archive: name of the file that tfds reads.
        python_archive: the Archive of the same images that `cifar_python` reads.
        other_archives: names of files of the same data in formats that are not supported, for messages.

    Example:
        TfdsSet(summary="CIFAR-10: ...", archive="cifar-10-binary.tar.gz", python_archive=Archive(...))
    """

    summary: str
    archive: str
    python_archive: Archive
    other_archives: tuple[str, ...] = ()


# The hashes of the python archives are those that Keras publishes.
TFDS_SETS = {
    "cifar10": TfdsSet(
        summary="CIFAR-10: 60,000 photographs in 10 classes, 32x32 pixels, from tfds, your archive or PNG files.",
        archive="cifar-10-binary.tar.gz",
        python_archive=Archive(
            name="cifar-10-python.tar.gz",
            size=170_498_071,
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        ),
        other_archives=("cifar-10-matlab.tar.gz",),
    ),
    "cifar100": TfdsSet(
        summary="CIFAR-100: 60,000 photographs in 100 classes, 32x32 pixels, from tfds, your archive or PNG files.",
        archive="cifar-100-binary.tar.gz",
        python_archive=Archive(
            name="cifar-100-python.tar.gz",
            size=169_001_437,
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            url="https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        ),
        other_archives=("cifar-100-matlab.tar.gz",),
    ),
}
SUMMARIES = {name: known.summary for name, known in TFDS_SETS.items()}


def load(name, image_size, data_dir):
    """Opens CIFAR-10 or CIFAR-100.

    Args:
        name: "cifar10" or "cifar100".
        image_size: height and width to resize to, in pixels; None means 32.
        data_dir: the folder of an archive, a data_dir of tfds that has the dataset prepared, or a folder of image
            files; None downloads it.

    Returns:
        A Dataset.

    Raises:
        InputError: if the archive is missing, damaged or cannot be downloaded; if image files are not the published
            pixels.
    """
    folder = None if data_dir is None else archive_folder(data_dir)
    if folder and _has_image_files(name, folder):
        return exact_copy.load(name, image_size, folder)

    def prepare(writer):
        builder = _builder(name, folder)
        labels = {part: read_labels(builder, part) for part in ("train", "test")}
        train, val = stratified_split(labels["train"], (0.8, 0.2))
        indices = {"train": {"train": train, "val": val}, "test": {"test": np.arange(len(labels["test"]))}}
        class_names, pixels = builder.info.features["label"].names, {}
        for part, chosen in indices.items():
            digests = []
            copy_images(builder, part, labels[part], chosen, image_size, writer, digests)
            pixels[part] = class_digests(digests, labels[part], class_names)
        return class_names, {
            "kind": "tfds",
            "name": name,
            "original": True,
            "pixels_sha256": whole_digest(pixels),
            "version": str(builder.version),
            "split": f"test as published; train divided 80/20, stratified, seed {SPLIT_SEED}",
            "notes": [f"resized to {image_size}x{image_size}"] if image_size else [],
        }

    def open_stream():
        return stream(_builder(name, folder), "train", image_size)

    return prepared(name, {"image_size": image_size}, prepare, open_stream)


def _has_image_files(name, folder):
    """Whether the folder has image files, and no archive beside them."""
    archives = TFDS_SETS[name].archive, TFDS_SETS[name].python_archive.name
    return not any((folder / archive).exists() for archive in archives) and bool(
        set(exact_copy.PARTS) & set(Folder(folder).folders(""))
    )


def _builder(name, folder):
    """The prepared tfds builder: in the folder (None: where tfds keeps its data), or else in our cache."""
    tfds = import_tfds()
    # The archive's folder may be read-only, as on Kaggle.
    for root in (folder, cache_folder() / "tfds"):
        builder = tfds.builder(name, data_dir=root)
        if builder.is_prepared():
            return builder
    archive = _tfds_archive(builder)
    if folder is None:
        found, path = archive, download(name, archive)
    else:
        found, path = find(
            folder,
            [archive, TFDS_SETS[name].python_archive],
            TFDS_SETS[name].other_archives,
            missing=f"neither {name} prepared by tfds ({name}/{builder.version}), nor its images as "
            "{train,test}/<class>/<file>, nor the archive",
        )
    _prepare(builder, path, found != archive, writable_folder(root))
    return tfds.builder(name, data_dir=root)


def _prepare(builder, archive, is_for_python, root):
    """Lets tfds write its data in the folder `root`, from an archive that it reads or one for Python."""
    from kmodels.locks import FileLock

    # Always the same folder, which is empty or left by a process that was killed; so are those of tfds.
    unpacked = root / f"{builder.name}.partial"
    with FileLock(root / f"{builder.name}.lock"):
        for left in (unpacked, *(root / builder.name).glob("incomplete.*")):
            shutil.rmtree(left, ignore_errors=True)
        # Another process may have done it meanwhile.
        if builder.is_prepared():
            return
        if not is_for_python:
            download_and_prepare(builder, archive.parent)
            return
        unpacked.mkdir()
        try:
            write_binary(builder.name, archive, unpacked)
            download_and_prepare(_builder_of_unpacked(builder, root, str(unpacked)))
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


def _tfds_archive(builder):
    """The Archive that tfds reads."""
    wanted = TFDS_SETS[builder.name].archive
    url, info = next((url, info) for url, info in builder.url_infos.items() if info.filename == wanted)
    return Archive(wanted, info.size, info.checksum, url)


def _builder_of_unpacked(builder, root, unpacked):
    """A builder that reads an unpacked archive in the folder `unpacked`; tfds keeps the order of images."""

    class Unpacked:
        def download_and_extract(self, url):
            return unpacked

    class Builder(type(builder), skip_registration=True):
        name = builder.name

        def _split_generators(self, dl_manager):
            return super()._split_generators(Unpacked())

    return Builder(data_dir=root)
