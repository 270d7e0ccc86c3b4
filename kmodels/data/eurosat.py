"""EuroSAT, and a small fixed part of it: RGB satellite images of ten kinds of land use, 64x64 pixels.

It was published without splits. Ours, of `eurosat`: 60/20/20, stratified, with the seed SPLIT_SEED, over the classes in
alphabetical order and the file names of each class in text order: 16,200 images to train, 5,400 val and 5,400 test.
`eurosat_small` is a stratified sample of these, with the same seed: 2,000 of train, 500 of val and 1,000 of test.

Read from EuroSAT.zip, which is downloaded, or from the unpacked folder.

Source: Helber, Bischke, Dengel and Borth, EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land
Cover Classification, IEEE JSTARS 2019, https://github.com/phelber/EuroSAT
"""

from contextlib import closing
from pathlib import Path
from zipfile import is_zipfile

import numpy as np

from kmodels.data.archives import Archive
from kmodels.data.cache import SPLITS, prepared
from kmodels.data.downloads import download
from kmodels.data.file_sources import Zip, innermost, open_files
from kmodels.data.image_files import class_folders, divide, entries, write_images
from kmodels.data.image_notes import describe
from kmodels.data.splits import SPLIT_SEED, stratified_sample
from kmodels.errors import require

ARCHIVE = Archive(
    name="EuroSAT.zip",
    size=94_280_567,
    sha256="8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
    url="http://madm.dfki.de/files/sentinel/EuroSAT.zip",
    mirrors=("https://huggingface.co/datasets/torchgeo/eurosat/resolve/main/EuroSAT.zip",),
)
CLASSES = (
    "AnnualCrop",
    "Forest",
    "HerbaceousVegetation",
    "Highway",
    "Industrial",
    "Pasture",
    "PermanentCrop",
    "Residential",
    "River",
    "SeaLake",
)
# The folder in the zip that contains the class folders.
TOP = "2750"
IMAGES = 27_000
SIDE = 64
SMALL = {"train": 2000, "val": 500, "test": 1000}


def load(name, image_size, data_dir, skip_unreadable=False):
    """Opens `eurosat` or `eurosat_small`.

    Args:
        name: "eurosat" or "eurosat_small".
        image_size: height and width to resize to, in pixels; None means 64.
        data_dir: EuroSAT.zip, its folder, or the unpacked folder; None downloads it.
        skip_unreadable: leave out images that cannot be read, see `load_dataset`.

    Returns:
        A Dataset.

    Raises:
        InputError: if the set is missing, or is another one.
    """
    image_size = image_size or SIDE
    key = {"image_size": image_size, **({"skip_unreadable": True} if skip_unreadable else {})}
    if data_dir is None:

        def prepare(writer):
            with closing(Zip(download([ARCHIVE])[1])) as files:
                return _prepare(name, files, image_size, writer, skip_unreadable)

        return prepared(name, key, prepare)
    with closing(_open(data_dir)) as files:
        key |= {"root": str(files.path), "files": files.fingerprint(lambda: _classes(files).values())}
        return prepared(name, key, lambda writer: _prepare(name, files, image_size, writer, skip_unreadable))


def _open(data_dir):
    """The Folder or Zip that contains the set."""
    zipped = Path(data_dir) / ARCHIVE.name
    return Zip(zipped) if zipped.is_file() else open_files(data_dir, (TOP, *CLASSES))


def _classes(files):
    """{class: ClassFolder}."""
    top = TOP if TOP in files.folders("") else ""
    return class_folders(
        files, innermost(files, top), CLASSES, "EuroSAT", f"Expected: {ARCHIVE}, or the unpacked folder"
    )


def _prepare(name, files, image_size, writer, skip_unreadable):
    if isinstance(files, Zip) and not is_zipfile(files.path):
        # A zip with the same images is accepted; a truncated one gets a message with the expected hash.
        ARCHIVE.check(files.path)
    classes = _classes(files)
    plan = dict(zip(SPLITS, divide(entries(classes), (0.6, 0.2, 0.2), CLASSES), strict=True))
    description = f"60/20/20, stratified, seed {SPLIT_SEED}"
    if name == "eurosat_small":
        plan = {split: _sample(split, images) for split, images in plan.items()}
        sizes = "/".join(f"{n:,}" for n in SMALL.values())
        description = f"{sizes} of those of eurosat ({description}), stratified, same seed"
    tally = write_images(name, files, plan, image_size, writer, skip_unreadable)
    difference = _difference(files, classes, tally)
    notes = difference + describe(files, classes.values(), plan, tally, image_size)
    if name == "eurosat_small":
        notes.insert(0, "a small part of EuroSAT, chosen here with a fixed seed")
    return CLASSES, {
        "kind": "image files",
        "name": name,
        "original": not difference,
        "split": description,
        "formats": dict(sorted(tally.formats.items())),
        "notes": notes,
        **({"unreadable": len(tally.unreadable)} if skip_unreadable else {}),
    }


def _sample(split, images):
    """The entries of a split that belong to `eurosat_small`."""
    require(
        len(images) >= SMALL[split],
        f"eurosat_small takes {SMALL[split]:,} images of {split}, so it needs all of EuroSAT",
        len(images),
    )
    indices = stratified_sample(np.array([entry.label for entry in images]), SMALL[split])
    return [images[i] for i in indices]


def _difference(files, classes, tally):
    """A list with a note on how the images differ from the published set, empty if they do not.

    There is no published checksum for an unpacked folder. It counts as the original if the number of images matches,
    and all images read are JPEG of 64x64 pixels.
    """
    if isinstance(files, Zip):
        difference = ARCHIVE.difference(files.path)
        return [f"not the published {ARCHIVE.name}: {difference}"] if difference else []
    images = sum(len(folder.images) for folder in classes.values())
    read = tally.sizes.total()
    if images == IMAGES and not tally.unreadable and tally.formats["JPEG"] == tally.sizes[SIDE, SIDE] == read:
        return []
    ((width, height), _), *_ = tally.sizes.most_common(1)
    (kind, _), *_ = tally.formats.most_common(1)
    return [f"not the original set: {images:,} of its {IMAGES:,} images, mostly {kind} of {width}x{height} pixels"]
