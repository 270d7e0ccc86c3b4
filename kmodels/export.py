"""A network in other programs' formats, SavedModel, ONNX and LiteRT, compared with Keras before it is called done.

Keras writes all three on TensorFlow only, so a process of its own does it there, whatever the backend in use. The
exported network takes what it was trained on, usually pixels 0..255, as float32 (n, height, width, channels), and gives
probabilities. Its file says so, as far as it is known, and carries the names of the classes: ONNX as metadata, LiteRT
as files in the zip archive at its end, SavedModel in assets.extra.
"""

import importlib.util
import itertools
import json
import os
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kmodels.best_run import network_file
from kmodels.components import load_component
from kmodels.data.arrays import values_in_words
from kmodels.errors import InputError, require, unknown
from kmodels.exit_status import how_it_ended
from kmodels.files import ELSEWHERE, require_folder, writable_folder
from kmodels.models.about import About, read_about
from kmodels.text import printable

# Format -> the end of its files, and the packages that write and run it.
FORMATS = {
    "saved_model": ("", ("tensorflow",)),
    "onnx": (".onnx", ("tensorflow", "tf2onnx", "onnx", "onnxruntime")),
    "litert": (".tflite", ("tensorflow", "ai_edge_litert")),
}
QUANTISED = ("float16", "int8")
NOT_YET = "the file or folder to write must not exist yet"
# How far probabilities may differ from Keras' where nothing is quantised: by rounding.
TOLERANCE = 1e-4
# Of more images so many are compared, and so many tell the range of values to quantise.
MOST_COMPARED, MOST_CALIBRATED = 1000, 200


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What was written, and how it compares with Keras on the same images.

    Attributes:
        path: of the file or folder.
        images: how many were compared.
        source: which images these are, in words.
        difference: the largest one of a probability.
        same: the share of images for which both name the same class.
        accuracy: of the exported network, and
        keras_accuracy: of the network it was made of, on labelled images; None without labels.
        note: why there is no accuracy of a quantised network, and what to do; None where there is one.
    """

    path: str
    images: int
    source: str
    difference: float
    same: float
    accuracy: float | None = None
    keras_accuracy: float | None = None
    note: str | None = None


def export(file, format, out=None, images=None, quantise=None):
    """Writes a network in another format.

    Args:
        file: a .keras file with one input of images, or a folder of runs, whose best network it is then.
        format: "saved_model" (a folder), "onnx" or "litert".
        out: the file or folder to write, which must not exist; None: beside `file`, with the format's ending.
        images: a folder of images to compare on; where it has folders named as the classes, their accuracy is told,
            too. None: where it is quantised the validation images of the run that it is of, if its record is beside
            it and they are where they were during the run; else parts of the two photographs that come with
            scikit-learn.
        quantise: for "litert": "float16" (weights of half the size) or "int8" (a quarter, and faster on phones; needs
            images that look like those it will see: those of its run, or `images`). None: as it is.

    Returns:
        An Exported.

    Raises:
        InputError: if a package is missing, something is there already, or the exported network does not compute what
            Keras does.
    """
    file = Path(network_file(file))
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    ending, packages = FORMATS[format]
    require(quantise in (None, *QUANTISED), f"quantise must be None, {' or '.join(QUANTISED)}", quantise)
    require(not quantise or format == "litert", "quantise belongs to litert", format)
    missing = [package for package in packages if not importlib.util.find_spec(package)]
    if missing:
        raise InputError(f'{format} needs {", ".join(missing)}: pip install "kmodels[export]"')
    name = f"{file.stem}_{quantise}" if quantise else file.stem
    path = Path(out) if out else file.with_name(f"{name}{ending or '_saved_model'}")
    require(path.suffix == ending or not ending, f"the file to write must end in {ending}", str(path))
    require(not path.exists(), NOT_YET, str(path))
    if images is not None:
        require_folder(images, "images")
    order = {"file": str(file.resolve()), "format": format, "quantise": quantise}
    order |= {"images": images and str(Path(images).resolve())}
    record = _record_of(file) if quantise and not images else None
    rule = "int8 needs images as the network will see: give a folder of them as --images (images=)"
    require(quantise != "int8" or images or record, rule, "a network without a record of its run")
    order |= {"record": record and str(record.resolve()), "objects": _objects_of(file)}
    writable_folder(path.parent)
    # Beside its place, so that it gets there whole, by a change of name.
    with tempfile.TemporaryDirectory(prefix=".export-", dir=path.parent) as folder:
        written = Path(folder) / f"network{ending}"
        answer = _on_tensorflow({**order, "out": str(written)}, Path(folder) / "answer.json")
        try:
            require(not path.exists(), NOT_YET, str(path))
            os.replace(written, path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}; {ELSEWHERE}") from error
    return Exported(path=str(path), **answer)


def _record_of(file):
    """The path of the record of the run that a network is of: beside it or in the usual folders; None without."""
    about = read_about(file)
    if about is None or not about.record:
        return None
    beside = file.with_name(f"{Path(about.record).name}.json")
    paths = [beside, *(Path(out) / f"{about.record}.json" for out in ("runs", "results"))]
    return next((path for path in paths if path.is_file()), None)


def _objects_of(file):
    """{registered name: "module:name"} of the user's classes and functions that a network needs, as they are here.

    The process on TensorFlow imports them from there. Of those that are not registered here, `load_network` knows what
    can be imported.
    """
    if "keras" not in sys.modules:
        # Nothing can be registered, as in the command, which need not wait for Keras.
        return {}
    from kmodels.models.saving import registered_objects

    found = registered_objects(file)
    inside = [name for name, value in found.items() if value.__module__ == "__main__"]
    rule = "what a network needs must be in a module of its own, since a process of its own exports it; move it to one"
    require(not inside, rule, ", ".join(inside))
    return {name: f"{value.__module__}:{value.__qualname__}" for name, value in found.items()}


def _on_tensorflow(order, answer):
    """What `_work` returns in a process on TensorFlow."""
    code = "from kmodels.export import main; main()"
    environment = {**os.environ, "KERAS_BACKEND": "tensorflow", "CUDA_VISIBLE_DEVICES": "-1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    order = json.dumps({**order, "answer": str(answer)})
    done = subprocess.run([sys.executable, "-c", code], input=order, env=environment, capture_output=True, text=True)
    if not answer.is_file():
        # Of a process that a signal ended, the last line is of something else.
        lines = done.stderr.strip().splitlines() if done.returncode >= 0 else ()
        raise InputError(f"the network cannot be exported: {lines[-1] if lines else how_it_ended(done.returncode)}")
    content = json.loads(answer.read_text())
    if "error" in content:
        raise InputError(content["error"])
    if note := content.pop("unscaled"):
        print(note, file=sys.stderr)
    return content


def main():
    """What the process on TensorFlow does: reads an order from its input, and writes the answer into a file."""
    order = json.load(sys.stdin)
    answer = Path(order.pop("answer"))
    try:
        content = _work(**order)
    except InputError as error:
        content = {"error": str(error)}
    answer.write_text(json.dumps(content))


def _work(file, format, quantise, images, record, objects, out):
    import keras

    from kmodels.classifier import Classifier, unscaled

    for name, reference in objects.items():
        keras.saving.get_custom_objects()[name] = load_component("what the network needs", reference)
    classifier = Classifier(file)
    shape = classifier.image_shape
    inputs = keras.Input(shape, name="pixels")
    network = keras.Model(inputs, keras.layers.Softmax(name="probabilities")(classifier.logits_model(inputs)))
    about = read_about(file)
    found = _images(classifier, about and about.value_range, images, quantise, record)
    pixels, labels = found.pixels, found.labels
    expected = network.predict(pixels, batch_size=32, verbose=0)
    require(np.isfinite(expected).all(), "the network's outputs must be finite numbers", str(file))
    metadata = asdict(about or About(class_names=classifier.class_names, image_shape=shape))
    if about is None:
        # Where there is a range, None stands for pixels 0..255.
        metadata["value_range"] = "unknown"
    metadata |= {
        "input": f"{about.values if about else 'unknown'}, float32 (n, height, width, channels)",
        "output": "probabilities, in the order of class_names",
    }
    write = {"saved_model": _write_saved_model, "onnx": _write_onnx, "litert": _write_litert}[format]
    options = {"quantise": quantise, "shown": found.shown} if format == "litert" else {}
    write(network, Path(out), metadata, **options)
    run = {"saved_model": _run_saved_model, "onnx": _run_onnx, "litert": _run_litert}[format]
    exported = run(out, pixels)
    difference = float(np.abs(exported - expected).max())
    if not quantise and not difference <= TOLERANCE:
        raise InputError(f"the exported network is not kept: its probabilities differ from Keras' by {difference:.2g}")
    predicted = [one.argmax(axis=1) for one in (exported, expected)]
    right = [None, None] if labels is None else [float((one == labels).mean()) for one in predicted]
    return {
        "images": len(pixels),
        "source": found.source,
        "difference": difference,
        "same": float((predicted[0] == predicted[1]).mean()),
        "accuracy": right[0],
        "keras_accuracy": right[1],
        "note": found.note if labels is None else None,
        "unscaled": unscaled(classifier.network, about),
    }


class _Images(NamedTuple):
    """Images to compare on: float32 `pixels` (n, height, width, channels), and their `labels`; None without.

    `source` says in words which they are, `shown` are pixels that tell the range of values to quantise, and `note` says
    why there are no labels, where they would tell what quantising costs.
    """

    pixels: np.ndarray
    labels: np.ndarray | None
    source: str
    shown: np.ndarray
    note: str | None = None


def _images(classifier, values, folder, quantise, record):
    """The _Images of a folder, of the run with this record, or parts of two photographs.

    `values` are the smallest and the largest value that the network was trained on; None: pixels 0..255, or unknown.
    """
    remedy = "give images as --images FOLDER (images=), in a folder for each class, named as the class"
    if folder is not None:
        note = f"accuracy not measured: the images have no labels; {remedy}" if quantise else None
        return _of_folder(classifier, folder)._replace(note=note)
    if not quantise:
        return _of_photographs(classifier, values)
    reason = "no record of the network's run is beside it"
    if record:
        try:
            return _of_run(classifier, record)
        except InputError as error:
            reason = f"the images of its run cannot be used: {error}"
    if quantise == "int8":
        raise InputError(f"int8 needs images as the network will see; {reason}; {remedy}")
    return _of_photographs(classifier, values)._replace(note=f"accuracy not measured: {reason}; {remedy}")


def _of_photographs(classifier, values):
    from PIL import Image
    from sklearn.datasets import load_sample_images

    height, width, channels = classifier.image_shape
    parts = []
    for picture in map(Image.fromarray, load_sample_images().images):
        picture = picture.convert("L" if channels == 1 else "RGB")
        columns, rows = picture.width // 4, picture.height // 4
        for x, y in itertools.product(range(4), range(4)):
            part = picture.crop((x * columns, y * rows, (x + 1) * columns, (y + 1) * rows))
            parts.append(np.asarray(part.resize((width, height)), "float32").reshape(height, width, channels))
    pixels, source = np.stack(parts), "parts of two photographs"
    if values:
        # Far outside of what it was trained on, a network computes large numbers, with large errors of rounding.
        (low, high), source = values, f"{source}, scaled to {values_in_words(values)}"
        pixels = low + (high - low) / 255 * pixels
    return _Images(pixels, None, source, pixels)


def _of_run(classifier, path):
    """Validation images of a run to compare on, and training images for the range of values."""
    from kmodels.data.here import check_here
    from kmodels.records import read_record
    from kmodels.records.predictions import images_folder
    from kmodels.report.network_pictures import dataset_of

    record, folder = read_record(path), images_folder(path)
    require(folder is None or Path(folder).exists(), "they must be where they were", str(folder))
    # They may take hours to download.
    check_here(record.experiment.dataset, folder)
    dataset = dataset_of(record, folder, "")
    require(dataset.image_shape == classifier.image_shape, "its images must fit the network", dataset.image_shape)
    val = dataset.val.take(_evenly(len(dataset.val), MOST_COMPARED))
    shown = dataset.train.take(_evenly(len(dataset.train), MOST_CALIBRATED)).images.astype("float32")
    return _Images(val.images.astype("float32"), val.labels, f"validation images of {path}", shown)


def _evenly(length, most):
    """Indices of at most so many, from all classes where they are sorted."""
    return np.unique(np.linspace(0, length - 1, min(length, most)).astype(int))


def _of_folder(classifier, folder):
    from kmodels.data.file_sources import Folder
    from kmodels.data.image_files import class_folder

    names = class_folder(Folder(folder), "").images
    names = [names[i] for i in _evenly(len(names), MOST_COMPARED)]
    read = [(name, classifier.pixels(Path(folder) / name)) for name in names]
    read = [(name, pixels) for name, pixels in read if not isinstance(pixels, str)]
    require(read, "the folder must have images that can be read", folder)
    classes = [name.split("/")[0] for name, _ in read]
    known = all(name in classifier.class_names for name in classes)
    labels = np.array([classifier.class_names.index(name) for name in classes]) if known else None
    pixels = np.stack([pixels for _, pixels in read]).astype("float32")
    return _Images(pixels, labels, f"images of {folder}", pixels[_evenly(len(pixels), MOST_CALIBRATED)])


def _write_saved_model(network, path, metadata):
    network.export(path, format="tf_saved_model", verbose=False)
    extra = path / "assets.extra"
    extra.mkdir()
    for name, text in _files(metadata).items():
        (extra / name).write_text(text)


def _run_saved_model(path, pixels):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)
    return np.concatenate([loaded.serve(batch).numpy() for batch in _batches(pixels)])


def _write_onnx(network, path, metadata):
    import warnings

    import onnx

    with warnings.catch_warnings():
        # tf2onnx uses names that NumPy is about to change.
        warnings.simplefilter("ignore")
        network.export(path, format="onnx", verbose=False)
    model = onnx.load(path)
    for name, value in metadata.items():
        model.metadata_props.add(key=name, value=value if isinstance(value, str) else json.dumps(value))
    onnx.save(model, path)


def _run_onnx(path, pixels):
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    return np.concatenate([session.run(None, {given.name: batch})[0] for batch in _batches(pixels)])


def _write_litert(network, path, metadata, quantise, shown):
    import tensorflow as tf

    if quantise is None:
        network.export(path, format="litert", verbose=False)
    else:
        with tempfile.TemporaryDirectory() as folder:
            network.export(folder, format="tf_saved_model", verbose=False)
            converter = tf.lite.TFLiteConverter.from_saved_model(folder)
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            if quantise == "float16":
                converter.target_spec.supported_types = [tf.float16]
            else:
                converter.representative_dataset = lambda: ([one[None]] for one in shown)
            path.write_bytes(converter.convert())
    with zipfile.ZipFile(path, "a") as archive:
        for name, text in _files(metadata).items():
            archive.writestr(name, text)


def _run_litert(path, pixels):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(path)
    given, result = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    interpreter.allocate_tensors()
    found = []
    for one in pixels:
        interpreter.set_tensor(given, one[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(result)[0])
    return np.stack(found)


def _files(metadata):
    # The number of a line is the index of its class, and a name may have line ends in it.
    labels = "".join(f"{printable(name)}\n" for name in metadata["class_names"])
    return {"kmodels.json": json.dumps(metadata, indent=1), "labels.txt": labels}


def _batches(pixels):
    return (pixels[start : start + 32] for start in range(0, len(pixels), 32))
