"""`Classifier`: a trained network in use, from image files or arrays to class names."""

import itertools
import os
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmodels.analysis.metrics import log_softmax
from kmodels.analysis.predict import logits_model, predict_logits, usual_batch
from kmodels.backend import keep_compiled
from kmodels.data.file_sources import Folder
from kmodels.data.pillow_reading import UnreadableError, open_rgb, pillow_warnings
from kmodels.data.resizing import resize_and_crop
from kmodels.errors import require
from kmodels.models.about import read_about
from kmodels.models.saving import load_network
from kmodels.notebook import Listing, listing_of_predictions

# Images decoded at once and handed to the network's thread together; and how many such blocks wait for it.
BLOCK, AHEAD = 16, 8


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """What a network says of one image.

    Attributes:
        file: its path, as it was given; None for an image of an array or of bytes.
        names: of all classes, the likeliest first.
        probabilities: floats (classes,), in the order of `names`.
        error: why the file cannot be read, in words; then there are no names.
    """

    file: Path | None
    names: tuple[str, ...] = ()
    probabilities: np.ndarray | None = None
    error: str | None = None

    def __repr__(self):
        from kmodels.notebook import prediction_text

        return prediction_text(self)

    def _repr_html_(self):
        from kmodels.notebook import prediction_html

        return prediction_html(self)

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
        return listing_of_predictions(self)


class _InMemory:
    """The bytes of one image file, as a source of files."""

    def __init__(self, content):
        self._content = content

    def size(self, name):
        return len(self._content)

    def read(self, name):
        return self._content


class Classifier:
    """A network in a .keras file, with the names of its classes. Threads may share it: they take turns.

    Args:
        file: a .keras file. One that kmodels wrote knows its classes; any other has one input of images.
        class_names: in the order of the network's outputs; None: those of the file, else "class 0", "class 1", ...

    Attributes:
        network: the keras.Model.
        class_names: a tuple.
        image_shape: (height, width, channels) that images are brought to: scaled to cover it and center-cropped.
        logits_model: from pixels to logits, the network without a softmax at its end.

    Raises:
        InputError: if the file cannot be loaded, or the network does not take images.

    Example:
        classifier = kmodels.Classifier("pets.keras")
        for prediction in classifier.predict(["cat.jpg", "dog.jpg"]):
            print(prediction.file, prediction.name, prediction.confidence)
    """

    def __init__(self, file, class_names=None):
        keep_compiled()
        self.network = load_network(file)
        about = read_about(file)
        shapes = [tuple(tensor.shape)[1:] for tensor in getattr(self.network, "inputs", None) or ()]
        takes_images = len(shapes) == 1 and len(shapes[0]) == 3 and shapes[0][-1] in (1, 3)
        require(takes_images, "the network must have one input, images (height, width, 1 or 3)", shapes)
        self.image_shape = shapes[0] if None not in shapes[0] else about and about.image_shape
        require(self.image_shape, "the network must say the size of its images, since the file does not", shapes[0])
        self.logits_model = logits_model(self.network)
        classes = self.logits_model.output_shape[-1]
        names = class_names or (about and about.class_names) or [f"class {i}" for i in range(classes)]
        require(len(names) == classes, f"class_names must be {classes}, one for each output", list(names))
        self.class_names = tuple(names)
        # On JAX, a Keras model that two threads use at once fails.
        self._lock = threading.Lock()

    def predict(self, images):
        """Classifies images, and returns a list with a Prediction for each, in order.

        Args:
            images: paths of image files or their bytes, an array of pixels 0..255 (n, height, width, channels) of the
                network's size; or a single path or the bytes of one file.

        Raises:
            InputError: if an array does not fit. A file that cannot be read has a Prediction with an `error`.
        """
        if isinstance(images, str | bytes | os.PathLike):
            images = [images]
        if hasattr(images, "shape"):
            with self._lock:
                found = predict_logits(self.network, images)
            return PredictionList(self._prediction(None, logits) for logits in found)
        return PredictionList(self.stream(images))

    def stream(self, files):
        """As `predict`, for any number of image files: yields Predictions in order, with a few images in memory.

        Args:
            files: an iterable of paths, or of the bytes of image files, which may have no end.
        """
        size, rows = usual_batch(self.image_shape), None
        decoded = itertools.chain.from_iterable(self._decoded(files))
        while batch := list(itertools.islice(decoded, size)):
            # Always as many, for another number would be compiled again; of few images the next power of two.
            rows = rows or min(size, 1 << (len(batch) - 1).bit_length())
            pixels = np.zeros((rows, *self.image_shape), np.uint8)
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
        return [(None if isinstance(file, bytes) else Path(file), self.pixels(file)) for file in files]

    def pixels(self, file):
        """The pixels of an image file as the network takes them, uint8; or why it cannot be read, in words.

        Args:
            file: its path, or its bytes.
        """
        in_memory = isinstance(file, bytes)
        files, name = (_InMemory(file), "") if in_memory else (Folder(Path(file).parent), Path(file).name)
        height, width, channels = self.image_shape
        try:
            with pillow_warnings(), open_rgb(files, name) as (image, _, _):
                if channels == 1:
                    return resize_and_crop(image.convert("L"), (height, width))[..., None]
                return resize_and_crop(image, (height, width))
        except UnreadableError as error:
            return str(error)

    def _prediction(self, file, logits):
        probabilities = np.exp(log_softmax(np.asarray(logits, "float64")[None]))[0]
        order = np.argsort(-probabilities, kind="stable")
        return Prediction(file, tuple(self.class_names[i] for i in order), probabilities[order])
