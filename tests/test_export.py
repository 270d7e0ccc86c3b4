"""A network in other programs' formats computes what Keras does, and says so of itself."""

import importlib
import json
import os
import runpy
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from kmodels import Classifier, Experiment, InputError, build_model, run
from kmodels.analysis import predict_logits
from kmodels.export import FORMATS, _files, _images, export
from kmodels.models.about import About
from kmodels.models.saving import save_network

NAMES = ("cat", "dog", "ei")
ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    os.environ["KERAS_BACKEND"] != "tensorflow", reason="what is tried runs on TensorFlow, whatever this process does"
)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "network.keras"
    return save_network(
        build_model("conv_net", (32, 32, 3), 3), path, About(class_names=NAMES, image_shape=(32, 32, 3))
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    folder, rng = tmp_path_factory.mktemp("images"), np.random.default_rng(0)
    for number in range(12):
        path = folder / NAMES[number % 3] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (40, 36, 3), np.uint8)).save(path)
    return folder


def test_a_saved_model_runs_in_tensorflow(file, images, tmp_path, kmodels_command):
    tf = pytest.importorskip("tensorflow")
    out = tmp_path / "saved"
    status, printed, _ = kmodels_command("export", file, "--format", "saved_model", "--out", out, "--images", images)
    assert status == 0
    said = printed.splitlines()
    assert said[1] == f"compared with Keras on 12 images of {images}:"
    assert said[2].startswith("the same class for 100.00 % of them")
    assert said[3].endswith("+0.00 percentage points")
    pixels = np.random.default_rng(1).integers(0, 256, (3, 32, 32, 3)).astype("float32")
    with tf.device("CPU"):
        loaded = tf.saved_model.load(str(out))
        found = loaded.serve(pixels).numpy()
    logits = predict_logits(keras.models.load_model(file), pixels)
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert (out / "assets.extra" / "labels.txt").read_text().split() == list(NAMES)


def test_a_network_whose_outputs_are_not_finite_is_refused(tmp_path):
    pytest.importorskip("ai_edge_litert")
    network = build_model("two_layer_net", (8, 8, 3), 2)
    network.get_layer("logits").bias.assign([np.nan, 0])
    file = save_network(network, tmp_path / "nan.keras", About(class_names=("a", "b"), image_shape=(8, 8, 3)))
    with pytest.raises(InputError, match="outputs must be finite numbers"):
        export(file, "litert", quantise="float16")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["nan.keras"]


def test_a_network_that_puts_out_probabilities_of_a_hidden_end_is_refused(tmp_path):
    pytest.importorskip("ai_edge_litert")
    layers, file = keras.layers, tmp_path / "network.keras"
    network = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Flatten(), layers.EinsumDense("ab,bc->ac", 3, "softmax")]
    )
    network.save(file)
    with pytest.raises(InputError, match="look like probabilities"):
        export(file, "litert")


def test_layers_of_the_users_own_are_exported_where_they_are_registered(tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert")
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_doubles.py").write_text(
        "import keras\n\nclass Double(keras.layers.Layer):\n    def call(self, x):\n        return 2 * x\n"
    )
    own, layers = importlib.import_module("own_doubles"), keras.layers
    file = tmp_path / "network.keras"
    keras.Sequential([keras.Input((8, 8, 3)), own.Double(), layers.Flatten(), layers.Dense(2)]).save(file)
    with pytest.raises(InputError, match="it needs Double, from the module own_doubles"):
        export(file, "litert")
    with keras.saving.custom_object_scope({"Double": own.Double}):
        assert export(file, "litert").same == 1
        own.Double.__module__ = "__main__"
        with pytest.raises(InputError, match=r"must be in a module of its own.* Received: 'Double'"):
            export(file, "litert", tmp_path / "again.tflite")


def test_an_operation_at_the_end_is_exported_once(tmp_path):
    interpreters = pytest.importorskip("ai_edge_litert.interpreter")
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.ops.softmax(keras.layers.Dense(3)(keras.layers.Flatten()(image))))
    network.save(tmp_path / "network.keras")
    interpreter = interpreters.Interpreter(export(tmp_path / "network.keras", "litert").path)
    interpreter.allocate_tensors()
    pixels = np.random.default_rng(0).uniform(0, 9, (1, 8, 8, 3)).astype("float32")
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    found = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    np.testing.assert_allclose(found, network.predict(pixels, verbose=0), atol=1e-4)


def test_each_class_has_one_line_in_the_list_of_labels():
    files = _files({"class_names": ["new\nline", "a\r", "\u2028", "b"]})
    assert files["labels.txt"].splitlines() == [r"new\nline", r"a\r", r"\u2028", "b"]
    assert json.loads(files["kmodels.json"])["class_names"][0] == "new\nline"


@pytest.fixture(scope="module")
def onnx(file):
    for package in ("onnxruntime", "tf2onnx"):
        pytest.importorskip(package)
    return export(file, "onnx")


def test_an_onnx_file_runs_without_keras(onnx):
    onnxruntime, done = pytest.importorskip("onnxruntime"), onnx
    assert done.difference < 1e-4
    assert (done.images, done.accuracy) == (32, None)
    session = onnxruntime.InferenceSession(done.path, providers=["CPUExecutionProvider"])
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["class_names"]) == list(NAMES)
    (given,) = session.get_inputs()
    (probabilities,) = session.run(None, {given.name: np.zeros((1, 32, 32, 3), "float32")})
    np.testing.assert_allclose(probabilities.sum(), 1, atol=1e-5)


def test_a_network_of_other_values_than_pixels_says_so_in_other_programs(tmp_path, images):
    onnxruntime, _ = pytest.importorskip("onnxruntime"), pytest.importorskip("tf2onnx")
    about = About(class_names=NAMES, image_shape=(8, 8, 3), value_range=(-1.0, 1.0))
    network = save_network(build_model("two_layer_net", (8, 8, 3), 3), tmp_path / "network.keras", about)
    done = export(network, "onnx")
    assert done.source == "parts of two photographs, scaled to floats from -1 to 1"
    metadata = onnxruntime.InferenceSession(done.path).get_modelmeta().custom_metadata_map
    assert metadata["input"] == "floats from -1 to 1, float32 (n, height, width, channels)"
    example = runpy.run_path(str(ROOT / "experiments" / "serving" / "onnx_runtime.py"))
    with pytest.raises(SystemExit, match="takes no image files but floats from -1 to 1"):
        example["main"](done.path, next(images.rglob("*.png")))
    with pytest.raises(InputError, match="trained on floats from -1 to 1"):
        export(network, "onnx", tmp_path / "other.onnx", images)


def test_nothing_is_claimed_of_the_pixels_of_a_network_from_elsewhere(tmp_path, kmodels_command):
    tf = pytest.importorskip("tensorflow")
    image = keras.Input((8, 8, 3))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))
    network.save(tmp_path / "own.keras")
    status, _, err = kmodels_command("export", tmp_path / "own.keras", "--format", "saved_model")
    assert (status, err) == (0, "the network is given pixels 0..255, and no layer of it scales them\n")
    extra = tmp_path / "own_saved_model" / "assets.extra"
    metadata = json.loads((extra / "kmodels.json").read_text())
    assert metadata["input"] == "unknown, float32 (n, height, width, channels)"
    assert metadata["value_range"] == "unknown"
    assert tf.saved_model.contains_saved_model(str(extra.parent))


@pytest.mark.parametrize("values", [(0.0, 1.0), (-2.0, 3.0)])
def test_a_network_is_compared_on_values_that_it_was_trained_on(tmp_path, values):
    about = About(class_names=NAMES, image_shape=(8, 8, 3), value_range=values)
    file = save_network(build_model("two_layer_net", (8, 8, 3), 3), tmp_path / "network.keras", about)
    pixels = _images(Classifier(file), values, None, None, None).pixels
    low, high = values
    assert (pixels.shape, pixels.dtype) == ((32, 8, 8, 3), np.float32)
    assert low <= pixels.min() < low + 0.3 * (high - low)
    assert high >= pixels.max() > low + 0.7 * (high - low)
    as_pixels = _images(Classifier(file), None, None, None, None).pixels
    np.testing.assert_allclose(pixels, low + (high - low) * as_pixels / 255, atol=1e-5)


# Runs the example, and tells what it has imported.
WITHOUT_KERAS = """
import runpy, sys
del sys.argv[0]
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print({"keras", "kmodels", "tensorflow", "jax", "torch"} & set(sys.modules) or "without Keras")
"""


def test_the_onnx_example_says_what_a_classifier_says_without_importing_it(file, onnx, tmp_path):
    rng, example = np.random.default_rng(2), ROOT / "experiments" / "serving" / "onnx_runtime.py"
    exif = Image.Exif()
    exif[0x0112] = 6  # Turned by a quarter.
    pictures = {
        "wide.png": ("RGB", (90, 40), {}),
        "turned.jpg": ("RGB", (50, 80), {"exif": exif}),
        "grey.png": ("L", (32, 32), {}),
        "transparent.png": ("RGBA", (31, 64), {}),
    }
    for name, (mode, (width, height), options) in pictures.items():
        pixels = rng.integers(0, 256, (height, width, len(mode)), np.uint8).squeeze()
        Image.fromarray(pixels, mode).save(tmp_path / name, **options)
    files = [str(tmp_path / name) for name in pictures]
    (tmp_path / "broken.png").write_bytes(b"no image")
    arguments = [example, onnx.path, *files, tmp_path / "broken.png"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    command = [sys.executable, "-c", WITHOUT_KERAS, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    *lines, modules = done.stdout.splitlines()
    assert modules == "without Keras"
    assert (done.returncode, "broken.png" in done.stderr) == (1, True)
    assert lines == [
        f"{100 * one.confidence:5.1f} % {one.name:3}  {one.file}" for one in Classifier(file).predict(files)
    ]
    for name, path in zip(pictures, files, strict=True):
        found = runpy.run_path(str(example))["pixels"](path, 32, 32, 3)[0]
        assert np.array_equal(found, Classifier(file).pixels(path)), name


@pytest.mark.parametrize("quantise", [None, "int8"])
def test_a_litert_file_knows_its_classes_and_tells_what_quantising_costs(file, images, tmp_path, quantise):
    pytest.importorskip("ai_edge_litert")
    done = export(file, "litert", tmp_path / "network.tflite", images, quantise)
    assert done.difference < (0.2 if quantise else 1e-4)
    assert (done.images, done.accuracy is None) == (12, False)
    with zipfile.ZipFile(done.path) as archive:
        assert archive.read("labels.txt").decode().split() == list(NAMES)
    if quantise:
        assert Path(done.path).stat().st_size < file.stat().st_size


def test_what_quantising_costs_is_measured_on_the_validation_images_of_the_run(colours, tmp_path, kmodels_command):
    pytest.importorskip("ai_edge_litert")
    images, out = tmp_path / "colours", tmp_path / "runs"
    shutil.copytree(colours, images)
    experiment = Experiment(
        name="tests/colours", dataset="folder", image_size=16, model="mlp", epochs=4, batch_size=12, patience=None
    )
    record = run(experiment, out=out, data_dir=images, verbose=0)
    done = export(out, "litert", quantise="int8")
    assert done.path == str(out / f"{record.stem}_int8.tflite")
    assert (done.images, done.source) == (12, f"validation images of {out / record.stem}.json")
    assert done.keras_accuracy == pytest.approx(record.val.accuracy)
    assert (abs(done.accuracy - done.keras_accuracy) <= 0.25, done.note) == (True, None)

    images.rename(tmp_path / "moved")
    with pytest.raises(InputError, match=r"int8 needs images .* the images of its run cannot be used.* give images"):
        export(out, "litert", tmp_path / "one.tflite", quantise="int8")
    status, printed, _ = kmodels_command("export", out, "--format", "litert", "--quantise", "float16")
    *_, compared, _, note = printed.splitlines()
    assert (status, compared) == (0, "compared with Keras on 32 parts of two photographs:")
    assert note.startswith("accuracy not measured: the images of its run cannot be used: they must be where they were")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tensorrt"}, "unknown format 'tensorrt'"),
        ({"format": "onnx", "quantise": "int8"}, "quantise belongs to litert"),
        ({"format": "litert", "quantise": "int8"}, "int8 needs images"),
        ({"format": "litert", "out": "network.onnx"}, "must end in .tflite"),
        ({"format": "saved_model", "out": "."}, "must not exist yet"),
        ({"format": "saved_model", "images": "nowhere"}, "images must be a folder"),
    ],
)
def test_what_cannot_be_is_said_at_once(file, options, message, monkeypatch):
    monkeypatch.setattr("kmodels.export.FORMATS", {name: (ending, ()) for name, (ending, _) in FORMATS.items()})
    with pytest.raises(InputError, match=message):
        export(file, **options)


def test_a_file_that_was_written_meanwhile_stays(file, tmp_path, monkeypatch):
    path = tmp_path / "one.onnx"

    def work(order, answer):
        path.write_text("another's")
        Path(order["out"]).write_text("ours")
        return {}

    monkeypatch.setattr("kmodels.export.FORMATS", {"onnx": (".onnx", ())})
    monkeypatch.setattr("kmodels.export._on_tensorflow", work)
    with pytest.raises(InputError, match="must not exist yet"):
        export(file, "onnx", path)
    assert path.read_text() == "another's"
    assert os.listdir(tmp_path) == ["one.onnx"]


def test_a_process_that_was_killed_is_not_explained_by_its_log(file, tmp_path, monkeypatch):
    killed = subprocess.CompletedProcess([], -9, stderr="To enable the following instructions: AVX2\n")
    monkeypatch.setattr("kmodels.export.FORMATS", {"onnx": (".onnx", ())})
    monkeypatch.setattr(subprocess, "run", lambda *arguments, **options: killed)
    with pytest.raises(InputError, match=r"cannot be exported: its process was killed, perhaps as memory ran out$"):
        export(file, "onnx", tmp_path / "one.onnx")


def test_a_missing_package_is_named_with_the_command_that_installs_it(file, monkeypatch):
    monkeypatch.setattr("kmodels.export.FORMATS", {"onnx": (".onnx", ("no_such_package",))})
    with pytest.raises(InputError, match=r"onnx needs no_such_package: pip install \"kmodels\[export\]\""):
        export(file, "onnx")
