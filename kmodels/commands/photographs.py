"""The commands for a network in use: `kmodels predict`, `evaluate` and `export`."""

import csv
import glob
import json
import shlex
import sys
from collections import Counter
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Literal

from kmodels.backend import check_backend, import_keras_alone
from kmodels.command_line import shown_as, tyro
from kmodels.data.file_sources import Folder
from kmodels.data.image_files import class_folder, images_inside
from kmodels.data.image_notes import unreadable_here
from kmodels.data.progress import progress
from kmodels.errors import InputError, require, shorten
from kmodels.files import require_folder, writable_folder
from kmodels.text import aligned, clip, columns, printable

Network = Annotated[Path, tyro.conf.Positional, shown_as("NETWORK")]
ClassNames = Annotated[tuple[str, ...] | None, shown_as("NAME ...")]
# Of more images, Grad-CAM is drawn of the first.
DRAWN = 20


def predict(
    file: Network,
    images: Annotated[tuple[str, ...], tyro.conf.Positional, shown_as("IMAGES ...")],
    /,
    top: int = 1,
    format: Annotated[Literal["table", "csv", "json"], tyro.conf.arg(name="format")] = "table",
    class_names: ClassNames = None,
    grad_cam: Annotated[Path | None, shown_as("FOLDER")] = None,
) -> int:
    """Classify photographs: print the likeliest classes of each image and their probabilities.

    The exit status is 1 if a file cannot be read or classified. Such files are listed on standard error at the end; in
    csv and json each also has a row with the error.

    Args:
        file: a .keras file; or a folder of runs such as runs/photos, for the network in it with the best validation
            accuracy.
        images: image files, folders (with their subfolders) or quoted patterns such as "photos/*.jpg"; or - to read a
            list of files from standard input, one per line.
        top: how many classes to print for each image.
        format: table, to read; csv; or json, one object per line.
        class_names: names of the classes, in the order of the network's outputs; left out: those in the .keras file.
        grad_cam: draw Grad-CAM heat maps of the first 20 images into this folder; left out: none.
    """
    check_backend()
    require(top >= 1, "top must be at least 1", top)
    if not images:
        raise InputError(f"give images, files or folders: kmodels predict {shlex.quote(str(file))} IMAGES...")
    files, total = _files(images)
    import_keras_alone()
    from kmodels.best_run import network_file
    from kmodels.classifier import Classifier

    file = network_file(file)
    classifier = Classifier(file, class_names)
    if grad_cam:
        # Not after all images were classified.
        writable_folder(grad_cam, "choose another folder with --grad-cam")
    write = {"table": _table, "csv": _csv, "json": _json}[format](classifier.class_names, top)
    failed, shown = [], []
    # A terminal shows the lines themselves.
    with nullcontext() if sys.stdout.isatty() else progress("classifying", total) as bar:
        for prediction in classifier.stream(files):
            write(prediction)
            if prediction.error:
                failed.append(prediction)
            elif len(shown) < DRAWN:
                shown.append(prediction.file)
            if bar is not None:
                bar.update()
    if not shown:
        _require_finite(failed)
    if grad_cam and shown:
        from kmodels.report.grad_cam_files import write_grad_cam_of_classified

        for picture in write_grad_cam_of_classified(classifier, file, shown, grad_cam):
            print(picture, file=sys.stderr)
    return _say_failed(failed)


def evaluate(
    file: Network,
    folder: Annotated[Path, tyro.conf.Positional, shown_as("FOLDER")],
    /,
    format: Annotated[Literal["table", "json"], tyro.conf.arg(name="format")] = "table",
    class_names: ClassNames = None,
) -> int:
    """Measure the accuracy of a network on labelled images, overall and for each class.

    The exit status is 1 if a file cannot be read. Such files are not counted, and listed on standard error at the end.
    An image for which the network's outputs are not finite numbers counts as wrong.

    Args:
        file: a .keras file; or a folder of runs such as runs/photos, for the network in it with the best validation
            accuracy.
        folder: has a folder of images for each class, named as the network's class; classes may be missing.
        format: table, to read; or json, one object: accuracy (a fraction of 1) and its 95 % interval, images,
            unreadable, class_names, per_class_accuracy (null for a class without images) and confusion_matrix (rows
            are true classes, columns predicted ones; an image without finite outputs is counted in the column after its
            true class).
        class_names: names of the classes, in the order of the network's outputs; left out: those in the .keras file.
    """
    check_backend()
    require_folder(folder, "the folder of labelled images")
    from kmodels.analysis.evaluation import NOT_FINITE, not_finite
    from kmodels.classifier import Classifier

    classifier = Classifier(file, class_names)
    source = Folder(folder)
    found = source.folders("")
    others = [name for name in found if name not in classifier.class_names]
    if others or not found:
        known = shorten(classifier.class_names, 20)
        raise InputError(
            f"{folder} must have folders named as classes of the network: {known}. Received: {shorten(found) or 'none'}"
        )
    classes = {name: class_folder(source, name) for name in found}
    others = unreadable_here(source, classes.values())
    labelled = [(folder / name / image, name) for name, of_class in classes.items() for image in of_class.images]
    if not labelled:
        raise InputError(f"there is no image file in the folders of {folder}{others and f'. Found {others}'}")
    _say_left_out(others)
    with progress("classifying", len(labelled)) as bar:
        predicted = [(one, bar.update())[0] for one in classifier.stream(path for path, _ in labelled)]
    unreadable = [one for one in predicted if one.error not in (None, NOT_FINITE)]
    pairs = [
        (name, one.name) for (_, name), one in zip(labelled, predicted, strict=True) if one.error in (None, NOT_FINITE)
    ]
    require(pairs, "no image in the folder can be read", str(folder))
    _require_finite(predicted)
    if lost := sum(predicted is None for _, predicted in pairs):
        print(f"warning: {not_finite(lost, len(pairs))}", file=sys.stderr)
    if format == "json":
        print(json.dumps(_evaluation(pairs, classifier.class_names, len(labelled) - len(pairs))))
    else:
        print(_accuracies(pairs))
    return _say_failed(unreadable)


def export(
    file: Network,
    /,
    format: Literal["saved_model", "onnx", "litert"],
    out: Annotated[Path | None, shown_as("PATH")] = None,
    images: Annotated[Path | None, shown_as("FOLDER")] = None,
    quantise: Annotated[Literal["float16", "int8"] | None, shown_as("{float16,int8}")] = None,
) -> int:
    """Convert a network to another format, and check on images that it predicts what it does in Keras.

    The result takes float32 images with the values that the network was trained on (usually pixels from 0 to 255),
    returns probabilities and contains the class names. The conversion runs on TensorFlow, whatever KERAS_BACKEND is.

    Args:
        file: a .keras file; or a folder of runs such as runs/photos, for the network in it with the best validation
            accuracy.
        format: saved_model for TensorFlow, onnx for ONNX Runtime, litert for LiteRT (TensorFlow Lite); onnx and litert
            need pip install "kmodels[export]".
        out: the file or folder to write; left out: beside the network.
        images: compare on the images of this folder, and measure accuracy if it has a folder for each class; left out:
            with --quantise the validation images of the network's run, otherwise parts of two photographs.
        quantise: for litert: store weights in 16 bits (half the file) or in 8 (a quarter of it, and faster on phones);
            the accuracy that it costs is printed. Left out: 32 bits, as in Keras.
    """
    from kmodels.export import export as write

    done = write(file, format, out, images, quantise)
    print(done.path)
    print(f"compared with Keras on {done.images:,} {printable(done.source)}:")
    print(f"the same class for {100 * done.same:.2f} % of them; probabilities differ by at most {done.difference:.2g}")
    if done.accuracy is not None:
        before, after = 100 * done.keras_accuracy, 100 * done.accuracy
        print(f"accuracy {before:.2f} % before, {after:.2f} % after: {after - before:+.2f} percentage points")
    if done.note:
        print(printable(done.note))
    return 0


def _accuracies(pairs):
    """Accuracy of each class and of all, with what each is taken for most often.

    Args:
        pairs: of true and predicted names, the predicted one None where the outputs are not finite.
    """
    from kmodels.analysis.metrics import accuracy_interval
    from kmodels.records.descriptions import percent

    rows = [("class", "images", "right %", "most often taken for")]
    for name in dict.fromkeys(truth for truth, _ in pairs):
        taken = Counter(predicted for truth, predicted in pairs if truth == name)
        wrong = Counter({other: number for other, number in taken.items() if other != name}).most_common(1)
        named = [("no class" if other is None else printable(other), number) for other, number in wrong]
        mistaken = "".join(f"{other} ({number:,})" for other, number in named)
        rows.append((printable(name), f"{taken.total():,}", percent(taken[name] / taken.total()), mistaken))
    right, total = sum(truth == predicted for truth, predicted in pairs), len(pairs)
    rows.append(("all", f"{total:,}", percent(right / total), ""))
    low, high = accuracy_interval(right, total)
    interval = f"95 % interval of the accuracy: {percent(low)} to {percent(high)} % (Wilson)"
    return f"{aligned(rows, right=(1, 2))}\n{interval}"


def _evaluation(pairs, class_names, unreadable):
    """What `_accuracies` shows, as a dict for JSON."""
    from kmodels.analysis.evaluation import evaluate_predictions, wrong_class
    from kmodels.analysis.metrics import accuracy_interval

    labels = [class_names.index(truth) for truth, _ in pairs]
    predictions = [
        wrong_class(label, len(class_names)) if predicted is None else class_names.index(predicted)
        for label, (_, predicted) in zip(labels, pairs, strict=True)
    ]
    found = evaluate_predictions(labels, predictions, len(class_names))
    right = sum(truth == predicted for truth, predicted in pairs)
    return {
        "accuracy": found.accuracy,
        "interval": accuracy_interval(right, len(pairs)),
        "images": found.examples,
        "unreadable": unreadable,
        "class_names": class_names,
        "per_class_accuracy": dict(zip(class_names, found.per_class_accuracy, strict=True)),
        "confusion_matrix": found.confusion_matrix,
    }


def _require_finite(predictions):
    """Raises InputError if nothing is predicted, and the network is the reason for it."""
    from kmodels.analysis.evaluation import NEVER_FINITE, NOT_FINITE

    if all(one.error for one in predictions) and any(one.error == NOT_FINITE for one in predictions):
        raise InputError(NEVER_FINITE)


def _say_failed(failed):
    """Names the files that cannot be read or classified, and returns the exit status."""
    from kmodels.analysis.evaluation import NOT_FINITE

    for one in failed:
        what = "classify" if one.error == NOT_FINITE else "read"
        print(f"cannot {what} {printable(one.file)}: {one.error}", file=sys.stderr)
    return 1 if failed else 0


def _files(names):
    """An iterator over the image files that the arguments mean, and their number; None for those of the input."""
    if list(names) == ["-"]:
        return _listed(sys.stdin), None
    found = []
    for name in names:
        paths = (
            [Path(name)] if Path(name).exists() else [Path(path) for path in sorted(glob.glob(name, recursive=True))]
        )
        require(paths, "there is no such image file or folder", name)
        for path in paths:
            found += images_inside(path) if path.is_dir() else [path]
            if path.is_dir():
                _say_left_out(unreadable_here(Folder(path), [class_folder(Folder(path), "")]))
    return iter(found), len(found)


def _say_left_out(what):
    if what:
        print(f"left out: {what}", file=sys.stderr)


def _listed(lines):
    """The paths in a list of files, one a line: blank lines and the line ends of Windows are no part of them."""
    if hasattr(lines, "reconfigure"):
        # Names of files need not be UTF-8.
        lines.reconfigure(errors="surrogateescape")
    # Windows may begin a text with a byte order mark.
    return (line.removeprefix("\ufeff").rstrip("\r\n") for line in lines if line.strip("\ufeff \t\r\n"))


# Functions that write a Prediction, made of the names of all classes and how many of them to write. For programs, every
# image has a row, also one that cannot be read.


def _table(names, top):
    shown = {name: clip(printable(name), 40) for name in names}
    width = max(map(columns, shown.values()))

    def write(prediction):
        if prediction.error:
            return
        classes = [
            f"{100 * share:5.1f} % {shown[name]}{' ' * (width - columns(shown[name]))}"
            for name, share in prediction.likeliest(top)
        ]
        print("  ".join([*classes, printable(prediction.file)]))

    return write


def _csv(names, top):
    writer = csv.writer(sys.stdout, lineterminator="\n")
    numbers = range(1, min(top, len(names)) + 1) if top > 1 else [""]
    head = [f"{column}{i}" for i in numbers for column in ("class", "probability")]
    writer.writerow(["file", *head, "error"])

    def write(prediction):
        pairs = [(name, f"{share:.6f}") for name, share in prediction.likeliest(top)]
        values = [value for pair in pairs for value in pair] or [""] * len(head)
        writer.writerow([prediction.file, *values, prediction.error or ""])

    return write


def _json(names, top):
    def write(prediction):
        classes = [{"class": name, "probability": round(share, 6)} for name, share in prediction.likeliest(top)]
        outcome = {"error": prediction.error} if prediction.error else {"classes": classes}
        print(json.dumps({"file": str(prediction.file), **outcome}))

    return write
