"""Exact copies of CIFAR-10 and CIFAR-100 as folders of lossless image files, `{train,test}/<class>/<file>`.

They are compared with published_pixels.json, which has a digest of every class of both parts. It was written, from
copies whose images agree with independent ones, by

    python -m kmodels.data.exact_copy cifar10=FOLDER cifar100=FOLDER

Of CIFAR-10, 97 of the 60,000 images were not at hand: the entries of their four classes are of the others. A copy that
has just these others is accepted, and its source says what is missing; and so is one that has all, whose images of
these classes cannot be compared.
"""

import json
import sys
from pathlib import Path
from typing import NamedTuple

from kmodels.data.cache import prepared
from kmodels.data.file_sources import Folder
from kmodels.data.image_files import class_folders, divide, entries, write_images
from kmodels.data.image_notes import describe
from kmodels.data.pixel_digests import class_digests, dataset_digests, whole_digest
from kmodels.data.splits import SPLIT_SEED
from kmodels.errors import InputError, shorten

TABLE = Path(__file__).with_name("published_pixels.json")
PARTS = ("train", "test")
SIDE = 32
OTHERWISE = (
    "Incomplete copies, JPEG files and resized images are not the published pixels; dataset 'folder' takes them "
    "(--dataset folder)"
)


class Published(NamedTuple):
    """What is known of a class of one part: the number of its images; how many were compared, and their digest."""

    images: int
    known: int
    digest: str


def published(name, path=TABLE):
    """What is known of a dataset.

    Args:
        name: "cifar10" or "cifar100".
        path: of the table.

    Returns:
        {"train" or "test": {class: Published}}, classes in the order of the labels.
    """
    parts = {part: {} for part in PARTS}
    for part, classes in json.loads(path.read_text())[name].items():
        for label, entry in classes.items():
            images, known, digest = entry.split()
            parts[part][label] = Published(int(images), int(known), digest)
    return parts


def load(name, image_size, data_dir):
    """Opens a folder of image files after comparing their pixels with the published ones.

    Args:
        name: "cifar10" or "cifar100".
        image_size: height and width to resize to, in pixels, after the comparison; None means 32.
        data_dir: the folder.

    Returns:
        A Dataset. Its classes are in the order of the official set; the images of a class are in that of their names.

    Raises:
        InputError: if the images are not those that were published.
    """
    files, known = Folder(data_dir), published(name)
    class_names = tuple(known["train"])
    found = {part: class_folders(files, part, class_names, name, OTHERWISE) for part in PARTS}
    folders = [folder for classes in found.values() for folder in classes.values()]
    size = image_size or SIDE

    def prepare(writer):
        _check_counts(files, name, known, found)
        train, val = divide(entries(found["train"]), (0.8, 0.2), class_names)
        plan = {"train": train, "val": val, "test": entries(found["test"])}
        # What cannot be read makes its class differ, and is named with it.
        tally = write_images(name, files, plan, size, writer, skip_unreadable=True)
        pixels = _digests(plan, tally, class_names)
        missing, unknown = _compare(files, name, known, pixels, tally)
        total = sum(one.images for classes in known.values() for one in classes.values())
        copy = f"exact pixels, {total - sum(missing.values()):,} of {total:,}"
        notes = []
        if missing:
            lacking = shorten(f"{folder} {images:,}" for folder, images in missing.items())
            copy += f"; missing: {lacking}"
            notes.append(f"missing of the {total:,} published images: {sum(missing.values()):,} ({lacking})")
        if unknown:
            copy += f"; not compared: {shorten(unknown)}"
            notes.append(f"the images of {shorten(unknown)} could not be compared with the published ones")
        notes += describe(files, folders, plan, tally, size)
        return class_names, {
            "kind": "exact pixels",
            "name": name,
            "original": True,
            "copy": copy,
            "missing": missing,
            "pixels_sha256": whole_digest(pixels),
            "split": f"test as published; train divided 80/20, stratified, seed {SPLIT_SEED}",
            "formats": dict(sorted(tally.formats.items())),
            "notes": notes,
        }

    key = {"root": str(files.path), "image_size": size, "files": files.fingerprint(lambda: folders)}
    return prepared(name, key, prepare)


def _digests(plan, tally, class_names):
    """{"train" or "test": {class: ClassDigest}} of what was read; train has the images of val too."""
    labels = [entry.label for images in plan.values() for entry in images]
    tests = len(labels) - len(plan["test"])
    return {
        "train": class_digests(tally.digests[:tests], labels[:tests], class_names),
        "test": class_digests(tally.digests[tests:], labels[tests:], class_names),
    }


def _check_counts(files, name, known, found):
    """Raises an InputError if a class has neither all of its images nor those that are known. It decodes none."""
    differing = [
        f"{part}/{label} ({len(found[part][label].images):,} of {one.images:,} images)"
        for part, classes in known.items()
        for label, one in classes.items()
        if len(found[part][label].images) not in (one.known, one.images)
    ]
    if differing:
        _refuse(files, name, known, differing)


def _compare(files, name, known, pixels, tally):
    """{folder: number of missing images}, and the folders that cannot be compared; raises an InputError for others."""
    differing, missing, unknown = [], {}, []
    for part, classes in known.items():
        for label, one in classes.items():
            images, digest = pixels[part][label]
            if (images, digest[: len(one.digest)]) == (one.known, one.digest):
                missing |= {f"{part}/{label}": one.images - images} if images < one.images else {}
            else:
                (unknown if images == one.images > one.known else differing).append(f"{part}/{label}")
    why = _faults(tally)
    if differing or (why and unknown):
        # Where pixels cannot be compared, JPEG files and other sizes still tell that they are not the published ones.
        _refuse(files, name, known, differing + (unknown if why else []), why or ["other pixels"])
    return missing, unknown


def require_published(name, path, pixels):
    """Raises an InputError if a class has other pixels than were published. One that is not wholly known may.

    Args:
        name: "cifar10" or "cifar100".
        path: of the files, for the message.
        pixels: {"train" or "test": {class: ClassDigest}}.
    """
    differing = []
    for part, classes in published(name).items():
        for label, one in classes.items():
            found = pixels.get(part, {}).get(label)
            if one.known == one.images and not (found and found.digest.startswith(one.digest)):
                differing.append(f"{part}/{label}")
    if differing:
        raise InputError(
            f"{path} does not have the published images of {name}: these classes differ: {shorten(differing)}"
        )


def _faults(tally):
    """How image files differ from lossless ones of the published size, in words."""
    lossy = tally.formats["JPEG"] + tally.formats["MPO"]
    resized = tally.sizes.total() - tally.sizes[SIDE, SIDE]
    faults = [f"JPEG files: {lossy:,}"] if lossy else []
    faults += [f"images of another size than {SIDE}x{SIDE}: {resized:,}"] if resized else []
    if tally.unreadable:
        faults.append(f"unreadable: {shorten(f'{name} ({reason})' for name, reason in tally.unreadable.items())}")
    return faults


def _refuse(files, name, known, differing, why=()):
    total = sum(map(len, known.values()))
    reasons = f" ({'; '.join(why)})" if why else ""
    raise InputError(
        f"{files.path} does not have the published images of {name}: {len(differing)} of its {total} class folders "
        f"differ: {shorten(differing)}{reasons}. {OTHERWISE}"
    )


def write_table(folders, path=TABLE):
    """Writes published_pixels.json. A class counts as incomplete if another one of its part has more images.

    Args:
        folders: {name: folder of the image files}.
        path: of the file to write.
    """
    from kmodels.data import load_dataset

    table = {}
    for name, folder in folders.items():
        parts = dataset_digests(load_dataset("folder", data_dir=folder))
        # Of 64 digits 16 are enough to recognise pixels.
        table[name] = {
            part: {
                label: f"{max(each.images for each in classes.values())} {one.images} {one.digest[:16]}"
                for label, one in classes.items()
            }
            for part, classes in parts.items()
        }
    path.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    write_table(dict(argument.split("=", 1) for argument in sys.argv[1:]))
