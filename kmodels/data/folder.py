"""Your own pictures: a folder with one folder a class.

Either `<split>/<class>/<file>` with the splits train and test, and val where there is one (else a fifth of train is
set apart), or `<class>/<file>`, split 60/20/20 here. Both splits are stratified and fixed.
"""

import collections
import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from kmodels.data.cache import SPLITS, prepared
from kmodels.data.pictures import fit
from kmodels.data.progress import progress
from kmodels.data.splits import SPLIT_SEED, stratified_split
from kmodels.errors import InputError, require

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}
SUFFIXES = (".jpg", ".jpeg", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".ppm", ".pgm")

MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")


def load(name, image_size, data_dir):
    """Opens the folder `data_dir`.

    Raises:
        InputError: if there is no such folder, a class has no image, a file is not a readable image, or the images
            differ in size and no `image_size` was given.
    """
    require(data_dir is not None, "dataset 'folder' needs data_dir, the folder of your images", data_dir)
    root = Path(data_dir).resolve()
    require(root.is_dir(), "data_dir must be a folder that exists", str(data_dir))
    try:
        files = _list(root)
    except OSError as error:
        raise InputError(f"cannot read {error.filename}: {error.strerror}") from error

    def prepare(writer):
        return _prepare(root.name, files, image_size, writer)

    return prepared(name, {"root": str(root), "image_size": image_size, "files": files}, prepare)


def _list(root):
    """{split or "": {class: [(path, bytes, time of change), ...]}}, all sorted."""
    folders = _folders(root)
    splits = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.name.lower())
        if split and split in splits:
            raise InputError(f"{root} has two folders for {split}: {splits[split].name} and {folder.name}")
        splits[split] = folder
    if None in splits and {"train", "test"} <= set(splits):
        strays = [folder.name for folder in folders if folder.name.lower() not in SPLIT_NAMES]
        raise InputError(f"{root} has train and test, and also {', '.join(strays)}, which is no split; move it away")
    if None in splits or not splits:
        return {"": _classes(root, folders)}
    for wanted in ("train", "test"):
        if wanted not in splits:
            raise InputError(
                f"{root} has the splits {', '.join(sorted(splits))} but no {wanted}; give train and test "
                "(and val, or a fifth of train is set apart), or one folder a class and no split folders"
            )
    files = {split: _classes(folder, _folders(folder)) for split, folder in splits.items()}
    for split, classes in files.items():
        if list(classes) != list(files["train"]):
            differing = sorted(set(classes) ^ set(files["train"]))
            raise InputError(f"{root}: train and {split} have different classes: {', '.join(differing)}")
    return files


def _folders(root):
    # What begins with "." or "__" comes from the system (.DS_Store, __MACOSX).
    return sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith((".", "__")))


def _classes(root, folders):
    if len(folders) < 2:
        found = ", ".join(folder.name for folder in folders) or "none"
        hint = f"; is {folders[0]} what you meant?" if folders and len(_folders(folders[0])) > 1 else ""
        raise InputError(f"{root} needs at least two class folders. Found: {found}{hint}")
    classes = {folder.name: _images(folder) for folder in folders}
    for folder in folders:
        if not classes[folder.name]:
            inner = [path.name for path in _folders(folder)]
            hint = f" (only the folders {', '.join(inner[:5])}: is {folder} what you meant?)" if inner else ""
            raise InputError(f"class folder {folder} has no image{hint}")
    return classes


def _images(folder):
    with os.scandir(folder) as entries:
        return sorted(
            (entry.path, entry.stat().st_size, entry.stat().st_mtime_ns)
            for entry in entries
            if entry.name.lower().endswith(SUFFIXES) and not entry.name.startswith(".")
        )


def _prepare(name, files, image_size, writer):
    class_names = list(next(iter(files.values())))
    plan, how = _plan(files)
    for split, entries in plan.items():
        missing = set(range(len(class_names))) - {label for _, label, _ in entries}
        if missing:
            few = ", ".join(class_names[label] for label in sorted(missing))
            raise InputError(f"too few images to divide: {split} would have none of {few}")

    first, _, _ = plan["train"][0]
    size = (image_size, image_size) if image_size else _size(first)
    formats, modes = collections.Counter(), collections.Counter()
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(f"preparing {name}", sum(map(len, plan.values()))) as bar,
    ):
        decode = partial(_decode, size=size, image_size=image_size)
        for split, entries in plan.items():
            paths, labels, index = zip(*entries, strict=True)
            arrays = writer.split(split, len(entries), size[1], size[0])
            arrays.labels[:], arrays.index[:] = labels, index
            # A block at a time: memory stays small, and a broken file ends the work at once.
            for start in range(0, len(paths), 1024):
                block = paths[start : start + 1024]
                for i, (pixels, kind, mode) in enumerate(pool.map(decode, block), start=start):
                    arrays.images[i] = pixels
                    formats[kind] += 1
                    modes[mode] += 1
                bar.update(len(block))
    notes = _notes(files, image_size, formats, modes)
    for note in notes:
        print(f"{name}: {note}")
    return class_names, {
        "kind": "folder",
        "name": name,
        "split": how,
        "formats": dict(sorted(formats.items())),
        "notes": notes,
    }


def _plan(files):
    """{split: [(path, label, place in its folder's order), ...]} and how it was divided, in words."""
    found = {}
    for part, classes in files.items():
        flat = [(path, label) for label, entries in enumerate(classes.values()) for path, _, _ in entries]
        found[part] = [(path, label, place) for place, (path, label) in enumerate(flat)]

    def divide(part, shares):
        places = stratified_split(np.array([label for _, label, _ in found[part]]), shares)
        return [[found[part][place] for place in chosen] for chosen in places]

    if "" in found:
        plan = dict(zip(SPLITS, divide("", (0.6, 0.2, 0.2)), strict=True))
        return plan, f"60/20/20, stratified, seed {SPLIT_SEED}"
    if "val" in found:
        return {split: found[split] for split in SPLITS}, "as in the folder"
    train, val = divide("train", (0.8, 0.2))
    how = f"test as in the folder; train divided 80/20, stratified, seed {SPLIT_SEED}"
    return {"train": train, "val": val, "test": found["test"]}, how


def _notes(files, image_size, formats, modes):
    """What a reader of a record should know of the images, one sentence each."""
    notes = []
    if formats["JPEG"]:
        notes.append("JPEG images; JPEG is lossy, so a copy of another set is not equal to its original")
    for mode, number in sorted(modes.items()):
        if mode != "RGB":
            notes.append(f"converted from {mode} to RGB: {number}")
    left_out = sum(_others(entries[0][0]) for classes in files.values() for entries in classes.values())
    if left_out:
        notes.append(f"left out, beside the images but without an image ending: {left_out}")
    if image_size:
        notes.append(f"scaled to cover {image_size}x{image_size} pixels, what hung over was cut off")
    return notes


def _others(image):
    """How many visible things in the image's folder are no images."""
    names = [name for name in os.listdir(Path(image).parent) if not name.startswith((".", "__"))]
    return sum(not name.lower().endswith(SUFFIXES) for name in names)


def _size(path):
    try:
        with Image.open(path) as image:
            return ImageOps.exif_transpose(image).size
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(f"cannot read the image {path}: {error}") from error


def _decode(path, size, image_size):
    """Pixels, file format and colour mode of one file."""
    try:
        with Image.open(path) as image:
            kind, mode = image.format, image.mode
            if mode not in MODES:
                raise InputError(f"{path} has more than 8 bits a channel (mode {mode}); save it with 8")
            # Cameras store pictures lying and a note on which side is up.
            rgb = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read the image {path}: {error}") from error
    if image_size is None and rgb.size != size:
        raise InputError(
            f"the images differ in size: {path} is {rgb.width}x{rgb.height}, the first is {size[0]}x{size[1]}; "
            "give image_size to bring all to one"
        )
    return fit(rgb, image_size) if image_size else np.asarray(rgb), kind, mode
