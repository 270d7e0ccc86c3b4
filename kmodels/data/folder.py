"""Your own images: a folder with one folder for each class.

Either `<split>/<class>/<file>` with the splits train and test, and optionally val (else it is a fifth of train), or
`<class>/<file>`, divided 60/20/20. Both divisions are stratified, with a fixed seed. Splits may have other usual names
(see `split_of`). Images in folders inside a class folder are read as of that class. With `group_by`, images whose file
names have the same part stay in one split.
"""

import contextlib
import posixpath
import re
from collections import Counter
from pathlib import Path

from kmodels.data.cache import SPLITS, prepared
from kmodels.data.file_sources import FINGERPRINT_FILES, Folder, innermost
from kmodels.data.image_files import class_folder, divide, entries, require_images, write_images
from kmodels.data.image_notes import describe
from kmodels.data.pillow_reading import image_suffixes, suffix_of
from kmodels.data.splits import SPLIT_SEED, grouped_split
from kmodels.errors import InputError, require, shorten
from kmodels.files import require_folder
from kmodels.text import printable

# {split: its usual names}; "unlabelled" has images without a class, which are left out.
SPLIT_NAMES = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation"),
    "test": ("test", "testing"),
    "unlabelled": ("pred", "prediction", "unlabeled", "unlabelled"),
}
KNOWN_SPLITS = "train (training, seg_train, train_set, ...), test and optionally val"


def split_of(folder):
    """The split that a folder's name stands for, a key of SPLIT_NAMES; None if it is none.

    Names count in any case, and with "seg_" before or "_set", "_data" or "_images" after them: Training, seg_train,
    test_set.
    """
    name = re.sub(r"^seg[ _-]|[ _-]?(set|data|images?)$", "", folder.lower())
    return next((split for split, names in SPLIT_NAMES.items() if name in names), None)


def load(name, image_size, data_dir, skip_unreadable=False, group_by=None):
    """Opens the folder `data_dir`, and prepares it again when its files have changed (see `Folder.fingerprint`).

    Args:
        name: "folder".
        image_size: height and width to resize to, in pixels; None keeps the size, which must then be the same.
        data_dir: the folder.
        skip_unreadable: leave out images that cannot be read, see `load_dataset`.
        group_by: a pattern of file names, see `load_dataset`.

    Returns:
        A Dataset.

    Raises:
        InputError: if there is no such folder, a class has no image, a file is not a readable image, or the
            images differ in size and `image_size` is None.
    """
    require(data_dir is not None, "dataset 'folder' needs data_dir (--data-dir), the folder of your images", data_dir)
    require_folder(data_dir, "data_dir (--data-dir)")
    files = Folder(data_dir)
    found, left_out = _list(files)
    folders = [folder for classes in found.values() for folder in classes.values()]

    def prepare(writer):
        title, class_names = files.path.name, list(next(iter(found.values())))
        plan, how, grouping = _plan(found, group_by)
        tally = write_images(title, files, plan, image_size, writer, skip_unreadable)
        found_out = left_out + _alike(class_names) + _beside(files, folders) + grouping
        notes = [*map(printable, found_out), *_sampled(folders)]
        notes += describe(files, folders, plan, tally, image_size)
        return class_names, {
            "kind": "folder",
            "name": title,
            "original": False,
            "split": how,
            "formats": dict(sorted(tally.formats.items())),
            "notes": notes,
            **({"unreadable": len(tally.unreadable)} if skip_unreadable else {}),
        }

    key = {"root": str(files.path), "image_size": image_size, "files": files.fingerprint(lambda: folders)}
    key |= {"skip_unreadable": True} if skip_unreadable else {}
    key |= {"group_by": group_by} if group_by else {}
    return prepared(name, key, prepare)


def check_folder(folder):
    """Raises InputError as `load` does for what can be seen without opening an image: classes, splits, no images.

    Args:
        folder: of the images.
    """
    _list(Folder(folder))


def require_outside(where, folder):
    """Raises InputError where records would be written among the images: the next run would read them as a class.

    Args:
        where: the folder that they would be written into, "runs/photos" for instance.
        folder: of the images.
    """
    if Path(where).resolve().is_relative_to(Path(folder).resolve()):
        raise InputError(
            f"records would be written to {where}, inside the folder of images, where they would be read as a class; "
            "choose a folder outside it with --out (out=)"
        )


def _list(files):
    """{split or "": {class: ClassFolder}}, all sorted, and notes on folders that are left out or may be mistaken."""
    splits, others = {}, []
    for folder in files.folders(""):
        split = split_of(folder)
        if split in splits:
            raise InputError(f"{files.path} has two folders for {split}: {splits[split]} and {folder}")
        if split:
            splits[split] = folder
        else:
            others.append(folder)
    unlabelled = splits.pop("unlabelled", None)
    if unlabelled and not splits:
        others.append(unlabelled)
    if others or not splits:
        return _of_classes(files, splits, others)
    for wanted in ("train", "test"):
        if wanted not in splits:
            raise InputError(
                f"{files.path} has the splits {', '.join(sorted(splits))} but no {wanted}; give train and test "
                "(and optionally val), or one folder for each class and no split folders"
            )
    found = {split: _classes(files, _inner(files, folder)) for split, folder in splits.items()}
    for split, classes in found.items():
        if list(classes) != list(found["train"]):
            only = {"train": set(found["train"]) - set(classes), split: set(classes) - set(found["train"])}
            parts = [f"only in {where}: {', '.join(sorted(names))}" for where, names in only.items() if names]
            raise InputError(f"{files.path}: the splits must have the same classes; {'; '.join(parts)}")
    _require_images(files, found)
    return found, [f"folder without labels, left out: {unlabelled}"] if unlabelled else []


def _alike(class_names):
    """The note on classes whose names a person may read as one, if there are any."""
    read_as = {}
    for name in class_names:
        # A separator between digits tells numbers apart: 1-1 is not 11.
        same = re.sub(r"(?<!\d)[\s_-]+|[\s_-]+(?!\d)", "", name)
        read_as.setdefault(same.casefold(), []).append(name)
    alike = [" and ".join(map(repr, names)) for names in read_as.values() if len(names) > 1]
    return [f"classes with nearly the same name: {'; '.join(alike)}"] if alike else []


def _beside(files, folders):
    """Notes on images that are read as of no class: loose beside the class folders, or in hidden folders."""
    notes, found = [], []
    tops = sorted({posixpath.dirname(folder.path) for folder in folders})
    if loose := [path for top in sorted({"", *tops}) for path in _loose(files, top)]:
        notes.append(f"images beside the class folders, left out: {len(loose)} ({shorten(loose)})")
    for top in sorted({*tops, *(folder.path for folder in folders)}):
        paths = [posixpath.join(top, name) for name in files.folders(top, hidden=True)]
        # What cannot be read there is no loss.
        with contextlib.suppress(InputError):
            found += [path for path in paths if class_folder(files, path).images]
    if found:
        notes.append(f"hidden folders with images, left out: {len(found)} ({shorten(found)})")
    return notes


def _loose(files, top):
    """Paths of the images that lie in a folder, and in none inside it, sorted."""
    suffixes, inner = image_suffixes(), files.folders(top)
    names = {name for name in files.names(top) if suffix_of(name) in suffixes and not name.startswith(".")}
    return sorted(posixpath.join(top, name) for name in names - set(inner))


def _sampled(folders):
    """The note on files whose changes may go unnoticed, if there are any."""
    if sum(len(folder.images) for folder in folders) <= FINGERPRINT_FILES:
        return []
    return [
        f"of more than {FINGERPRINT_FILES:,} files not all are checked for changes: after overwriting one, touch its "
        "class folder"
    ]


def _of_classes(files, splits, others):
    """As `_list`, of a folder of class folders; `splits` are those with the name of a split, `others` the rest."""
    if {"train", "test"} <= set(splits):
        raise InputError(
            f"{files.path} has train and test, and also {', '.join(others)}, which is not a split; move it elsewhere"
        )
    classes = _classes(files, "")
    own = {name: any("/" not in image for image in folder.images) for name, folder in classes.items()}
    mistaken = [folder for folder in splits.values() if not own[folder] and files.folders(folder)]
    if mistaken:
        raise InputError(
            f"{files.path} has the split {', '.join(mistaken)}, and also {shorten(others)}, which is not the name of a "
            f"split. Known: {KNOWN_SPLITS}"
        )
    inside = {name: files.folders(name) for name in classes}
    for name, folders in inside.items():
        if {"train", "test"} <= set(map(split_of, folders)):
            raise InputError(
                f"{files.where(name)} has folders for splits: {', '.join(folders)}. Splits come first, then classes: "
                f"{folders[0]}/{name}"
            )
    _require_images(files, {"": classes})
    first = next(iter(inside.values()))
    if len(first) > 1 and not any(own.values()) and all(folders == first for folders in inside.values()):
        return {"": classes}, [
            f"classes are {shorten(classes)}; each has the folders {shorten(first)}. If those are the classes, name "
            f"the folders above them as splits: {KNOWN_SPLITS}"
        ]
    return {"": classes}, []


def _inner(files, folder):
    """The folder of a split's class folders: seg_train/seg_train for seg_train, as Kaggle unpacks them."""
    inner = innermost(files, folder)
    return inner if files.folders(inner) else folder


def _require_images(files, found):
    folders = [folder for classes in found.values() for folder in classes.values()]
    it = "it" if sum(not folder.images for folder in folders) == 1 else "them"
    remedy = (
        f"Each folder in {files.path} is taken as a class. Is {files.path} the right folder? If so, move {it} out of it"
    )
    if "" not in found:
        remedy = f"Each class needs images in every split: {', '.join(found)}"
    require_images(files, folders, remedy)


def _classes(files, top):
    names = files.folders(top)
    paths = {name: f"{top}/{name}" if top else name for name in names}
    if len(names) < 2:
        hint = ""
        if names and len(files.folders(paths[names[0]])) > 1:
            hint = f"; did you mean {files.where(paths[names[0]])}?"
        if loose := len(_loose(files, top)):
            lie = "1 image lies" if loose == 1 else f"{loose:,} images lie"
            hint += f"; {lie} directly in it: put the images into one folder for each class"
        found = ", ".join(names) or "none"
        raise InputError(f"{files.where(top)} needs at least two class folders. Found: {found}{hint}")
    return {name: class_folder(files, path) for name, path in paths.items()}


def _plan(found, group_by):
    """{split: [Entry, ...]}, a description of the split, and notes on its groups."""
    parts = {part: entries(classes) for part, classes in found.items()}
    class_names = list(next(iter(found.values())))
    groups = {part: _groups(classes, group_by) for part, classes in found.items()} if group_by else {}
    notes = _notes_on_groups(groups, group_by) if group_by else []

    def divided(part, fractions):
        if not group_by:
            return divide(parts[part], fractions, class_names)
        labels = [entry.label for entry in parts[part]]
        pieces = grouped_split(labels, groups[part], fractions, class_names)
        return [[parts[part][i] for i in indices] for indices in pieces]

    how = f"stratified, seed {SPLIT_SEED}"
    if group_by:
        how = f"groups of {group_by!r} kept together, {how}"
    if "" in parts:
        return dict(zip(SPLITS, divided("", (0.6, 0.2, 0.2)), strict=True)), f"60/20/20, {how}", notes
    if "val" in parts:
        return {split: parts[split] for split in SPLITS}, "as in the folder", notes
    train, val = divided("train", (0.8, 0.2))
    how = f"test as in the folder; train divided 80/20, {how}"
    return {"train": train, "val": val, "test": parts["test"]}, how, notes


def _groups(classes, group_by):
    """The group of each image, in the order of `entries`: what the pattern finds, or the image's own path."""
    found = []
    for folder in classes.values():
        for image in folder.images:
            match = re.search(group_by, image)
            group = match and match.group(1 if match.re.groups else 0)
            # A path with a slash before it is never what a pattern finds.
            found.append(f"/{folder.path}/{image}" if group is None else group)
    return found


def _notes_on_groups(groups, group_by):
    """Notes on what a pattern found.

    Raises:
        InputError: if it is found in no file name.
    """
    everything = [group for of_part in groups.values() for group in of_part]
    alone = [group for group in everything if group.startswith("/")]
    if len(alone) == len(everything):
        raise InputError(
            f"group_by must be a pattern that file names have, such as {posixpath.basename(alone[0])!r}. "
            f"Received: {group_by!r}"
        )
    sizes = Counter(everything)
    group, largest = sizes.most_common(1)[0]
    notes = [f"groups of {group_by!r}: {len(sizes) - len(alone):,}, the largest {group!r} with {largest:,} images"]
    if alone:
        notes.append(f"images whose name has no {group_by!r}, each a group of its own: {len(alone):,}")
    names = sorted(groups, key=("", *SPLITS).index)
    for i, one in enumerate(names):
        for other in names[i + 1 :]:
            if both := sorted(set(groups[one]) & set(groups[other])):
                notes.append(f"groups that are in {one} and in {other}: {len(both):,} ({shorten(both)})")
    return notes
