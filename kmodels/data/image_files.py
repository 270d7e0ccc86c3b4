"""Image files in class folders: list them, divide them and decode them into the cache."""

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

from kmodels.data.progress import progress
from kmodels.data.resizing import resize_and_crop
from kmodels.data.splits import check_class_sizes, stratified_split
from kmodels.errors import InputError, shorten

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

# Colour modes of Pillow with at most 8 bits a channel. Converting others to RGB would clip them silently.
MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")

# Images in one task of the thread pool. One image a task is measurably slower for small images.
BLOCK = 64


class ClassFolder(NamedTuple):
    """The path of a folder, from the top of its Folder or Zip, and the sorted names of its images."""

    path: str
    images: list[str]


class Entry(NamedTuple):
    """The path of an image file, its label, and its index in the source's own order."""

    name: str
    label: int
    index: int


@dataclass
class Tally:
    """Counts of the formats, colour modes and sizes (width, height) of files, and hashes of their pixels, in order.

    The hashes are Python's own, of 64 bits, for speed. The chance that two of a million different images share one is
    below 1e-7.
    """

    formats: Counter = field(default_factory=Counter)
    modes: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    hashes: list[int] = field(default_factory=list)

    def add(self, other):
        """Adds the tally of the files that follow."""
        self.formats += other.formats
        self.modes += other.modes
        self.sizes += other.sizes
        self.hashes += other.hashes


def class_folder(files, path):
    """Lists the images of a class.

    Args:
        files: a Folder or Zip.
        path: of the class folder in it.

    Returns:
        A ClassFolder.

    Raises:
        InputError: if the folder has no image.
    """
    images = sorted(
        [name for name in files.names(path) if name.lower().endswith(SUFFIXES) and not name.startswith(".")]
    )
    if not images:
        inner = files.folders(path)
        hint = f" (only the folders {shorten(inner)}: did you mean {files.where(path)}?)" if inner else ""
        raise InputError(f"class folder {files.where(path)} has no image{hint}")
    return ClassFolder(path, images)


def class_folders(files, top, class_names, title, hint):
    """Lists the images of every class of a set: {class: ClassFolder}, in the order of `class_names`.

    Args:
        files: a Folder or Zip.
        top: path of the folder in it that has the class folders and no other folder.
        class_names: of the set.
        title: name of the set, for messages.
        hint: end of the message if the folders are not those of the set.

    Raises:
        InputError: if other class folders are found, or one has no image.
    """
    found = files.folders(top)
    missing = sorted(set(class_names) - set(found))
    others = sorted(set(found) - set(class_names))
    if missing or others:
        differences = [f"missing: {', '.join(missing)}"] if missing else []
        if others:
            differences.append(f"unexpected: {shorten(others)}")
        raise InputError(
            f"{files.where(top)} does not have the class folders of {title}: {'; '.join(differences)}. {hint}"
        )
    return {name: class_folder(files, posixpath.join(top, name)) for name in class_names}


def entries(*parts):
    """One Entry for each image, part by part and class by class.

    Args:
        *parts: each a dict {class: ClassFolder}, with the same classes in the same order.

    Returns:
        A list of Entry, whose index counts from 0 over all parts.
    """
    images = [
        (f"{folder.path}/{image}", label)
        for classes in parts
        for label, folder in enumerate(classes.values())
        for image in folder.images
    ]
    return [Entry(name, label, index) for index, (name, label) in enumerate(images)]


def divide(images, fractions, class_names):
    """Divides entries by `stratified_split`.

    Args:
        images: a list of Entry.
        fractions: the share of each part; they sum to 1.
        class_names: in the order of the labels.

    Returns:
        A list of Entry for each fraction.

    Raises:
        InputError: if a part would have no image of a class.
    """
    labels = np.array([entry.label for entry in images])
    check_class_sizes(labels, fractions, class_names)
    return [[images[i] for i in indices] for indices in stratified_split(labels, fractions)]


def write_images(title, files, plan, image_size, writer):
    """Decodes all images into the arrays of a dataset under preparation.

    Args:
        title: name of the set, for the progress bar.
        files: a Folder or Zip.
        plan: {split: [Entry, ...]}.
        image_size: height and width to resize to, in pixels; None if all images have the size of the first.
        writer: a cache.Writer.

    Returns:
        The Tally of the files, in the order of the plan.

    Raises:
        InputError: if a file is not a readable image, or sizes differ and `image_size` is None.
    """
    size = (image_size, image_size) if image_size else _read(files, plan["train"][0].name)[0].size
    tally = Tally()
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(f"preparing {title}", sum(map(len, plan.values()))) as bar,
    ):
        for split, images in plan.items():
            arrays = writer.split(split, len(images), size[1], size[0])
            arrays.labels[:] = [entry.label for entry in images]
            arrays.index[:] = [entry.index for entry in images]
            decode = partial(_decode_block, files, images, arrays.images, size, image_size)
            # Blocks write their pixels themselves and return only tallies: results that wait here need little memory.
            for block in pool.map(decode, range(0, len(images), BLOCK)):
                tally.add(block)
                bar.update(len(block.hashes))
    return tally


def _decode_block(files, images, pixels, size, image_size, start):
    """Decodes up to BLOCK images, from `start` on, into `pixels`; returns their Tally."""
    tally = Tally()
    for i, entry in enumerate(images[start : start + BLOCK], start=start):
        rgb, kind, mode = _read(files, entry.name)
        if image_size is None:
            _check_size(files, entry.name, rgb, size)
        decoded = np.asarray(rgb)
        pixels[i] = resize_and_crop(rgb, image_size) if image_size else decoded
        tally.formats[kind] += 1
        tally.modes[mode] += 1
        tally.sizes[rgb.size] += 1
        tally.hashes.append(hash((rgb.size, decoded.tobytes())))
    return tally


def _read(files, name):
    """Returns one file as an RGB Pillow image, its format and its colour mode."""
    try:
        with Image.open(io.BytesIO(files.read(name))) as image:
            if image.mode not in MODES:
                raise InputError(
                    f"{files.where(name)} has more than 8 bits a channel (mode {image.mode}); save it with 8 bits"
                )
            # Cameras store the orientation beside the pixels instead of rotating them.
            ImageOps.exif_transpose(image, in_place=True)
            return image.convert("RGB"), image.format, image.mode
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(f"cannot read the image {files.where(name)}: not an image format that Pillow knows") from error
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the image {files.where(name)}: {error}") from error


def _check_size(files, name, rgb, size):
    if rgb.size != size:
        raise InputError(
            f"the images differ in size: {files.where(name)} is {rgb.width}x{rgb.height}, "
            f"the first is {size[0]}x{size[1]}; give image_size to resize them"
        )
