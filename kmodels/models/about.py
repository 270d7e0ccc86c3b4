"""What a .keras file says of itself: the classes, the pixels it takes and the run it is of. Keras passes over it."""

import json
import math
import zipfile
from dataclasses import asdict, dataclass

import kmodels
from kmodels.data.arrays import value_range, values_in_words
from kmodels.errors import InputError, require

MEMBER = "kmodels.json"
# How images are brought to the network's size, see `kmodels.data.resizing.resize_and_crop`.
RESIZE = "scaled to cover, center-cropped"
# Values may be beyond those of the training images by this share of their range: new images have other extremes.
BEYOND = 0.25


@dataclass(frozen=True, kw_only=True)
class About:
    """What a network needs to be used, and where it comes from.

    Attributes:
        class_names: in the order of the logits.
        image_shape: (height, width, channels) of the images that it was trained on.
        record: the stem of its run's record, <report>/<name>/<file>.
        data_sha256: checksum of the dataset, as in the record.
        value_range: the smallest and the largest value of the training images; None: they were pixels 0..255.
        resize: how images are brought to that shape.
        version: of kmodels.
    """

    class_names: tuple[str, ...]
    image_shape: tuple[int, ...]
    record: str = ""
    data_sha256: str = ""
    value_range: tuple[float, float] | None = None
    resize: str = RESIZE
    version: str = kmodels.__version__

    def __post_init__(self):
        names, shape = self.class_names, self.image_shape
        if not (len(names) >= 2 and all(isinstance(name, str) for name in names) and len(set(names)) == len(names)):
            raise ValueError("class_names are not two or more different texts")
        if not (len(shape) == 3 and all(isinstance(side, int) and side >= 1 for side in shape)):
            raise ValueError("image_shape is not height, width and channels")
        if not all(isinstance(text, str) for text in (self.record, self.data_sha256, self.resize, self.version)):
            raise ValueError("record, data_sha256, resize and version are not texts")
        values = self.value_range
        if values is not None and not (len(values) == 2 and all(map(_finite, values)) and values[0] <= values[1]):
            raise ValueError("value_range is not a smallest and a largest number")

    @property
    def values(self):
        """In words, what the images consist of."""
        return values_in_words(self.value_range)

    def require_values(self, images, remedy="give Classifier.predict arrays of floats in this range"):
        """Checks images for a network that was trained on other values than pixels; does nothing for any other.

        Args:
            images: an array.
            remedy: what to do, for the message.

        Raises:
            InputError: for integers, such as the pixels of an image file, and for floats far outside the range.
        """
        if self.value_range is None or not images.size:
            return
        rule = f"the network was trained on {self.values}, not on pixels 0..255; {remedy}"
        require(images.dtype.kind == "f", rule, "an image file, a Pillow image or integers")
        (low, high), (least, most) = value_range(images), self.value_range
        beyond = BEYOND * (most - least)
        require(least - beyond <= low and high <= most + beyond, rule, f"{images.dtype} from {low:g} to {high:g}")


def _finite(value):
    return isinstance(value, int | float) and math.isfinite(value)


def write_about(path, about):
    """Adds it to a .keras file that has none."""
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(MEMBER, json.dumps(asdict(about), indent=1))


def read_about(path):
    """The About of a .keras file; None where it has none, as those that Keras itself writes.

    Raises:
        InputError: if it is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if MEMBER not in archive.namelist():
                return None
            content = json.loads(archive.read(MEMBER))
        lists = {name: tuple(content.pop(name)) for name in ("class_names", "image_shape")}
        # Files of older versions say nothing of the range.
        if values := content.pop("value_range", None):
            lists["value_range"] = tuple(values)
        return About(**lists, **content)
    # Whatever is wrong with the bytes of a file: zip, zlib and json have their own errors.
    except Exception as error:
        raise InputError(f"what {path} says of itself ({MEMBER}) is damaged: {error}") from error
