"""EuroSAT, and a small fixed part of it: satellite images of ten kinds of land, red, green and blue, 64x64 pixels.

It was published without splits. Ours, of `eurosat`: 60/20/20, stratified, with the seed SPLIT_SEED, over the classes in
alphabetical order and in each the file names in the order of text: 16,200 images to train, 5,400 val and 5,400 test.
`eurosat_small` is drawn from these, 2,000 of train, 500 of val and 1,000 of test, stratified, with the same seed.

Read from EuroSAT.zip as it is, which tfds downloads, or from the folder of what is in it. Where the server that tfds
asks is down, https://huggingface.co/datasets/torchgeo/eurosat has the same zip; its hash tells.

Source: Helber, Bischke, Dengel and Borth, EuroSAT: A Novel Dataset and Deep Learning Benchmark for Land Use and Land
Cover Classification, IEEE JSTARS 2019, https://github.com/phelber/EuroSAT
"""

from contextlib import closing
from pathlib import Path
from zipfile import is_zipfile

import numpy as np

from kmodels.data.archives import Archive, download
from kmodels.data.cache import SPLITS, prepared
from kmodels.data.image_files import class_folders, divide, entries, write_images
from kmodels.data.image_notes import describe
from kmodels.data.places import Zip, inside, open_place
from kmodels.data.splits import SPLIT_SEED, stratified_sample
from kmodels.errors import require

ARCHIVE = Archive(
    name="EuroSAT.zip",
    size=94_280_567,
    sha256="8ebea626349354c5328b142b96d0430e647051f26efc2dc974c843f25ecf70bd",
    url="http://madm.dfki.de/files/sentinel/EuroSAT.zip",
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
# The folder in the zip that has the class folders.
TOP = "2750"
IMAGES = 27_000
SIDE = 64
SMALL = {"train": 2000, "val": 500, "test": 1000}
SUMMARIES = {
    "eurosat": "EuroSAT: 27,000 satellite images of 10 kinds of land, 64x64 pixels, from tfds, your zip or folder.",
    "eurosat_small": "A fixed part of eurosat: 2,000 images to train, 500 val and 1,000 test.",
}


def load(name, image_size, data_dir):
    """Opens `eurosat` or `eurosat_small`; see `load_dataset` for `data_dir`. An `image_size` of None means 64.

    Raises:
        InputError: if the set is not there, or is another one.
    """
    image_size = image_size or SIDE
    key = {"image_size": image_size}
    if data_dir is None:

        def prepare(writer):
            with closing(Zip(download("eurosat", ARCHIVE))) as place:
                return _prepare(name, place, image_size, writer)

        return prepared(name, key, prepare)
    with closing(_place(data_dir)) as place:
        key |= {"root": str(place.path), "files": place.stamp(lambda: _classes(place).values())}
        return prepared(name, key, lambda writer: _prepare(name, place, image_size, writer))


def _place(data_dir):
    """The Folder or Zip that the set is in."""
    zipped = Path(data_dir) / ARCHIVE.name
    return Zip(zipped) if zipped.is_file() else open_place(data_dir, (TOP, *CLASSES))


def _classes(place):
    """{class: ClassFolder}."""
    top = TOP if TOP in place.folders("") else ""
    return class_folders(place, inside(place, top), CLASSES, "EuroSAT", f"Wanted: {ARCHIVE}, or what is in it")


def _prepare(name, place, image_size, writer):
    if isinstance(place, Zip) and not is_zipfile(place.path):
        # Another zip of the images will do; half of one will not.
        ARCHIVE.check(place.path)
    classes = _classes(place)
    plan = dict(zip(SPLITS, divide(entries(classes), (0.6, 0.2, 0.2)), strict=True))
    how, part = f"60/20/20, stratified, seed {SPLIT_SEED}", {}
    if name == "eurosat_small":
        plan = {split: _sample(split, images) for split, images in plan.items()}
        how = f"{'/'.join(f'{n:,}' for n in SMALL.values())} of those of eurosat ({how}), stratified, same seed"
        # Numbers measured on a part do not stand beside published ones.
        part = {"subset": SMALL["train"] + SMALL["val"]}
    tally = write_images(name, place, plan, CLASSES, image_size, writer)
    difference = _difference(place, classes, tally)
    notes = difference + describe(place, classes.values(), plan, tally, image_size)
    if part:
        notes.insert(0, "a small part of EuroSAT that was chosen here, the same for everyone")
    for note in notes:
        print(f"{name}: {note}")
    return CLASSES, {
        "kind": "image files",
        "name": name,
        "original": not difference,
        "split": how,
        "formats": dict(sorted(tally.formats.items())),
        "notes": notes,
        **part,
    }


def _sample(split, images):
    """The part of a split's entries that `eurosat_small` has."""
    require(
        len(images) >= SMALL[split],
        f"eurosat_small takes {SMALL[split]:,} images of {split}, so it needs the whole of EuroSAT",
        len(images),
    )
    places = stratified_sample(np.array([entry.label for entry in images]), SMALL[split])
    return [images[place] for place in places]


def _difference(place, classes, tally):
    """The note that tells these images from the original set; none if the zip is the published one.

    There is no published checksum of files in a folder: they are the original if they are as many, and those read are
    JPEG and of its size.
    """
    if isinstance(place, Zip):
        difference = ARCHIVE.difference(place.path)
        return [f"not the published {ARCHIVE.name}: {difference}"] if difference else []
    images = sum(len(folder.images) for folder in classes.values())
    read = tally.sizes.total()
    if images == IMAGES and tally.formats["JPEG"] == tally.sizes[SIDE, SIDE] == read:
        return []
    ((width, height), _), *_ = tally.sizes.most_common(1)
    (kind, _), *_ = tally.formats.most_common(1)
    return [f"not the original set: {images:,} of its {IMAGES:,} images, mostly {kind} of {width}x{height} pixels"]
