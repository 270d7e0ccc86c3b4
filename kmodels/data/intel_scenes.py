"""Intel Image Classification: 17,034 labelled photographs of six kinds of scene, 150x150 pixels, from Kaggle.

They come as 14,034 to train and 3,000 to test on; here all are merged and split 60/20/20. Read from the folders or
straight from the zip that Kaggle hands out. The 7,301 unlabelled images beside them are not used.

Source: https://www.kaggle.com/datasets/puneet6060/intel-image-classification
"""

import posixpath
from contextlib import closing
from functools import cache
from pathlib import Path

from kmodels.data.cache import SPLITS, prepared
from kmodels.data.image_files import class_folders, divide, entries, write_images
from kmodels.data.image_notes import describe
from kmodels.data.places import inside, open_place
from kmodels.data.splits import SPLIT_SEED
from kmodels.errors import InputError

CLASSES = ("buildings", "forest", "glacier", "mountain", "sea", "street")
# Folder -> the part of the set that it holds.
PARTS = {"seg_train": "train", "train": "train", "seg_test": "test", "test": "test"}
UNLABELLED = ("seg_pred", "pred")
IMAGES = 14_034 + 3_000
SIDE = 150
# Where Kaggle mounts the set, today and formerly.
KAGGLE = (
    "/kaggle/input/datasets/puneet6060/intel-image-classification",
    "/kaggle/input/intel-image-classification",
)


def load(name, image_size, data_dir):
    """Opens the set; see `load_dataset` for `data_dir`. An `image_size` of None means 150.

    Raises:
        InputError: if the set is not there, or is another one.
    """
    image_size = image_size or SIDE
    with closing(_place(data_dir)) as place:
        parts = cache(lambda: _parts(place))

        def folders():
            return [folder for classes in parts().values() for folder in classes.values()]

        def prepare(writer):
            plan = dict(zip(SPLITS, divide(entries(*parts().values()), (0.6, 0.2, 0.2)), strict=True))
            tally = write_images(name, place, plan, CLASSES, image_size, writer)
            difference = _difference(tally)
            notes = difference + describe(place, folders(), plan, tally, image_size)
            for note in notes:
                print(f"{name}: {note}")
            return CLASSES, {
                "kind": "image files",
                "name": name,
                "original": not difference,
                "split": f"train and test merged; 60/20/20, stratified, seed {SPLIT_SEED}",
                "formats": dict(sorted(tally.formats.items())),
                "notes": notes,
            }

        key = {"root": str(place.path), "image_size": image_size, "files": place.stamp(folders)}
        return prepared(name, key, prepare)


def _place(data_dir):
    """The Folder or Zip that the set is in."""
    if data_dir is None:
        data_dir = next((folder for folder in KAGGLE if Path(folder).is_dir()), None)
        if data_dir is None:
            raise InputError(
                f"dataset 'intel_scenes' is not at {KAGGLE[0]}; download it from "
                "https://www.kaggle.com/datasets/puneet6060/intel-image-classification and give the zip file, or the "
                "folder that it is in, as data_dir"
            )
    return open_place(data_dir, (*PARTS, *CLASSES))


def _parts(place):
    """{part: {class: ClassFolder}}, all sorted; the part of six classes that stand alone is ""."""
    top = inside(place, "")
    folders = [folder for folder in place.folders(top) if folder.lower() not in UNLABELLED]
    parts = {PARTS.get(folder.lower()): folder for folder in folders}
    if not parts.keys() & {"train", "test"}:
        return {"": _classes(place, top)}
    if None in parts or len(parts) < len(folders):
        raise InputError(
            f"{place.where(top)} has the folders {', '.join(folders)}, but the set has seg_train and seg_test, or "
            "train and test. A set with splits of its own is dataset 'folder'"
        )
    return {part: _classes(place, inside(place, posixpath.join(top, parts[part]))) for part in sorted(parts)}


def _classes(place, top):
    return class_folders(
        place, top, CLASSES, "Intel Image Classification", "For images of your own use dataset 'folder'"
    )


def _difference(tally):
    """The note that tells these images from the original set; none if they are as many, JPEG and of its size.

    Kaggle publishes no checksum to hold them against. A few of the original images differ in size.
    """
    sizes = tally.sizes
    if tally.formats == {"JPEG": IMAGES} and sizes[SIDE, SIDE] >= 0.99 * IMAGES:
        return []
    ((width, height), _), *_ = sizes.most_common(1)
    return [
        f"not the original set: {sizes.total():,} of its {IMAGES:,} labelled images, mostly {width}x{height} pixels"
    ]
