"""Which data are on this machine: found in a folder of data sets, attached or prepared, and never downloaded."""

from pathlib import Path

from kmodels.data.about import ABOUT, archives_of, places, prepared_sets, size_in_words
from kmodels.data.kaggle import find_attached
from kmodels.errors import InputError

# They read no files.
BUILT_IN = ("digits", "synthetic")


def data_dir_of(name, data_dir):
    """The `data_dir` of one dataset, where the folder given may hold several.

    Args:
        name: of the dataset.
        data_dir: a folder with a folder or archive for each dataset: the one called `name` counts first, else the first
            whose content is that of the set. Or the folder or archive of one dataset. None: none.

    Returns:
        A path, as `load_dataset` takes it; None where nothing is found.
    """
    if data_dir is None or name in BUILT_IN:
        return None
    path = Path(data_dir)
    if (path / name).exists():
        return path / name
    if path.is_file() or path.resolve().name == name or name not in ABOUT or name == "folder":
        return path
    return find_attached(name, path)


def check_here(name, data_dir):
    """Raises InputError where a dataset is neither in its `data_dir` nor anywhere else on this machine.

    What lies there is not opened: it may still be damaged, or other data.
    """
    if data_dir is not None or name in BUILT_IN or (":" in name and not name.startswith("tfds:")):
        return
    there = any(place.exists for place in places(name)) if name in ABOUT else bool(prepared_sets(name))
    if not there:
        raise InputError(f"{name} is not on this machine: {how_to_get(name)}")


def how_to_get(name):
    """How the data of a dataset come to this machine, in words."""
    archives = archives_of(name) if name in ABOUT else []
    folder = f"give --data-dir DIR with it as DIR/{name}"
    if not archives:
        return folder
    return f"{folder}, or download {size_in_words(archives[0].size)} with `kmodels data prepare {name}`"
