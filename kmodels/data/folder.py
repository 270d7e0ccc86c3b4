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
    paths, labels = {}, {}
    for split, classes in files.items():
        paths[split] = [path for entries in classes.values() for path, _, _ in entries]
        labels[split] = np.repeat(np.arange(len(classes)), [len(entries) for entries in classes.values()])
    if "" in files:
        plan = list(zip(SPLITS, [""] * 3, stratified_split(labels[""], (0.6, 0.2, 0.2)), strict=True))
        how = f"60/20/20, stratified, seed {SPLIT_SEED}"
    elif "val" in files:
        plan = [(split, split, np.arange(len(paths[split]))) for split in SPLITS]
        how = "as in the folder"
    else:
        train, val = stratified_split(labels["train"], (0.8, 0.2))
        plan = [
            ("train", "train", train),
            ("val", "train", val),
            ("test", "test", np.arange(len(paths["test"]))),
        ]
        how = f"test as in the folder; train divided 80/20, stratified, seed {SPLIT_SEED}"
    for split, part, places in plan:
        missing = np.setdiff1d(np.arange(len(class_names)), labels[part][places])
        if len(missing):
            few = ", ".join(class_names[label] for label in missing)
            raise InputError(f"too few images to divide: {split} would have none of {few}")

    size = (image_size, image_size) if image_size else _size(next(iter(paths.values()))[0])
    formats, converted = collections.Counter(), collections.Counter()
    with (
        ThreadPoolExecutor(os.cpu_count()) as pool,
        progress(f"preparing {name}", sum(len(places) for _, _, places in plan)) as bar,
    ):
        for split, part, places in plan:
            arrays = writer.split(split, len(places), size[1], size[0])
            arrays.labels[:], arrays.index[:] = labels[part][places], places
            # A block at a time: memory stays small, and a broken file ends the work at once.
            for start in range(0, len(places), 1024):
                block = [paths[part][place] for place in places[start : start + 1024]]
                for i, (pixels, kind, mode) in enumerate(
                    pool.map(partial(_decode, size=size, image_size=image_size), block), start=start
                ):
                    arrays.images[i] = pixels
                    formats[kind] += 1
                    converted[mode] += mode != "RGB"
                bar.update(len(block))
    notes = [
        f"{number} images were converted from {mode} to RGB" for mode, number in sorted(converted.items()) if number
    ]
    left_out = sum(_others(paths[0][0]) for classes in files.values() for paths in classes.values())
    if left_out:
        notes.append(f"{left_out} files or folders beside the images have no image ending and were left out")
    if image_size:
        notes.append(f"scaled to cover {image_size}x{image_size} pixels, what hung over was cut off")
    for note in notes:
        print(f"{name}: {note}")
    if formats["JPEG"]:
        notes.insert(0, "JPEG images; JPEG is lossy, so a copy of another set is not equal to its original")
    return class_names, {
        "kind": "folder",
        "name": name,
        "split": how,
        "formats": dict(sorted(formats.items())),
        "notes": notes,
    }


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
