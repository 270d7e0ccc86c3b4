"""`kmodels data`: the datasets, and what is in them."""

from pathlib import Path

import tyro

from kmodels.backend import check_backend

Name = tyro.conf.Positional


def data(
    name: Name[str] = "",
    /,
    image_size: int | None = None,
    data_dir: Path | None = None,
    skip_unreadable: bool = False,
    group_by: str | None = None,
    verify: bool = False,
) -> int:
    """Prepare a dataset and say what is in it; without a name, list the datasets.

    Args:
        name: of the dataset.
        image_size: height and width in pixels; left out: as stored.
        data_dir: the folder of images, or of the archive you already have; left out: downloaded where that can be.
        skip_unreadable: leave out image files that cannot be read, instead of refusing all.
        group_by: of a folder: a regular expression; images in whose paths it finds the same stay in one split.
        verify: read all that was prepared and compare it with its checksum; prepare it again where it is damaged.
    """
    from kmodels.data import DATASETS, load_dataset, summary

    check_backend()
    if not name:
        width = max(map(len, DATASETS))
        for known in DATASETS:
            print(f"{known:<{width}}  {summary(known)}")
        return 0
    dataset = load_dataset(name, image_size, data_dir, skip_unreadable, group_by)
    if verify:
        from kmodels.data.cache import is_whole

        if not is_whole(dataset):
            print("the prepared dataset is damaged (its checksum differs); preparing it again")
            dataset = load_dataset(name, image_size, data_dir, skip_unreadable, group_by)
    print(f"{'x'.join(map(str, dataset.image_shape))} pixels; {dataset.source['split']}")
    if "copy" in dataset.source:
        print(dataset.source["copy"])
    for note in dataset.source["notes"]:
        print(f"note: {note}")
    import numpy as np

    from kmodels.report.tables import aligned

    rows = [("class", "train", "val", "test")]
    counts = [
        np.bincount(split.labels, minlength=len(dataset.class_names))
        for split in (dataset.train, dataset.val, dataset.test)
    ]
    rows += [(label, *(f"{count[i]:,}" for count in counts)) for i, label in enumerate(dataset.class_names)]
    rows.append(("all", *(f"{count.sum():,}" for count in counts)))
    print(aligned(rows, right=(1, 2, 3)))
    print(f"sha256 {dataset.source['sha256']}{', verified' if verify else ''}")
    if "pixels_sha256" in dataset.source:
        print(f"pixels_sha256 {dataset.source['pixels_sha256']} (whatever the order of images and the files' format)")
    return 0
