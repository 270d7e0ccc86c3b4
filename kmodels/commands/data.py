"""`kmodels data`: which datasets there are, what is in them, and where they lie on this machine."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from kmodels.backend import check_backend
from kmodels.errors import require, unknown


@dataclass(frozen=True, kw_only=True)
class _List:
    """List the datasets: their images, licence and download, and which are prepared here."""

    def run(self):
        from kmodels.data.about import ABOUT, archives_of, prepared_sets, size_in_words
        from kmodels.text import aligned

        rows = [("name", "what", "images", "classes", "licence", "download", "prepared here", "from")]
        for name, about in ABOUT.items():
            sizes = {"x".join(map(str, one.pixels[::-1])) for one in prepared_sets(name)}
            archives = archives_of(name)
            download = size_in_words(archives[0].size) if archives else "-"
            ready = ", ".join(sorted(sizes)) or "no"
            rows.append((name, about.what, about.images, about.classes, about.licence, download, ready, about.sources))
        print(aligned(rows, right=(2, 3, 5)))
        print("also any dataset of tensorflow-datasets, as tfds:NAME (tfds:mnist)")
        return 0


@dataclass(frozen=True, kw_only=True)
class _Opening:
    """The arguments that decide what is prepared."""

    name: Annotated[str, tyro.conf.Positional]
    """name of the dataset, as `kmodels data list` has it, or tfds:NAME"""
    image_size: int | None = None
    """height and width in pixels; left out: as stored"""
    data_dir: Path | None = None
    """the folder of images, or of the archive you already have; left out: found on Kaggle, or downloaded"""
    archive: Path | None = None
    """the archive you already have; it is checked, stays where it is, and is used instead of a download from now on"""
    skip_unreadable: bool = False
    """leave out image files that cannot be read, instead of refusing all"""
    group_by: str | None = None
    """for a folder: a regular expression; images whose paths give the same match stay in one split"""
    mirror: str | None = None
    """a URL of the archive on another server, or of its folder with "/" at its end; tried before all others"""

    def open(self):
        """The Dataset, after saying what it is and how large its download would be."""
        from kmodels.data import load_dataset
        from kmodels.data.about import ABOUT, archives_of, introduction
        from kmodels.data.archives import hand_over
        from kmodels.data.downloads import from_mirror

        check_backend()
        data_dir, archives = self.data_dir, archives_of(self.name)
        if self.name in ABOUT:
            print(introduction(self.name), flush=True)
        require(self.archive is None or data_dir is None, "give --archive or --data-dir, not both", str(self.archive))
        require(
            self.mirror is None or archives, "--mirror is for a dataset that is downloaded as an archive", self.name
        )
        if self.archive is not None and archives:
            print(f"{self.archive} is {hand_over(self.archive, archives).name}, as published", flush=True)
        elif self.archive is not None:
            require(self.name == "intel_scenes", "--archive is for a dataset that is published as one", self.name)
            data_dir = self.archive
        with from_mirror(self.mirror):
            return load_dataset(self.name, self.image_size, data_dir, self.skip_unreadable, self.group_by)


@dataclass(frozen=True, kw_only=True)
class _Prepare(_Opening):
    """Prepare a dataset, downloading it where that can be, and say what is in it."""

    def run(self):
        there = _prepared(self.name)
        dataset = self.open()
        _describe(dataset, there)
        return 0


@dataclass(frozen=True, kw_only=True)
class _Verify(_Opening):
    """Read all of a prepared dataset and compare it with its checksum; prepare it again where it is damaged."""

    def run(self):
        from kmodels.data.cache import is_whole

        there = _prepared(self.name)
        dataset = self.open()
        if not is_whole(dataset):
            print("the prepared dataset is damaged (its checksum differs); preparing it again")
            there = ()
            dataset = self.open()
        _describe(dataset, there, ", verified")
        return 0


@dataclass(frozen=True, kw_only=True)
class _Where:
    """Say where datasets lie: the cache, what is prepared in it, and where the files of one are looked for."""

    name: Annotated[str, tyro.conf.Positional] = ""
    """name of the dataset; left out: all that are prepared"""

    def run(self):
        from kmodels.data.about import ABOUT, places, prepared_sets, size_in_words
        from kmodels.files import OTHER_CACHE, cache_folder
        from kmodels.text import aligned

        if self.name and self.name not in ABOUT and not self.name.startswith("tfds:"):
            raise unknown("dataset", self.name, ABOUT)
        print(f"cache: {cache_folder()} ({OTHER_CACHE})")
        found = {name: prepared_sets(name) for name in ([self.name] if self.name else [*ABOUT, "tfds:*"])}
        rows = [("prepared", "pixels", "size", "folder")]
        for name, sets in found.items():
            rows += [
                (name, "x".join(map(str, one.pixels[::-1])), size_in_words(one.size), str(one.folder)) for one in sets
            ]
        print(aligned(rows, right=(2,)) if len(rows) > 1 else "nothing is prepared there")
        if self.name in ABOUT:
            words = {True: "yes", False: "no", None: "not asked"}
            rows = [("looked for, in this order", "there", "where")]
            rows += [(place.what, words[place.exists], place.path) for place in places(self.name)]
            print(aligned(rows))
        return 0


def data(
    command: tyro.conf.OmitArgPrefixes[
        Annotated[_List, tyro.conf.subcommand("list", prefix_name=False)]
        | Annotated[_Prepare, tyro.conf.subcommand("prepare", prefix_name=False)]
        | Annotated[_Verify, tyro.conf.subcommand("verify", prefix_name=False)]
        | Annotated[_Where, tyro.conf.subcommand("where", prefix_name=False)]
    ],
) -> int:
    """List the datasets; prepare or verify one, and say what is in it; say where they lie.

    Args:
        command: what to do.
    """
    return command.run()


def _prepared(name):
    """The folders of the cache in which a dataset of this name is prepared."""
    from kmodels.data.about import prepared_sets

    return [one.folder.resolve() for one in prepared_sets(name)]


def _describe(dataset, there, verified=""):
    """Prints what is in a dataset, of whose name the folders `there` were prepared before."""
    import numpy as np

    from kmodels.data.cache import are_told
    from kmodels.text import aligned

    print(f"{'x'.join(map(str, dataset.image_shape))} pixels; {dataset.source['split']}")
    if "copy" in dataset.source:
        print(dataset.source["copy"])
    folder = Path(dataset.train.images.filename).parent.resolve()
    # Else they were printed just now.
    for note in dataset.source["notes"] if folder in there or not are_told(dataset.source) else ():
        print(f"note: {note}")
    rows = [("class", "train", "val", "test")]
    counts = [
        np.bincount(split.labels, minlength=len(dataset.class_names))
        for split in (dataset.train, dataset.val, dataset.test)
    ]
    rows += [(label, *(f"{count[i]:,}" for count in counts)) for i, label in enumerate(dataset.class_names)]
    rows.append(("all", *(f"{count.sum():,}" for count in counts)))
    print(aligned(rows, right=(1, 2, 3)))
    print(f"sha256 {dataset.source['sha256']}{verified}")
    if "pixels_sha256" in dataset.source:
        print(f"pixels_sha256 {dataset.source['pixels_sha256']} (whatever the order of images and the files' format)")
