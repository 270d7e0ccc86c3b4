"""Image files in class folders: listed, divided, and decoded into the cache."""

import io
import os
import posixpath
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from kmodels.data.pictures import fit
from kmodels.data.progress import progress
from kmodels.data.splits import stratified_split
from kmodels.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")

# Images that a thread is handed at a time; handing over each of them would cost small ones a part of their speed.
BLOCK = 64


class ClassFolder(NamedTuple):
    """A folder, named from the top of its place, and the sorted names of its images."""

    path: str
    images: list[str]


class Entry(NamedTuple):
    """An image file, its label, and its place in the source's own order."""

    name: str
    label: int
    index: int


@dataclass
class Tally:
    """How many files had which format, colour mode and size (width, height); hashes of their pixels, in order.

    The hashes are Python's own of 64 bits, for speed; that any two of a million pictures share one by chance happens
    less than once in ten million sets.
    """

    formats: Counter = field(default_factory=Counter)
    modes: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    hashes: list[int] = field(default_factory=list)

    def add(self, other):
        """Takes in the tally of the files that come next."""
        self.formats += other.formats
        self.modes += other.modes
        self.sizes += other.sizes
        self.hashes += other.hashes


def class_folder(place, path):
    """Lists the images of a class.

    Raises:
        InputError: if there is none.
    """
    images = sorted(
        [name for name in place.names(path) if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    )
    if not images:
        inner = place.folders(path)
        hint = f" (only the folders {', '.join(inner[:5])}: is {place.where(path)} what you meant?)" if inner else ""
        raise InputError(f"class folder {place.where(path)} has no image{hint}")
    return ClassFolder(path, images)


def class_folders(place, top, class_names, title, otherwise):
    """Lists the images of every class of a set: {class: ClassFolder}, in the order of `class_names`.

    Args:
        place: a Folder or Zip.
        top: the folder in it that has the class folders, and no other.
        class_names: of the set.
        title: what to call the set in messages.
        otherwise: what to say to those who have something else.

    Raises:
        InputError: if the folders are not those of the classes, or one has no image.
    """
    found = place.folders(top)
    missing = sorted(set(class_names) - set(found))
    others = sorted(set(found) - set(class_names))
    if missing or others:
        differences = [f"it lacks {', '.join(missing)}"] if missing else []
        if others:
            differences.append(f"it has {', '.join(others[:6])}{', ...' if len(others) > 6 else ''}")
        raise InputError(
            f"{place.where(top)} does not have the classes of {title}: {' and '.join(differences)}. {otherwise}"
        )
    return {name: class_folder(place, posixpath.join(top, name)) for name in class_names}


def entries(*parts):
    """One Entry for each image, part by part and class by class.

    Args:
        parts: each a dict {class: ClassFolder}, with the same classes in the same order.
    """
    files = [
        (f"{folder.path}/{image}", label)
        for classes in parts
        for label, folder in enumerate(classes.values())
        for image in folder.images
    ]
    return [Entry(name, label, index) for index, (name, label) in enumerate(files)]


def divide(images, shares):
    """Lists of entries, stratified: one for each share."""
    places = stratified_split(np.array([entry.label for entry in images]), shares)
    return [[images[place] for place in chosen] for chosen in places]


def write_images(title, place, plan, class_names, image_size, writer):
    """Decodes all images into the arrays of a dataset under preparation.

    Args:
        title: what to call the images beside the progress bar.
        place: a Folder or Zip.
        plan: {split: [Entry, ...]}.
        class_names: in the order of the labels.
        image_size: height and width to bring all to, in pixels; None if all have the size of the first.
        writer: a cache.Writer.

    Returns:
        The Tally of the files, in the order of the plan.

    Raises:
        InputError: if a class is missing from a split, a file is no readable image, or sizes differ.
    """
    for split, images in plan.items():
        missing = set(range(len(class_names))) - {entry.label for entry in images}
        if missing:
            few = ", ".join(class_names[label] for label in sorted(missing))
            raise InputError(f"too few images to divide: {split} would have none of {few}")

    size = (image_size, image_size) if image_size else _read(place, plan["train"][0].name)[0].size
    tally = Tally()
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(f"preparing {title}", sum(map(len, plan.values()))) as bar,
    ):
        for split, images in plan.items():
            arrays = writer.split(split, len(images), size[1], size[0])
            arrays.labels[:] = [entry.label for entry in images]
            arrays.index[:] = [entry.index for entry in images]
            decode = partial(_decode_block, place, images, arrays.images, size, image_size)
            # The pool may run ahead: what waits for us is tallies, not pixels. After an error it stops.
            for block in pool.map(decode, range(0, len(images), BLOCK)):
                tally.add(block)
                bar.update(len(block.hashes))
    return tally


def _decode_block(place, images, pixels, size, image_size, start):
    """Decodes BLOCK images, from `start` on, into `pixels`; returns their Tally."""
    tally = Tally()
    for i, entry in enumerate(images[start : start + BLOCK], start=start):
        rgb, kind, mode = _read(place, entry.name)
        if image_size is None:
            _check_size(place, entry.name, rgb, size)
        decoded = np.asarray(rgb)
        pixels[i] = fit(rgb, image_size) if image_size else decoded
        tally.formats[kind] += 1
        tally.modes[mode] += 1
        tally.sizes[rgb.size] += 1
        tally.hashes.append(hash((rgb.size, decoded.tobytes())))
    return tally


def _read(place, name):
    """One file as a Pillow image in RGB, its format and its colour mode."""
    try:
        with Image.open(io.BytesIO(place.read(name))) as image:
            if image.mode not in MODES:
                raise InputError(
                    f"{place.where(name)} has more than 8 bits a channel (mode {image.mode}); save it with 8"
                )
            # Cameras store pictures lying and a note on which side is up.
            ImageOps.exif_transpose(image, in_place=True)
            return image.convert("RGB"), image.format, image.mode
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"cannot read the image {place.where(name)}: no image format that Pillow knows") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the image {place.where(name)}: {error}") from error


def _check_size(place, name, rgb, size):
    if rgb.size != size:
        raise InputError(
            f"the images differ in size: {place.where(name)} is {rgb.width}x{rgb.height}, "
            f"the first is {size[0]}x{size[1]}; give image_size to bring all to one"
        )
