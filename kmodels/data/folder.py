"""Your own pictures: a folder with one folder a class.

Either `<split>/<class>/<file>` with the splits train and test, and val where there is one (else a fifth of train is
set apart), or `<class>/<file>`, split 60/20/20 here. Both splits are stratified and fixed.
"""

from pathlib import Path

from kmodels.data.cache import SPLITS, prepared
from kmodels.data.image_files import class_folder, divide, entries, write_images
from kmodels.data.image_notes import describe
from kmodels.data.places import Folder
from kmodels.data.splits import SPLIT_SEED
from kmodels.errors import InputError, require

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def load(name, image_size, data_dir):
    """Opens the folder `data_dir`; it is prepared anew when its files change (see `places.Folder.stamp`).

    Raises:
        InputError: if there is no such folder, a class has no image, a file is not a readable image, or the images
            differ in size and no `image_size` was given.
    """
    require(data_dir is not None, "dataset 'folder' needs data_dir, the folder of your images", data_dir)
    require(Path(data_dir).is_dir(), "data_dir must be a folder that exists", str(data_dir))
    place = Folder(data_dir)
    found = _list(place)
    folders = [folder for classes in found.values() for folder in classes.values()]

    def prepare(writer):
        title, class_names = place.path.name, list(next(iter(found.values())))
        plan, how = _plan(found)
        tally = write_images(title, place, plan, class_names, image_size, writer)
        notes = describe(place, folders, plan, tally, image_size)
        if tally.formats["JPEG"]:
            notes.insert(0, "JPEG images; JPEG is lossy, so a copy of another set is not equal to its original")
        for note in notes:
            print(f"{title}: {note}")
        return class_names, {
            "kind": "folder",
            "name": title,
            "original": False,
            "split": how,
            "formats": dict(sorted(tally.formats.items())),
            "notes": notes,
        }

    key = {"root": str(place.path), "image_size": image_size, "files": place.stamp(lambda: folders)}
    return prepared(name, key, prepare)


def _list(place):
    """{split or "": {class: ClassFolder}}, all sorted."""
    folders = place.folders("")
    splits = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.lower())
        if split and split in splits:
            raise InputError(f"{place.path} has two folders for {split}: {splits[split]} and {folder}")
        splits[split] = folder
    if None in splits and {"train", "test"} <= set(splits):
        strays = ", ".join(folder for folder in folders if folder.lower() not in SPLIT_NAMES)
        raise InputError(f"{place.path} has train and test, and also {strays}, which is no split; move it away")
    if None in splits or not splits:
        return {"": _classes(place, "")}
    for wanted in ("train", "test"):
        if wanted not in splits:
            raise InputError(
                f"{place.path} has the splits {', '.join(sorted(splits))} but no {wanted}; give train and test "
                "(and val, or a fifth of train is set apart), or one folder a class and no split folders"
            )
    found = {split: _classes(place, folder) for split, folder in splits.items()}
    for split, classes in found.items():
        if list(classes) != list(found["train"]):
            differing = sorted(set(classes) ^ set(found["train"]))
            raise InputError(f"{place.path}: train and {split} have different classes: {', '.join(differing)}")
    return found


def _classes(place, top):
    names = place.folders(top)
    paths = {name: f"{top}/{name}" if top else name for name in names}
    if len(names) < 2:
        hint = ""
        if names and len(place.folders(paths[names[0]])) > 1:
            hint = f"; is {place.where(paths[names[0]])} what you meant?"
        found = ", ".join(names) or "none"
        raise InputError(f"{place.where(top)} needs at least two class folders. Found: {found}{hint}")
    return {name: class_folder(place, path) for name, path in paths.items()}


def _plan(found):
    """{split: [Entry, ...]} and how it was divided, in words."""
    parts = {part: entries(classes) for part, classes in found.items()}
    if "" in parts:
        plan = dict(zip(SPLITS, divide(parts[""], (0.6, 0.2, 0.2)), strict=True))
        return plan, f"60/20/20, stratified, seed {SPLIT_SEED}"
    if "val" in parts:
        return {split: parts[split] for split in SPLITS}, "as in the folder"
    train, val = divide(parts["train"], (0.8, 0.2))
    how = f"test as in the folder; train divided 80/20, stratified, seed {SPLIT_SEED}"
    return {"train": train, "val": val, "test": parts["test"]}, how
