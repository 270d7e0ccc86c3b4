"""The datasets found here: prepared in the cache or by tfds, archives, and what is attached to a Kaggle kernel."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """A dataset found.

    Attributes:
        name: as `load_dataset` takes it; of a prepared set of tfds, that of its folder.
        what: "prepared", "prepared by tfds", "archive" or "attached on Kaggle".
        path: where it lies.
        pixels: height and width of prepared images, None if unknown.
    """

    name: str
    what: str
    path: str
    pixels: tuple[int, int] | None = None


def find_datasets():
    """All that is found of the datasets that kmodels knows, as a tuple of Found."""
    try:
        from kmodels.data.about import ABOUT, places, prepared_sets

        found = []
        for name in [*ABOUT, "tfds:*"]:
            for one in prepared_sets(name):
                known = one.folder.name.rpartition("-")[0] if "*" in name else name
                found.append(Found(known, "prepared", str(one.folder), one.pixels))
            others = places(name) if name in ABOUT else ()
            found += [Found(name, at.what, at.path) for at in others if at.exists and at.what != "prepared"]
    except Exception:
        # A library that cannot be imported, or a folder that cannot be read, is a problem of its own.
        return ()
    return tuple(found)
