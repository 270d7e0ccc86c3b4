"""Images and labels from every kind of source, as one type: `Dataset`.

Your own data: `Dataset.from_arrays`, `Dataset.from_batches`, or `load_dataset("folder", data_dir=...)`. Any dataset of
tensorflow-datasets: `load_dataset("tfds:NAME")`. To add another source under a name of its own: a file with
`load(name, image_size, data_dir) -> Dataset`, an entry in DATASETS and one in ABOUT (kmodels/data/about.py); if it also
takes `skip_unreadable`, an entry in OF_IMAGE_FILES too.
"""

import re
from importlib import import_module

from kmodels.data.dataset import Dataset, Split
from kmodels.data.kaggle import find_attached
from kmodels.errors import InputError, require, unknown

__all__ = ["DATASETS", "Dataset", "Split", "load_dataset"]

# {name: the file that loads it}.
DATASETS = {
    "cifar10": "tfds_sets",
    "cifar100": "tfds_sets",
    "digits": "digits",
    "eurosat": "eurosat",
    "eurosat_small": "eurosat",
    "folder": "folder",
    "intel_scenes": "intel_scenes",
    "stl10_5": "stl10_5",
    "synthetic": "synthetic",
}
# Those read from image files, which may be damaged one by one.
OF_IMAGE_FILES = ("eurosat", "eurosat_small", "folder", "intel_scenes")


def load_dataset(name, image_size=None, data_dir=None, skip_unreadable=False, group_by=None):
    r"""Opens a dataset, after preparing it once into a memory-mapped cache.

    Args:
        name: one of DATASETS: "cifar10", "cifar100", "stl10_5" (five classes of STL-10), "eurosat" and "eurosat_small"
            (a fixed part of it), all five downloaded; "digits" (bundled with scikit-learn),
            "intel_scenes" (Intel Image Classification, from Kaggle), "folder" (your own images) or "synthetic" (random
            pixels, to try things). Or "tfds:NAME", "tfds:NAME/CONFIG:VERSION" for any set of TensorFlow Datasets.
        image_size: height and width to resize to, in pixels; None keeps the stored size (150 for "intel_scenes").
        data_dir: where your files are. For "folder": the folder itself, with `<split>/<class>/<file>` or
            `<class>/<file>`; images in folders inside class folders are read too. For "intel_scenes": the zip file from
            Kaggle, its folder, or the unpacked folder; None looks where Kaggle mounts it. For "tfds:NAME": a data_dir
            of tfds that has the set prepared. For the others: the archive that you already have, or its folder:
            cifar-10-binary.tar.gz or cifar-10-python.tar.gz (or a data_dir of tfds that has the set prepared), the same
            for cifar-100, stl10_binary.tar.gz, EuroSAT.zip (or the unpacked folder). For "cifar10" and "cifar100" also
            a folder with an exact copy in lossless image files, `{train,test}/<class>/<file>.png`, whose pixels are
            compared with the published ones. None takes what is attached to a Kaggle kernel (under /kaggle/input, or
            KAGGLE_INPUT), else downloads it.
        skip_unreadable: for datasets of image files: leave out those that cannot be read, instead of refusing all. The
            other images stay in their splits; `source["unreadable"]` says how many were left out, `source["notes"]`
            which.
        group_by: for "folder": a regular expression; images whose paths inside the class folder give the same
            match (of its first group, if it has one) stay in one split, as pictures of one series must:
            r"^(series\d+)_". An image in which it finds nothing is a group of its own.

    Returns:
        A Dataset: uint8 images (n, height, width, 3) and int32 labels (n,) for train, val and test.

    Raises:
        InputError: for an unknown name, and for missing or damaged files, or files of other pixels than the published
            ones; says which are expected.
    """
    from_tfds = isinstance(name, str) and name.startswith("tfds:")
    if not from_tfds and name not in DATASETS:
        raise InputError(f'{unknown("dataset", name, DATASETS)}; or "tfds:NAME" for any set of TensorFlow Datasets')
    require(
        image_size is None or (isinstance(image_size, int) and image_size >= 8),
        "image_size must be None or a whole number of at least 8",
        image_size,
    )
    if name in ("digits", "synthetic") and data_dir is not None:
        raise InputError(
            f"dataset {name!r} reads no files; did you mean dataset 'folder' (--dataset folder) for {str(data_dir)!r}?"
        )
    require(
        not skip_unreadable or name in OF_IMAGE_FILES,
        f"skip_unreadable is only for datasets of image files: {', '.join(OF_IMAGE_FILES)}",
        name,
    )
    require(group_by is None or name == "folder", "group_by is for dataset 'folder'", name)
    check_pattern(group_by)
    file = "any_tfds" if from_tfds else DATASETS[name]
    data_dir = find_attached(name) if data_dir is None else data_dir
    options = {"skip_unreadable": True} if skip_unreadable else {}
    options |= {"group_by": group_by} if group_by else {}
    return import_module(f"kmodels.data.{file}").load(name, image_size, data_dir, **options)


def check_pattern(group_by):
    """Raises InputError unless it is None or a regular expression."""
    try:
        re.compile(group_by or "")
    except (re.error, TypeError) as error:
        raise InputError(f"group_by must be a regular expression ({error}). Received: {group_by!r}") from error
