"""Your own images: a folder with one folder for each class.

Either `<split>/<class>/<file>` with the splits train and test, and optionally val (else it is a fifth of train), or
`<class>/<file>`, divided 60/20/20. Both divisions are stratified, with a fixed seed.
"""

from pathlib import Path

from kmodels.data.cache import SPLITS, prepared
from kmodels.data.file_sources import Folder
from kmodels.data.image_files import class_folder, divide, entries, write_images
from kmodels.data.image_notes import describe
from kmodels.data.splits import SPLIT_SEED
from kmodels.errors import InputError, require

SPLIT_NAMES = {"train": "train", "val": "val", "valid": "val", "validation": "val", "test": "test"}


def load(name, image_size, data_dir):
    """Opens the folder `data_dir`, and prepares it again when its files have changed (see `Folder.fingerprint`).

    Args:
        name: "folder".
        image_size: height and width to resize to, in pixels; None keeps the size, which must then be the same.
        data_dir: the folder.

    Returns:
        A Dataset.

    Raises:
        InputError: if there is no such folder, a class has no image, a file is not a readable image, or the
            images differ in size and `image_size` is None.
    """
    require(data_dir is not None, "dataset 'folder' needs data_dir, the folder of your images", data_dir)
    require(Path(data_dir).is_dir(), "data_dir must be a folder that exists", str(data_dir))
    files = Folder(data_dir)
    found = _list(files)
    folders = [folder for classes in found.values() for folder in classes.values()]

    def prepare(writer):
        title, class_names = files.path.name, list(next(iter(found.values())))
        plan, how = _plan(found)
        tally = write_images(title, files, plan, image_size, writer)
        notes = describe(files, folders, plan, tally, image_size)
        if tally.formats["JPEG"]:
            notes.insert(0, "JPEG images: JPEG is lossy, so a JPEG copy of another dataset differs from its original")
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

    key = {"root": str(files.path), "image_size": image_size, "files": files.fingerprint(lambda: folders)}
    return prepared(name, key, prepare)


def _list(files):
    """{split or "": {class: ClassFolder}}, all sorted."""
    folders = files.folders("")
    splits = {}
    for folder in folders:
        split = SPLIT_NAMES.get(folder.lower())
        if split and split in splits:
            raise InputError(f"{files.path} has two folders for {split}: {splits[split]} and {folder}")
        splits[split] = folder
    if None in splits and {"train", "test"} <= set(splits):
        strays = ", ".join(folder for folder in folders if folder.lower() not in SPLIT_NAMES)
        raise InputError(f"{files.path} has train and test, and also {strays}, which is not a split; move it elsewhere")
    if None in splits or not splits:
        return {"": _classes(files, "")}
    for wanted in ("train", "test"):
        if wanted not in splits:
            raise InputError(
                f"{files.path} has the splits {', '.join(sorted(splits))} but no {wanted}; give train and test "
                "(and optionally val), or one folder for each class and no split folders"
            )
    found = {split: _classes(files, folder) for split, folder in splits.items()}
    for split, classes in found.items():
        if list(classes) != list(found["train"]):
            differing = sorted(set(classes) ^ set(found["train"]))
            raise InputError(f"{files.path}: train and {split} have different classes: {', '.join(differing)}")
    return found


def _classes(files, top):
    names = files.folders(top)
    paths = {name: f"{top}/{name}" if top else name for name in names}
    if len(names) < 2:
        hint = ""
        if names and len(files.folders(paths[names[0]])) > 1:
            hint = f"; did you mean {files.where(paths[names[0]])}?"
        found = ", ".join(names) or "none"
        raise InputError(f"{files.where(top)} needs at least two class folders. Found: {found}{hint}")
    return {name: class_folder(files, path) for name, path in paths.items()}


def _plan(found):
    """{split: [Entry, ...]} and a description of the split."""
    parts = {part: entries(classes) for part, classes in found.items()}
    class_names = list(next(iter(found.values())))
    if "" in parts:
        plan = dict(zip(SPLITS, divide(parts[""], (0.6, 0.2, 0.2), class_names), strict=True))
        return plan, f"60/20/20, stratified, seed {SPLIT_SEED}"
    if "val" in parts:
        return {split: parts[split] for split in SPLITS}, "as in the folder"
    train, val = divide(parts["train"], (0.8, 0.2), class_names)
    how = f"test as in the folder; train divided 80/20, stratified, seed {SPLIT_SEED}"
    return {"train": train, "val": val, "test": parts["test"]}, how
