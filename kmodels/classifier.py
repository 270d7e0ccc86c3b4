"""`Classifier`: a trained network in use, from image files or arrays to class names."""

import itertools
import os
import sys
import threading
import warnings
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from kmodels.analysis.evaluation import NOT_FINITE
from kmodels.analysis.metrics import log_softmax
from kmodels.analysis.predict import logits_model, predict_logits, require_logits, usual_batch
from kmodels.backend import keep_compiled
from kmodels.best_run import network_file
from kmodels.data.arrays import checked_names, range_unless_pixels
from kmodels.data.given_image import ALLOWED, checked_array, is_array, is_one, pixels_of
from kmodels.data.pillow_reading import UnreadableError
from kmodels.errors import require
from kmodels.models.about import read_about
from kmodels.models.checks import check_one_output, divides_by_255
from kmodels.models.graph import layers_within
from kmodels.models.logits import FEW
from kmodels.notebook import WIDTH, Listing, Table, html
from kmodels.records.networks import load_network_of_run
from kmodels.text import clip, counted, printable

# Images decoded at once and handed to the network's thread together; and how many such blocks wait for it.
BLOCK, AHEAD = 16, 8


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What a network says of one image.

    Attributes:
        file: its path, as it was given; None for an image that was given otherwise.
        names: of all classes, the likeliest first.
        probabilities: floats (classes,), in the order of `names`.
        error: why the file or the Pillow image cannot be read, or is of no class, in words; then there are no names.
    """

    file: Path | None
    names: tuple[str, ...] = ()
    probabilities: np.ndarray | None = None
    error: str | None = None

    def __repr__(self):
        file = f"{printable(self.file)}: " if self.file else ""
        what = self.error or f"{self.name} {100 * self.confidence:.1f} %"
        return f"<Prediction {file}{clip(printable(what), WIDTH)}>"

    def _repr_html_(self):
        title = self.file or "prediction"
        if self.error:
            return html(title, [self.error])
        rows = [(name, f"{100 * probability:.1f}") for name, probability in self.likeliest(5)]
        return html(title, tables=[Table(rows, ("class", "probability %"), (1,))])

    @property
    def name(self):
        """Of the likeliest class; None of a file that cannot be read."""
        return self.names[0] if self.names else None

    @property
    def confidence(self):
        """The probability of the likeliest class; None of a file that cannot be read."""
        return float(self.probabilities[0]) if self.names else None

    def likeliest(self, number):
        """[(name, probability)] of so many classes, the likeliest first."""
        shares = () if self.probabilities is None else map(float, self.probabilities[:number])
        return list(zip(self.names, shares, strict=False))


class PredictionList(Listing, list):
    """A list of Predictions that shows itself as a table."""

    def _listing(self):
        rows = [
            (str(one.file or "-"), one.error or one.name, "-" if one.error else f"{100 * one.confidence:.1f}")
            for one in self
        ]
        title = counted(len(rows), "prediction")
        return title, rows, ("file", "class", "probability %"), (2,)


class Classifier:
    """A network in a .keras file, with the names of its classes. Threads may share it: they take turns.

    Args:
        file: a .keras file, or a folder of runs, whose best network it is then (`kmodels.best_run`). A file
            that kmodels wrote knows its classes; any other has one input of images and one output. Where nothing is
            known of the pixels that it takes, a line on standard error says which it is given.
        class_names: a list of different strings in the order of the network's outputs; None: those of the file, else
            "class 0", "class 1", ...

    Attributes:
        network: the keras.Model.
        class_names: a tuple.
        image_shape: (height, width, channels) that images are brought to: scaled to cover it and center-cropped.
        logits_model: from pixels to logits, the network without a softmax at its end.

    Raises:
        InputError: if the file cannot be loaded, the network does not take images, or the names do not fit; if the
            softmax of its logits is not the probability of a class, as in a network for several classes at once
            (`kmodels.models.logits`).

    Example:
        classifier = kmodels.Classifier("pets.keras")
        for prediction in classifier.predict(["cat.jpg", "dog.jpg"]):
            print(prediction.file, prediction.name, prediction.confidence)
    """

    def __init__(self, file, class_names=None):
        keep_compiled()
        file = network_file(file)
        self.network = load_network_of_run(file)
        self._about = about = read_about(file)
        shapes = [tuple(tensor.shape)[1:] for tensor in getattr(self.network, "inputs", None) or ()]
        takes_images = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][-1] in (1, 3)
        require(takes_images, "the network must have one input, images (height, width, 1 or 3)", shapes)
        self.image_shape = shapes[0] if None not in shapes[0] else about and about.image_shape
        require(self.image_shape, "the network must say the size of its images, since the file does not", shapes[0])
        check_one_output(self.network)
        self.logits_model = logits_model(self.network)
        require_logits(self.network, np.random.default_rng(0).integers(0, 256, (FEW, *self.image_shape), np.uint8))
        classes = self.logits_model.output_shape[-1]
        if class_names is not None:
            names = checked_names(class_names)
        else:
            names = about.class_names if about else tuple(f"class {i}" for i in range(classes))
        require(len(names) == classes, f"class_names must be {classes}, one for each output", list(names))
        self.class_names = names
        if note := unscaled(self.network, about):
            print(f"{note}; if it was trained on others, put a Rescaling layer before it", file=sys.stderr)
        # On JAX, a Keras model that two threads use at once fails.
        self._lock = threading.Lock()

    def predict(self, images):
        """Classifies images, and returns a list with a Prediction for each, in order.

        Args:
            images: one image or several: a list (or any iterable) of images, or an array (n, height, width, channels).
                An image is a path, the bytes of an image file, a Pillow image or an array (height, width, channels) or
                (height, width), or a tensor of that shape, with pixels 0..255. All are scaled to cover the network's
                size and center-cropped, except arrays of floats, which must have that size. A network that was trained
                on floats of another range takes nothing but arrays of these.

        Returns:
            A list of Predictions. A file or a Pillow image that cannot be read has one with an `error`, and so has an
            image for which the network's outputs are not finite numbers.

        Raises:
            InputError: for anything else; for pixels that are not finite; for values that the network was not trained
                on, if its file knows those; else for floats outside 0..255 or in 0..1, if the network divides pixels by
                255 itself (of others it may be right, so that is a warning).
        """
        if is_one(images):
            images = [images]
        elif is_array(images):
            images = self._several(images)
            if images.shape[1:] == self.image_shape:
                return self._predict_array(images)
        several = hasattr(images, "__iter__") and not isinstance(images, dict)
        require(several, f"{ALLOWED}; give one or a list of them", type(images).__name__)
        return PredictionList(self.stream(images))

    def _several(self, images):
        """An array of one image or several as an array (n, ...)."""
        shape = tuple(images.shape)
        # A column of paths, as pandas has it.
        if len(shape) == 1:
            return np.asarray(images, object)
        array = checked_array(images)
        grey = self.image_shape[-1] == 1 and shape[1:] == self.image_shape[:2]
        if array.ndim == 3 and grey:
            return array[..., None]
        return array if array.ndim > 3 else array[None]

    def _predict_array(self, images):
        self._check_range(images)
        with self._lock:
            found = predict_logits(self.network, images)
        return PredictionList(self._prediction(None, logits) for logits in found)

    def _check_range(self, pixels):
        """Says where an array cannot have the values that the network was trained on, usually pixels 0..255."""
        if self._about and self._about.value_range:
            self._about.require_values(pixels)
            return
        found = range_unless_pixels(pixels)
        if found is None:
            return
        low, high = found
        rule = "pixels must be from 0 to 255; multiply those from 0 to 1 by 255, and undo any normalisation"
        require(not divides_by_255(self.network), rule, f"{pixels.dtype} from {low:g} to {high:g}")
        warnings.warn(f"{rule}, unless the network was trained on such. Received: {low:g} to {high:g}", stacklevel=4)

    def stream(self, files):
        """As `predict`, for any number of images: yields Predictions in order, with a few images in memory.

        Args:
            files: an iterable of images, each as `predict` takes one, which may have no end.
        """
        size, rows = usual_batch(self.image_shape), None
        decoded = itertools.chain.from_iterable(self._decoded(files))
        while batch := list(itertools.islice(decoded, size)):
            # Always as many, for another number would be compiled again; of few images the next power of two.
            rows = rows or min(size, 1 << (len(batch) - 1).bit_length())
            floats = any(not isinstance(image, str) and image.dtype.kind == "f" for _, image in batch)
            pixels = np.zeros((rows, *self.image_shape), np.float32 if floats else np.uint8)
            for i, (_, image) in enumerate(batch):
                if not isinstance(image, str):
                    pixels[i] = image
            with self._lock:
                found = self.logits_model.predict_on_batch(pixels)
            for (file, image), logits in zip(batch, found, strict=False):
                yield Prediction(file, error=image) if isinstance(image, str) else self._prediction(file, logits)

    def _decoded(self, files):
        """Yields lists of (path, pixels or why it cannot be read), decoded while the network is at work."""
        files, waiting = iter(files), deque()
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            try:
                while True:
                    while len(waiting) < AHEAD and (block := list(itertools.islice(files, BLOCK))):
                        waiting.append(pool.submit(self._decode, block))
                    if not waiting:
                        return
                    yield waiting.popleft().result()
            finally:
                for block in waiting:
                    block.cancel()

    def _decode(self, files):
        return [(Path(one) if isinstance(one, str | os.PathLike) else None, self.pixels(one)) for one in files]

    def pixels(self, image):
        """The pixels of an image as the network takes them; or why it cannot be read, in words.

        Args:
            image: one image, as `predict` takes it.

        Returns:
            An array of `image_shape`, uint8 unless floats were given; or a string.
        """
        try:
            pixels = pixels_of(image, self.image_shape)
        except UnreadableError as error:
            return str(error)
        self._check_range(pixels)
        return pixels

    def _prediction(self, file, logits):
        probabilities = np.exp(log_softmax(np.asarray(logits, "float64")[None]))[0]
        if np.isnan(probabilities).any():
            return Prediction(file, error=NOT_FINITE)
        order = np.argsort(-probabilities, kind="stable")
        return Prediction(file, tuple(self.class_names[i] for i in order), probabilities[order])


def unscaled(network, about):
    """A note for networks that may have been trained on other values than pixels 0..255; None for any other.

    Args:
        network: a keras.Model.
        about: what its file says of itself, an About; None where it says nothing.
    """
    scaling = keras.layers.Rescaling | keras.layers.Normalization
    if about or any(isinstance(layer, scaling) for layer in layers_within(network)):
        return None
    return "the network is given pixels 0..255, and no layer of it scales them"
