"""What a network said of every validation and test image, kept beside the record as `<stem>_predictions.npz`."""

import io
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kmodels.analysis.evaluation import evaluate_predictions, predicted_classes
from kmodels.analysis.metrics import log_softmax
from kmodels.errors import InputError
from kmodels.files import write_atomically
from kmodels.records import read_record

# Of train they would say what the network has learnt by heart.
KEPT = ("val", "test")


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of each image of a split.

    Attributes:
        index: int64 (n,), as in the Split.
        labels: int32 (n,), the true classes.
        predicted: int32 (n,); where the outputs are not finite, a wrong class, see `predicted_classes`.
        probabilities: float32 (n, classes), rounded to three digits; None of a classifier that has none, as an SVM.
        files: bytes (n,), as in the Split, from `folder`; None where the images are of no files of their own.
        folder: the folder or zip file of the files, or None.

    Example:
        test = read_predictions("runs/pets/probe/jax-....json")["test"]
        wrong = test.predicted != test.labels
    """

    index: np.ndarray
    labels: np.ndarray
    predicted: np.ndarray
    probabilities: np.ndarray | None = None
    files: np.ndarray | None = None
    folder: str | None = None


def predictions_of(split, outputs, folder=None):
    """The Predictions of a split.

    Args:
        split: a Split.
        outputs: logits, floats (n, classes), or predicted classes, ints (n,).
        folder: of its image files.
    """
    outputs = np.asarray(outputs)
    probabilities = np.exp(log_softmax(outputs)) if outputs.ndim == 2 else None
    predicted = outputs if probabilities is None else predicted_classes(split.labels, probabilities)
    return Predictions(
        index=np.asarray(split.index, np.int64),
        labels=np.asarray(split.labels, np.int32),
        predicted=predicted.astype(np.int32),
        probabilities=probabilities,
        files=split.files,
        folder=str(Path(folder).resolve()) if folder and split.files is not None else None,
    )


def predictions_path(record):
    """Where the predictions are kept of the run whose record is this .json file."""
    record = Path(record)
    return record.with_name(f"{record.stem}_predictions.npz")


def write_predictions(record, predictions):
    """Writes predictions beside a record.

    Args:
        record: the path of its .json file.
        predictions: {split: Predictions}.

    Raises:
        InputError: if the file cannot be written.
    """
    arrays = {}
    for split, of_split in predictions.items():
        for name in ("index", "labels", "predicted"):
            arrays[f"{split}_{name}"] = getattr(of_split, name)
        if of_split.probabilities is not None:
            arrays[f"{split}_probabilities"] = of_split.probabilities.astype(np.float16)
        if of_split.files is not None:
            arrays[f"{split}_files"] = of_split.files
        if of_split.folder:
            arrays["folder"] = np.array(os.fsencode(of_split.folder))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(predictions_path(record), buffer.getvalue())


def read_predictions(record):
    """The predictions beside a record, {"val": Predictions, "test": Predictions}; None where there are none.

    Args:
        record: the path of its .json file.

    Raises:
        InputError: if the record or the predictions cannot be read, or they are of another run than the record.
    """
    path = predictions_path(record)
    if not path.is_file():
        return None
    of_record, remedy = read_record(record), "run the experiment again with --again (again=True)"
    try:
        with path.open("rb") as file, np.load(file) as arrays:
            found = {split: _read(arrays, split) for split in KEPT}
    except Exception as error:
        # Whatever is wrong with bytes that a crash or a disk left: zip, zlib and NumPy have their own errors.
        raise InputError(f"{path} is corrupt; {remedy}") from error
    for split, of_split in found.items():
        if not _agree(of_split, getattr(of_record, split)):
            raise InputError(f"{path.name} is of another run than {Path(record).name}; {remedy}")
    return found


def images_folder(record):
    """Where the image files of a run were, a folder or zip file, as the predictions beside its record say.

    Args:
        record: the path of its .json file.

    Returns:
        A path; None without predictions, and where the images are of no files of their own.

    Raises:
        InputError: see `read_predictions`.
    """
    found = read_predictions(record)
    return found["val"].folder if found else None


def _read(arrays, split):
    optional = {name: f"{split}_{name}" for name in ("probabilities", "files")}
    kept = {name: arrays[key] for name, key in optional.items() if key in arrays}
    return Predictions(
        *(arrays[f"{split}_{name}"] for name in ("index", "labels", "predicted")),
        probabilities=kept["probabilities"].astype(np.float32) if "probabilities" in kept else None,
        files=kept.get("files"),
        folder=os.fsdecode(arrays["folder"].item()) if "folder" in arrays else None,
    )


def _agree(of_split, evaluation):
    """Whether predictions have the confusion matrix that the record has, and parts of the same length."""
    classes = len(evaluation.confusion_matrix)
    parts = [len(part) for part in (of_split.index, of_split.probabilities, of_split.files) if part is not None]
    if {*parts, len(of_split.labels), len(of_split.predicted)} != {evaluation.examples}:
        return False
    if not all(part.min() >= 0 and part.max() < classes for part in (of_split.labels, of_split.predicted)):
        return False
    counted = evaluate_predictions(of_split.labels, of_split.predicted, classes)
    return counted.confusion_matrix == evaluation.confusion_matrix
