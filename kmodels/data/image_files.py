"""Image files in class folders: list them, divide them and decode them into the cache."""

import os
import posixpath
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kmodels.data.file_sources import Folder
from kmodels.data.image_notes import unreadable_here
from kmodels.data.pillow_reading import UnreadableError, image_suffixes, open_rgb, pillow_warnings, suffix_of
from kmodels.data.pixel_digests import image_digest
from kmodels.data.progress import progress
from kmodels.data.resizing import resize_and_crop
from kmodels.data.splits import check_class_sizes, stratified_split
from kmodels.errors import InputError, shorten

# Images in one task of the thread pool. One image a task is measurably slower for small images.
BLOCK = 64


class ClassFolder(NamedTuple):
    """The path of a folder, from the top of its Folder or Zip, and the sorted names of its images.

    Images in folders inside it are its images too; their names begin with those folders.
    """

    path: str
    images: list[str]


class Entry(NamedTuple):
    """The path of an image file, its label, and its index in the source's own order."""

    name: str
    label: int
    index: int


@dataclass
class Tally:
    """Counts of the formats, colour modes and sizes (width, height) of files, and digests of their pixels, in order.

    `transparent` is how many have transparent pixels, `several` how many have further frames or pages. `unreadable` is
    {name: reason} of the files that cannot be read; their digest is None. `warnings` are those of Pillow.
    """

    formats: Counter = field(default_factory=Counter)
    modes: Counter = field(default_factory=Counter)
    sizes: Counter = field(default_factory=Counter)
    transparent: int = 0
    several: int = 0
    digests: list[bytes | None] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def add(self, other):
        """Adds the tally of the files that follow."""
        self.formats += other.formats
        self.modes += other.modes
        self.sizes += other.sizes
        self.transparent += other.transparent
        self.several += other.several
        self.digests += other.digests
        self.unreadable |= other.unreadable


def class_folder(files, path):
    """Lists the images of a class.

    Args:
        files: a Folder or Zip.
        path: of the class folder in it.

    Returns:
        A ClassFolder; it may have no image.
    """
    suffixes = image_suffixes()
    return ClassFolder(path, sorted(name for name in files.walk(path) if suffix_of(name) in suffixes))


def images_inside(folder):
    """Paths of the images in a folder and in the folders inside it, sorted.

    Args:
        folder: its path.

    Raises:
        InputError: if there is none.
    """
    found = class_folder(Folder(folder), "")
    if not found.images:
        others = unreadable_here(Folder(folder), [found])
        raise InputError(f"there is no image file in the folder {folder}{others and f'. Found {others}'}")
    return [Path(folder) / name for name in found.images]


def require_images(files, folders, remedy):
    """Raises an InputError that names every class folder without an image.

    Args:
        files: a Folder or Zip.
        folders: ClassFolders of it.
        remedy: what to do, for the message.
    """
    empty = [folder for folder in folders if not folder.images]
    if not empty:
        return
    others = unreadable_here(files, empty)
    names = shorten(str(files.where(folder.path)) for folder in empty)
    what = "this folder has" if len(empty) == 1 else "these folders have"
    raise InputError(f"{what} no image: {names}. {others and f'Found {others}. '}{remedy}")


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
    classes = {name: class_folder(files, posixpath.join(top, name)) for name in class_names}
    require_images(files, classes.values(), f"{title} has images of every class: copy them again")
    return classes


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


def write_images(title, files, plan, image_size, writer, skip_unreadable=False):
    """Decodes all images into the arrays of a dataset under preparation.

    Args:
        title: name of the set, for the progress bar.
        files: a Folder or Zip.
        plan: {split: [Entry, ...]}.
        image_size: height and width to resize to, in pixels; None if all images have the size of the first.
        writer: a cache.Writer.
        skip_unreadable: leave out files that cannot be read. The other images stay in their splits.

    Returns:
        The Tally of the files, in the order of the plan.

    Raises:
        InputError: if files are not readable images, or a split would be left without an image of a class; if sizes
            differ and `image_size` is None.
    """
    with pillow_warnings() as warnings:
        tally = _decode(title, files, plan, image_size, writer)
    tally.warnings = warnings
    if tally.unreadable:
        if not skip_unreadable:
            _refuse(files, tally)
        _leave_out(files, plan, tally.unreadable, writer)
    return tally


def _decode(title, files, plan, image_size, writer):
    size = (image_size, image_size) if image_size else _first_size(files, plan)
    tally, given_up = Tally(), threading.Event()
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(f"preparing {title}", sum(map(len, plan.values()))) as bar,
    ):
        for split, images in plan.items():
            arrays = writer.split(split, len(images), size[1], size[0])
            arrays.labels[:] = [entry.label for entry in images]
            arrays.index[:] = [entry.index for entry in images]
            writer.files(split, [entry.name for entry in images])
            decode = partial(_decode_block, files, images, arrays.images, size, image_size, given_up)
            # Blocks write their pixels themselves and return only tallies: results that wait here need little memory.
            try:
                for block in pool.map(decode, range(0, len(images), BLOCK)):
                    tally.add(block)
                    bar.update(len(block.digests))
            except BaseException:
                # Else the pool ends when the blocks at work are complete, a minute later.
                given_up.set()
                raise
    return tally


def _first_size(files, plan):
    """(width, height) of the first image that can be read."""
    for entry in (entry for images in plan.values() for entry in images):
        try:
            with open_rgb(files, entry.name) as opened:
                return opened.size
        except UnreadableError:
            continue
    # None can be read: decoding names them all.
    return 1, 1


def _decode_block(files, images, pixels, size, image_size, given_up, start):
    """Decodes up to BLOCK images, from `start` on, into `pixels`, unless all is given up; returns their Tally."""
    tally = Tally()
    for i, entry in enumerate(images[start : start + BLOCK], start=start):
        if given_up.is_set():
            break
        try:
            opened, digest = _decode_image(files, entry.name, pixels, i, size, image_size)
        except UnreadableError as error:
            tally.unreadable[entry.name] = str(error)
            tally.digests.append(None)
        else:
            tally.formats[opened.format] += 1
            tally.modes[opened.mode] += 1
            tally.sizes[opened.size] += 1
            tally.transparent += opened.transparent
            tally.several += opened.several
            tally.digests.append(digest)
    return tally


def _decode_image(files, name, pixels, i, size, image_size):
    """Decodes one image into `pixels[i]`; returns its Opened without the image, and the digest of its pixels.

    A function of its own: nothing of the image stays in memory until the thread has decoded the next.
    """
    with open_rgb(files, name, image_size and size) as opened:
        if image_size is None:
            _check_size(files, name, opened.size, size)
        decoded = opened.image.tobytes()
        if image_size:
            pixels[i] = resize_and_crop(opened.image, image_size)
        else:
            pixels[i] = np.frombuffer(decoded, np.uint8).reshape(size[1], size[0], 3)
        return opened._replace(image=None), image_digest(decoded, *opened.image.size)


def _check_size(files, name, found, size):
    if found != size:
        raise InputError(
            f"the images differ in size: {files.where(name)} is {found[0]}x{found[1]}, "
            f"the first is {size[0]}x{size[1]}; give image_size (--image-size) to resize them"
        )


def _refuse(files, tally):
    """Raises an InputError that names the first unreadable files, and says how many there are."""
    names = [f"{files.where(name)}: {reason}" for name, reason in tally.unreadable.items()]
    count = "the image" if len(names) == 1 else f"{len(names):,} of {len(tally.digests):,} images:"
    raise InputError(
        f"cannot read {count} {shorten(names)}. Repair or delete what cannot be read, or leave it out: "
        "skip_unreadable=True, on the command line --skip-unreadable"
    )


def _leave_out(files, plan, unreadable, writer):
    """Removes unreadable images from the arrays."""
    for split, images in plan.items():
        kept = [i for i, entry in enumerate(images) if entry.name not in unreadable]
        lost = {entry.label: entry.name for entry in images}
        for i in kept:
            lost.pop(images[i].label, None)
        if lost:
            folders = shorten(str(files.where(posixpath.dirname(name))) for name in lost.values())
            raise InputError(f"no image of {split} in {folders} can be read; a split needs an image of each class")
        if len(kept) < len(images):
            writer.keep(split, kept)
