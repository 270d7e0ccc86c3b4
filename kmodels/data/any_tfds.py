"""Any image classification dataset of tensorflow-datasets, by its name: "tfds:NAME", "tfds:NAME/CONFIG:VERSION".

Train must exist. Test and val (validation, val or valid in tfds) are used as published where they exist, else cut from
train by our published rule. Grey images become RGB, and the alpha channel of RGBA images is dropped.
"""

import numpy as np

from kmodels.data.archives import archive_folder, check_reachable, import_tfds
from kmodels.data.cache import prepared
from kmodels.data.splits import cut_missing_splits
from kmodels.data.tfds_reading import copy_images, download_and_prepare, one_line, read_labels, stream
from kmodels.errors import InputError, require
from kmodels.files import cache_folder

PREFIX = "tfds:"
# {our split: its names in tfds}.
PARTS = {"val": ("validation", "val", "valid"), "test": ("test",)}


def load(name, image_size, data_dir):
    """Opens a dataset of tfds.

    Args:
        name: "tfds:NAME", "tfds:NAME/CONFIG", "tfds:NAME:VERSION" or "tfds:NAME/CONFIG:VERSION".
        image_size: height and width to resize to, in pixels; None if all images have the same size.
        data_dir: a data_dir of tfds that has the dataset prepared, or the folder of archives that tfds wants to be
            downloaded by hand; None downloads it into our cache.

    Returns:
        A Dataset.

    Raises:
        InputError: if tfds does not know the dataset or cannot prepare it; if it has no train split, or not one image
            of 8 bits and one integer label; if images differ in size and `image_size` is None.
    """
    folder = None if data_dir is None else archive_folder(data_dir)

    def prepare(writer):
        builder = _builder(name, folder)
        return _prepare(builder, image_size, writer)

    def open_stream():
        return stream(_builder(name, folder), "train", image_size)

    key = {"image_size": image_size, "name": name, "data_dir": _fingerprint(name, folder)}
    return prepared(name, key, prepare, open_stream)


def _fingerprint(name, folder):
    """Path and modification time of the metadata in a data_dir, so that what is prepared there again is read again."""
    if folder is None:
        return None
    top = folder / name.removeprefix(PREFIX).split("/")[0].split(":")[0]
    return [str(folder.resolve()), *sorted(f"{path} {path.stat().st_mtime_ns}" for path in top.rglob("*.json"))]


def _builder(name, folder):
    """The prepared tfds builder: in the folder (None: where tfds keeps its data), or else in our cache."""
    tfds = import_tfds()
    for root in (folder, cache_folder() / "tfds"):
        try:
            builder = tfds.builder(name.removeprefix(PREFIX), data_dir=root)
        except Exception as error:
            raise InputError(f"dataset {name!r} cannot be opened; tfds says: {one_line(error)}") from error
        _check_features(name, builder.info)
        if builder.is_prepared():
            return builder
    if folder is None:
        _check_network(builder)
    download_and_prepare(builder, folder)
    return builder


def _check_network(builder):
    """Raises an InputError if no server of the dataset's files can be reached."""
    errors = []
    # Some datasets have thousands of files; the first ones show whether there is a network.
    for url in list(builder.url_infos or ())[:3]:
        try:
            return check_reachable(url)
        except OSError as error:
            errors.append(f"{url}: {error}")
    if errors:
        raise InputError(
            f"tfds cannot download {builder.info.full_name}: {errors[0]}. Give a data_dir of tfds that has it prepared "
            "(--data-dir)"
        )


def _check_features(name, info):
    """Raises an InputError unless an example has one image of 8 bits and one integer label."""
    import tensorflow_datasets as tfds

    keys = info.supervised_keys
    if not (isinstance(keys, tuple) and len(keys) == 2 and all(isinstance(key, str) for key in keys)):
        raise InputError(f"{name} does not say what is the image and what the label (supervised_keys: {keys})")
    image, label = (info.features[key] for key in keys)
    if not isinstance(image, tfds.features.Image):
        raise InputError(f"{name} is not a dataset of images: {keys[0]!r} is {one_line(image)}")
    if image.np_dtype != np.uint8:
        raise InputError(f"{name} has images of {np.dtype(image.np_dtype)}; only images of 8 bits are read")
    if label.shape != () or not np.issubdtype(label.np_dtype, np.integer):
        raise InputError(f"{name} has no single integer label an image: {keys[1]!r} is {one_line(label)}")


def _prepare(builder, image_size, writer):
    """Fills the splits of the Writer; returns class names and source."""
    parts = _parts(builder)
    labels = {split: read_labels(builder, part) for split, part in parts.items()}
    class_names = _class_names(builder, labels)
    indices, description = cut_missing_splits(labels["train"], parts.keys(), class_names, "as published")
    for split, part in parts.items():
        chosen = indices if split == "train" else {split: np.arange(len(labels[split]))}
        copy_images(builder, part, labels[split], chosen, image_size, writer)
    return class_names, {
        "kind": "tfds",
        "name": "/".join(builder.info.full_name.split("/")[:-1]),
        "original": True,
        "version": str(builder.version),
        "split": description,
        "notes": _notes(builder, parts, image_size),
    }


def _parts(builder):
    """{our split: its name in tfds}, train first."""
    published = list(builder.info.splits)
    if "train" not in published:
        raise InputError(f"{builder.info.full_name} has no train split. Its splits: {', '.join(published)}")
    found = {split: [name for name in names if name in published] for split, names in PARTS.items()}
    return {"train": "train", **{split: names[0] for split, names in found.items() if names}}


def _class_names(builder, labels):
    """The class names that tfds has, else "class 0", "class 1", ..."""
    lowest, largest = min(part.min() for part in labels.values()), max(part.max() for part in labels.values())
    # tfds writes -1 for images without a label.
    require(lowest >= 0, f"every image of {builder.info.full_name} must have a label", lowest)
    label = builder.info.features[builder.info.supervised_keys[1]]
    if getattr(label, "num_classes", None):
        return list(label.names)
    return [f"class {i}" for i in range(largest + 1)]


def _notes(builder, parts, image_size):
    channels = builder.info.features[builder.info.supervised_keys[0]].shape[-1]
    unused = [part for part in builder.info.splits if part not in parts.values()]
    return [
        *(["grey images, repeated in three channels"] if channels == 1 else []),
        *(["RGBA images, alpha channel dropped"] if channels == 4 else []),
        *([f"resized to cover {image_size}x{image_size} pixels and center-cropped"] if image_size else []),
        *([f"splits left out: {', '.join(unused)}"] if unused else []),
    ]
