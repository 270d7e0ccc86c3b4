"""What a reader of a record should know of the image files that it was measured on."""

from kmodels.data.image_files import SUFFIXES


def describe(place, class_folders, tally, image_size):
    """The notes, one sentence each.

    Args:
        place: a Folder or Zip.
        class_folders: every ClassFolder that was read.
        tally, image_size: as given to and by `write_images`.
    """
    notes = [f"converted from {mode} to RGB: {n}" for mode, n in sorted(tally.modes.items()) if mode != "RGB"]
    left_out = sum(_others(place, folder.path) for folder in class_folders)
    if left_out:
        notes.append(f"left out, beside the images but without an image ending: {left_out}")
    scaled = tally.sizes.total() - tally.sizes[image_size, image_size]
    if image_size and scaled:
        notes.append(f"scaled to cover {image_size}x{image_size} pixels, what hung over was cut off: {scaled}")
    return notes


def _others(place, folder):
    """How many visible things in the folder are no images."""
    names = [name for name in place.names(folder) if not name.startswith((".", "__"))]
    return sum(not name.lower().endswith(SUFFIXES) for name in names)
