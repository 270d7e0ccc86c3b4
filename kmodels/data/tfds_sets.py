"""Sets that tensorflow-datasets knows: downloaded, or read from the archive that you already have.

tfds downloads, checks the hash, unpacks and decodes; here the pixels are copied once into our memory-mapped cache and
divided by our published split.
"""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmodels.backend import import_tensorflow
from kmodels.data.cache import cache_folder, prepared
from kmodels.data.pictures import fit_arrays
from kmodels.data.progress import progress
from kmodels.data.splits import SPLIT_SEED, stratified_split
from kmodels.errors import InputError, require


@dataclass(frozen=True)
class TfdsSet:
    """What we need to know of a set beyond what tfds knows.

    Attributes:
        archive: the file that tfds reads, by the name under which tfds looks for it.
        other_archives: files of the same data in another format, which people often have instead.
    """

    archive: str
    other_archives: tuple[str, ...] = ()


TFDS_SETS = {
    "cifar10": TfdsSet(
        archive="cifar-10-binary.tar.gz", other_archives=("cifar-10-python.tar.gz", "cifar-10-matlab.tar.gz")
    ),
}


def load(name, image_size, data_dir):
    """Opens a tfds set; see `load_dataset` for `data_dir`."""

    require(data_dir is None or Path(data_dir).is_dir(), "data_dir must be a folder that exists", str(data_dir))

    def prepare(writer):
        builder = _builder(name, data_dir)
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
        return _as_dataset(_builder(name, data_dir), "train")

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


def _builder(name, data_dir):
    """The tfds builder of a set, prepared."""
    # Without these, a machine with no network waits on look-ups of Google's metadata server.
    os.environ.setdefault("NO_GCE_CHECK", "true")
    import_tensorflow()
    import absl.logging
    import tensorflow_datasets as tfds

    # tfds warns of every folder that it looks into in vain.
    absl.logging.set_verbosity(absl.logging.ERROR)

    if data_dir is None:
        builder, manual_dir = tfds.builder(name), None
    else:
        folder = Path(data_dir)
        builder, manual_dir = tfds.builder(name, data_dir=folder), folder
        if not builder.is_prepared():
            # The archive's folder may be read-only, as on Kaggle.
            builder = tfds.builder(name, data_dir=cache_folder() / "tfds")
        if not builder.is_prepared():
            _check_archive(builder, folder)
    if not builder.is_prepared():
        try:
            builder.download_and_prepare(
                download_config=tfds.download.DownloadConfig(manual_dir=manual_dir, try_download_gcs=False)
            )
        except Exception as error:
            url, info = _download(builder)
            raise InputError(
                f"tfds could not download and prepare {name}: {type(error).__name__}: {error}\n"
                f"Download {url} ({info.size:,} bytes) yourself and give its folder as data_dir"
            ) from error
    return builder


def _download(builder):
    """Address and tfds' UrlInfo of the set's archive."""
    archive = TFDS_SETS[builder.name].archive
    return next((url, info) for url, info in builder.url_infos.items() if info.filename == archive)


def _check_archive(builder, folder):
    """Says plainly what is wrong with the archive before tfds would.

    Raises:
        InputError: if the archive is not there, is another format of the data, or is damaged.
    """
    expected = TFDS_SETS[builder.name]
    url, info = _download(builder)
    wanted = f"{expected.archive} ({info.size:,} bytes, sha256 {info.checksum}), from {url}"
    path = folder / expected.archive
    if not path.is_file():
        others = [other for other in expected.other_archives if (folder / other).exists()]
        if others:
            raise InputError(
                f"{folder} has {others[0]}, which holds the same images in a format that tfds does not read. "
                f"Wanted: {wanted}"
            )
        raise InputError(
            f"{folder} has neither {builder.name} prepared by tfds ({builder.name}/{builder.version}) nor the "
            f"archive. Wanted: {wanted}. Without data_dir it is downloaded"
        )
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    if (size, digest) != (info.size, info.checksum):
        raise InputError(f"{path} is damaged or another file: it has {size:,} bytes, sha256 {digest}. Wanted: {wanted}")
