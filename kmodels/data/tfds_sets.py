"""Sets that tensorflow-datasets knows: downloaded, or read from the archive that you already have.

tfds downloads, checks the hash, unpacks and encodes; here the pixels are copied once into our memory-mapped cache and
divided by our published split. An archive pickled by Python 2 is rewritten for tfds first, so that whichever you have,
images, order and split are the same.
"""

from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from kmodels.data.archives import Archive, archive_folder, download, find, import_tfds
from kmodels.data.cache import cache_folder, prepared
from kmodels.data.cifar_python import write_binary
from kmodels.data.pictures import fit_arrays
from kmodels.data.progress import progress
from kmodels.data.splits import SPLIT_SEED, stratified_split
from kmodels.errors import InputError
from kmodels.files import writable_folder


@dataclass(frozen=True)
class TfdsSet:
    """What we need to know of a set beyond what tfds knows.

    Attributes:
        summary: one line on it.
        archive: the file that tfds reads, by the name under which tfds looks for it.
        python_archive: the Archive of the same images that `cifar_python` reads.
        other_archives: files of the same data in a format that nobody reads here, which people may have instead.
    """

    summary: str
    archive: str
    python_archive: Archive
    other_archives: tuple[str, ...] = ()


# The hashes of the python archives are those that Keras publishes.
TFDS_SETS = {
    "cifar10": TfdsSet(
        summary="CIFAR-10: 60,000 photographs of 10 kinds of things, 32x32 pixels, from tfds or your archive.",
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
        summary="CIFAR-100: 60,000 photographs of 100 kinds of things, 32x32 pixels, from tfds or your archive.",
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
    """Opens a tfds set; see `load_dataset` for `data_dir`."""

    folder = None if data_dir is None else archive_folder(data_dir)

    def prepare(writer):
        builder = _builder(name, folder)
        labels = {part: _labels(builder, part) for part in ("train", "test")}
        train, val = stratified_split(labels["train"], (0.8, 0.2))
        _copy(builder, "train", labels["train"], {"train": train, "val": val}, image_size, writer)
        _copy(builder, "test", labels["test"], {"test": np.arange(len(labels["test"]))}, image_size, writer)
        return builder.info.features["label"].names, {
            "kind": "tfds",
            "name": name,
            "original": True,
            "version": str(builder.version),
            "split": f"test as published; train divided 80/20, stratified, seed {SPLIT_SEED}",
            "notes": [f"resized to {image_size}x{image_size}"] if image_size else [],
        }

    def stream():
        return _as_dataset(_builder(name, folder), "train")

    return prepared(name, {"image_size": image_size}, prepare, stream)


def _as_dataset(builder, part, **options):
    """Images and labels in the one order that our split's indices count in."""
    return builder.as_dataset(split=part, as_supervised=True, shuffle_files=False, **options)


def _labels(builder, part):
    import tensorflow_datasets as tfds

    encoded = _as_dataset(builder, part, decoders={"image": tfds.decode.SkipDecoding()})
    return np.fromiter((label for _, label in encoded.as_numpy_iterator()), np.int32)


def _copy(builder, part, labels, places, image_size, writer):
    """Copies one part into the splits {name: places in the part}, a block at a time."""
    splits = {}
    blocks = _as_dataset(builder, part).batch(1000).as_numpy_iterator()
    with progress(f"reading {builder.name} {part}", len(labels)) as bar:
        start = 0
        for block, _ in blocks:
            images = fit_arrays(block, image_size)
            for name, chosen in places.items():
                if name not in splits:
                    splits[name] = writer.split(name, len(chosen), *images.shape[1:3])
                    splits[name].labels[:], splits[name].index[:] = labels[chosen], chosen
                first, last = np.searchsorted(chosen, (start, start + len(block)))
                splits[name].images[first:last] = images[chosen[first:last] - start]
            start += len(block)
            bar.update(len(block))


def _builder(name, folder):
    """The tfds builder of a set, prepared: in the folder (None: where tfds keeps its data) or else in our cache."""
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
            lacks=f"neither {name} prepared by tfds ({name}/{builder.version}) nor the archive",
        )
    if found == archive:
        _prepare(builder, path.parent)
        return builder
    with TemporaryDirectory(dir=writable_folder(root)) as unpacked:
        write_binary(name, path, Path(unpacked))
        _prepare(_builder_of_unpacked(builder, root, unpacked))
    return tfds.builder(name, data_dir=root)


def _tfds_archive(builder):
    """The Archive that tfds reads."""
    wanted = TFDS_SETS[builder.name].archive
    url, info = next((url, info) for url, info in builder.url_infos.items() if info.filename == wanted)
    return Archive(wanted, info.size, info.checksum, url)


def _prepare(builder, folder=None):
    """Lets tfds write its files; `folder` is where the archive is."""
    import tensorflow_datasets as tfds

    try:
        builder.download_and_prepare(
            download_config=tfds.download.DownloadConfig(manual_dir=folder, try_download_gcs=False)
        )
    except Exception as error:
        raise InputError(f"tfds could not prepare {builder.name}: {type(error).__name__}: {error}") from error


def _builder_of_unpacked(builder, root, unpacked):
    """As the builder, but reading the folder of what would be in its archive; tfds' order of images is the same."""

    class Unpacked:
        def download_and_extract(self, url):
            return unpacked

    class Builder(type(builder), skip_registration=True):
        name = builder.name

        def _split_generators(self, dl_manager):
            return super()._split_generators(Unpacked())

    return Builder(data_dir=root)
