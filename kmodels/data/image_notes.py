"""Notes on image files for readers of a record: conversions, files left out, copies in several splits or classes."""

import posixpath
from collections import Counter, defaultdict

from kmodels.data.pillow_reading import suffix_of
from kmodels.errors import shorten
from kmodels.text import printable

# Endings of photographs of phones and cameras, which other programs turn into JPEG. (Packages that are installed may
# read some of them.)
HEIC_AND_RAW = {
    ".heic", ".heif", ".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".pef", ".raf", ".raw", ".rw2", ".srw",
}  # fmt: skip


def were_unreadable_left_out(source):
    """Whether images that cannot be read were left out instead of being refused, by the source of a Dataset."""
    return "unreadable" in source


def unreadable_here(files, class_folders):
    """A phrase on the files in folders whose names are not of images that can be read here; "" where there are none.

    Args:
        files: a Folder or Zip.
        class_folders: ClassFolders of it.
    """
    names = [name for folder in class_folders for name in set(files.walk(folder.path)) - set(folder.images)]
    if not names:
        return ""
    counts = Counter(suffix_of(name) or "no extension" for name in names)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
    kinds = shorten(f"{suffix} {number:,}" for suffix, number in ordered)
    number = "1 file" if len(names) == 1 else f"{len(names):,} files"
    remedy = "; convert HEIC and RAW to JPEG first" if HEIC_AND_RAW & set(counts) else ""
    return printable(f"{number} that cannot be read here ({kinds}){remedy}")


def describe(files, class_folders, plan, tally, image_size):
    """Describes what was read.

    Args:
        files: a Folder or Zip.
        class_folders: every ClassFolder that was read.
        plan: as given to `write_images`.
        tally: as returned by `write_images`.
        image_size: as given to `write_images`.

    Returns:
        A list of notes, one line each; names in them may be of anything, and are shown as `printable` does.
    """
    notes = []
    if tally.unreadable:
        reasons = shorten(f"{name}: {reason}" for name, reason in tally.unreadable.items())
        notes.append(f"unreadable images, left out: {len(tally.unreadable)} ({reasons})")
    notes += [f"converted from {mode} to RGB: {n}" for mode, n in sorted(tally.modes.items()) if mode != "RGB"]
    if tally.transparent:
        notes.append(f"images with transparent pixels, read in the colours stored under them: {tally.transparent}")
    if tally.several:
        notes.append(f"files of several frames or pages, of which the first is read: {tally.several}")
    if others := unreadable_here(files, class_folders):
        notes.append(f"left out: {others}")
    inner = [f"{folder.path}/{name}" for folder in class_folders for name in folder.images if "/" in name]
    if inner:
        folders = dict.fromkeys(map(posixpath.dirname, inner))
        notes.append(
            f"images in folders inside class folders, read as of that class: {len(inner)} ({shorten(folders)})"
        )
    if tally.warnings:
        notes.append(f"Pillow warned: {shorten(tally.warnings, 3)}")
    scaled = tally.sizes.total() - tally.sizes[image_size, image_size]
    if image_size and scaled:
        notes.append(f"resized to cover {image_size}x{image_size} pixels and center-cropped: {scaled}")
    return [printable(note) for note in notes + _copies(plan, tally.digests)]


def _copies(plan, digests):
    """Notes on identical images in more than one split, and on those under several labels in one, if there are any."""
    repeated = {pixels for pixels, times in Counter(digests).items() if times > 1 and pixels is not None}
    duplicates = defaultdict(list)
    images = [(split, entry) for split, part in plan.items() for entry in part]
    for pixels, image in zip(digests, images, strict=True):
        if pixels in repeated:
            duplicates[pixels].append(image)
    spread = [copies for copies in duplicates.values() if len({split for split, _ in copies}) > 1]
    notes = []
    if spread:
        # Different labels first: they are the worse mistake.
        spread.sort(key=_labels, reverse=True)
        relabelled = sum(_labels(copies) > 1 for copies in spread)
        notes.append(
            f"identical images in different splits: {len(spread)}, with different labels: {relabelled} "
            f"({_examples(spread)})"
        )
    one_split = [copies for copies in duplicates.values() if len({split for split, _ in copies}) == 1]
    within = [copies for copies in one_split if _labels(copies) > 1]
    if within:
        notes.append(f"identical images in one split with different labels: {len(within)} ({_examples(within)})")
    return notes


def _examples(groups):
    # One file of each split and label is enough.
    return "; ".join(
        " = ".join({(split, entry.label): entry.name for split, entry in copies}.values()) for copies in groups[:3]
    )


def _labels(copies):
    return len({entry.label for _, entry in copies})
