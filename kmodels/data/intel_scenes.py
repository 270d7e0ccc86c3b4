"""Intel Image Classification: 17,034 labelled photographs of six kinds of scene, 150x150 pixels, from Kaggle.

They are published as 14,034 to train and 3,000 to test; here both are merged and divided 60/20/20. Read from the
folders or directly from Kaggle's zip file. The 7,301 unlabelled images of the set are not used.

Source: https://www.kaggle.com/datasets/puneet6060/intel-image-classification
"""

import posixpath
from contextlib import closing
from functools import cache

from kmodels.data.cache import SPLITS, prepared
from kmodels.data.file_sources import innermost, open_files
from kmodels.data.image_files import class_folders, divide, entries, write_images
from kmodels.data.image_notes import describe
from kmodels.data.splits import SPLIT_SEED
from kmodels.errors import InputError

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
# {folder: the part of the set in it}.
PARTS = {"seg_train": "train", "train": "train", "seg_test": "test", "test": "test"}
UNLABELLED = ("seg_pred", "pred")
IMAGES = 14_034 + 3_000
SIDE = 150
# Where Kaggle has it.
PAGE = "https://www.kaggle.com/datasets/puneet6060/intel-image-classification"


def load(name, image_size, data_dir, skip_unreadable=False):
    """Opens the set.

    Args:
        name: "intel_scenes".
        image_size: height and width to resize to, in pixels; None means 150.
        data_dir: Kaggle's zip file, its folder, or the unpacked folder; None looks where Kaggle mounts it.
        skip_unreadable: leave out images that cannot be read, see `load_dataset`.

    Returns:
        A Dataset.

    Raises:
        InputError: if the set is missing, or is another one.
    """
    image_size = image_size or SIDE
    with closing(_open(data_dir)) as files:
        parts = cache(lambda: _parts(files))

        def folders():
            return [folder for classes in parts().values() for folder in classes.values()]

        def prepare(writer):
            plan = dict(zip(SPLITS, divide(entries(*parts().values()), (0.6, 0.2, 0.2), CLASSES), strict=True))
            tally = write_images(name, files, plan, image_size, writer, skip_unreadable)
            difference = _difference(tally)
            notes = difference + describe(files, folders(), plan, tally, image_size)
            return CLASSES, {
                "kind": "image files",
                "name": name,
                "original": not difference,
                "split": f"train and test merged; 60/20/20, stratified, seed {SPLIT_SEED}",
                "formats": dict(sorted(tally.formats.items())),
                "notes": notes,
                **({"unreadable": len(tally.unreadable)} if skip_unreadable else {}),
            }

        key = {"root": str(files.path), "image_size": image_size, "files": files.fingerprint(folders)}
        key |= {"skip_unreadable": True} if skip_unreadable else {}
        return prepared(name, key, prepare)


def _open(data_dir):
    """The Folder or Zip that contains the set."""
    if data_dir is None:
        raise InputError(
            f"dataset 'intel_scenes' is not among the attached data of Kaggle; download it from {PAGE} and give the "
            "zip file, or the folder that it is in, as data_dir (--data-dir)"
        )
    return open_files(data_dir, (*PARTS, *CLASSES))


def _parts(files):
    """{part: {class: ClassFolder}}, sorted; the part is "" if the six class folders are not in train and test."""
    top = innermost(files, "")
    folders = [folder for folder in files.folders(top) if folder.lower() not in UNLABELLED]
    parts = {PARTS.get(folder.lower()): folder for folder in folders}
    if not parts.keys() & {"train", "test"}:
        return {"": _classes(files, top)}
    if None in parts or len(parts) < len(folders):
        raise InputError(
            f"{files.where(top)} has the folders {', '.join(folders)}, but the set has seg_train and seg_test, or "
            "train and test. For your own splits use dataset 'folder'"
        )
    return {part: _classes(files, innermost(files, posixpath.join(top, parts[part]))) for part in sorted(parts)}


def _classes(files, top):
    return class_folders(files, top, CLASSES, "Intel Image Classification", "For your own images use dataset 'folder'")


def _difference(tally):
    """A list with a note on how the images differ from the published set, empty if they do not.

    Kaggle publishes no checksum. The images count as the original if their number matches and all are JPEG, at least
    99 % of them of 150x150 pixels: some of the original ones have another size.
    """
    sizes = tally.sizes
    if tally.formats == {"JPEG": IMAGES} and sizes[SIDE, SIDE] >= 0.99 * IMAGES:
        return []
    ((width, height), _), *_ = sizes.most_common(1)
    return [
        f"not the original set: {sizes.total():,} of its {IMAGES:,} labelled images, mostly {width}x{height} pixels"
    ]
