"""What a reader of a record should know of the image files that it was measured on."""

from collections import Counter, defaultdict

from kmodels.data.image_files import SUFFIXES


def describe(place, class_folders, plan, tally, image_size):
    """The notes, one sentence each.

    Args:
        place: a Folder or Zip.
        class_folders: every ClassFolder that was read.
        plan, tally, image_size: as given to and by `write_images`.
    """
    notes = [f"converted from {mode} to RGB: {n}" for mode, n in sorted(tally.modes.items()) if mode != "RGB"]
    left_out = sum(_others(place, folder.path) for folder in class_folders)
    if left_out:
        notes.append(f"left out, beside the images but without an image ending: {left_out}")
    scaled = tally.sizes.total() - tally.sizes[image_size, image_size]
    if image_size and scaled:
        notes.append(f"scaled to cover {image_size}x{image_size} pixels, what hung over was cut off: {scaled}")
    return notes + _copies(plan, tally.hashes)


def _others(place, folder):
    """How many visible things in the folder are no images."""
    names = [name for name in place.names(folder) if not name.startswith((".", "__"))]
    return sum(not name.lower().endswith(SUFFIXES) for name in names)


def _copies(plan, hashes):
    """The note on pictures that stand in more than one split, if any does."""
    repeated = {pixels for pixels, times in Counter(hashes).items() if times > 1}
    pictures = defaultdict(list)
    images = [(split, entry) for split, part in plan.items() for entry in part]
    for pixels, image in zip(hashes, images, strict=True):
        if pixels in repeated:
            pictures[pixels].append(image)
    spread = [copies for copies in pictures.values() if len({split for split, _ in copies}) > 1]
    if not spread:
        return []
    # Those under different labels first: they are the worse ones.
    spread.sort(key=_labels, reverse=True)
    relabelled = sum(_labels(copies) > 1 for copies in spread)
    # One file of each split and label is enough of an example.
    examples = [
        " = ".join({(split, entry.label): entry.name for split, entry in copies}.values()) for copies in spread[:3]
    ]
    return [
        f"the same picture, pixel for pixel, in different splits: {len(spread)}, "
        f"with different labels: {relabelled} ({'; '.join(examples)})"
    ]


def _labels(copies):
    return len({entry.label for _, entry in copies})
