"""The commands predict and evaluate, on a network of three colours."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from kmodels import build_model, run
from kmodels.models.about import About
from kmodels.models.saving import load_network, save_network

NAMES = ("blue", "green", "red")


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    """A network that takes the strongest colour for the class, and a folder of images, four of each colour."""
    folder = tmp_path_factory.mktemp("colours")
    network = build_model("two_layer_net", (8, 8, 3), 3, hidden=(3,))
    first, second = network.get_layer("dense1"), network.get_layer("logits")
    first.set_weights([np.tile(np.eye(3, dtype="float32")[:, ::-1], (64, 1)), np.full(3, 100, "float32")])
    second.set_weights([np.eye(3, dtype="float32"), np.zeros(3, "float32")])
    about = About(class_names=NAMES, image_shape=(8, 8, 3))
    for channel, name in enumerate(NAMES):
        for number in range(4):
            pixels = np.zeros((9, 12, 3), np.uint8)
            pixels[..., 2 - channel] = 100 + number
            path = folder / "images" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels).save(path)
    return save_network(network, folder / "network.keras", about), folder / "images"


def test_a_folder_a_pattern_and_a_list_are_classified(colours, kmodels_command):
    network, images = colours
    status, out, err = kmodels_command("predict", network, images, "--format", "csv")
    # Standard error is no terminal here.
    assert "classifying" not in err
    rows = list(csv.DictReader(io.StringIO(out)))
    assert status == 0
    assert [row["class"] for row in rows] == [name for name in NAMES for _ in range(4)]
    status, out, _ = kmodels_command("predict", network, f"{images}/*/1.png", "--top", "2", "--format", "json")
    lines = [json.loads(line) for line in out.splitlines()]
    assert [line["classes"][0]["class"] for line in lines] == list(NAMES)
    assert all(len(line["classes"]) == 2 for line in lines)
    listed = f"{images / 'red' / '0.png'}\n\n{images / 'blue' / '0.png'}\n"
    status, out, _ = kmodels_command("predict", network, "-", stdin=listed)
    assert [line.split()[2] for line in out.splitlines()] == ["red", "blue"]


def test_a_list_may_have_the_line_ends_of_windows_and_any_names(colours, tmp_path):
    network, images = colours
    odd = tmp_path / "caf\udce9 .png"
    odd.write_bytes((images / "green" / "0.png").read_bytes())
    paths = [images / "red" / "0.png", images / "blue" / "0.png", odd]
    listed = b"\xef\xbb\xbf" + b"\r\n  \r\n\n".join(map(os.fsencode, paths)) + b"\r\n"
    command = [sys.executable, "-m", "kmodels", "predict", network, "-", "--format", "json"]
    done = subprocess.run(command, input=listed, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["file"] for one in found] == list(map(str, paths))
    assert [one["classes"][0]["class"] for one in found] == ["red", "blue", "green"]


def test_what_cannot_be_read_has_its_row_for_programs_and_is_named_at_the_end(colours, kmodels_command, tmp_path):
    network, images = colours
    bad, good, reason = tmp_path / "bad.png", images / "red" / "0.png", "not an image format that Pillow knows"
    bad.write_bytes(b"nothing")

    def predicted(*options):
        status, out, err = kmodels_command("predict", network, bad, good, *options)
        assert status == 1
        assert err.splitlines()[-1] == f"cannot read {bad}: {reason}"
        return out

    one, two = csv.DictReader(io.StringIO(predicted("--format", "csv", "--top", "2")))
    empty = dict.fromkeys(("class1", "probability1", "class2", "probability2"), "")
    assert one == {"file": str(bad), **empty, "error": reason}
    assert (two["file"], two["class1"], two["error"]) == (str(good), "red", "")
    one, two = map(json.loads, predicted("--format", "json").splitlines())
    assert one == {"file": str(bad), "error": reason}
    assert (two["file"], two["classes"][0]["class"], "error" in two) == (str(good), "red", False)
    assert len(predicted().splitlines()) == 1


def test_photographs_that_cannot_be_read_here_are_counted(colours, kmodels_command, tmp_path):
    (network, images), photos = colours, tmp_path / "photos"
    (photos / "red").mkdir(parents=True)
    for name in ("a.heic", "b.CR2"):
        (photos / "red" / name).touch()
    sentence = "2 files that cannot be read here (.cr2 1, .heic 1); convert HEIC and RAW to JPEG first"
    for command in ("predict", "evaluate"):
        status, _, err = kmodels_command(command, network, photos)
        assert status == 2
        assert "no image file" in err
        assert f"Found {sentence}" in err
    shutil.copy(images / "red" / "0.png", photos / "red")
    for command in ("predict", "evaluate"):
        status, _, err = kmodels_command(command, network, photos)
        assert status == 0
        assert f"left out: {sentence}" in err.splitlines()


def test_labelled_images_are_matched_by_the_names_of_their_folders(colours, kmodels_command, tmp_path):
    network, images = colours
    # Not in the order of the outputs, and one class is missing; two of the images are in the wrong folder.
    for name, sources in {"red": ["red/0", "red/1", "green/0"], "green": ["green/1", "blue/1"]}.items():
        for source in sources:
            path = tmp_path / name / f"{source.replace('/', '_')}.png"
            path.parent.mkdir(exist_ok=True)
            path.write_bytes((images / f"{source}.png").read_bytes())
    status, out, _ = kmodels_command("evaluate", network, tmp_path)
    lines = [line.split() for line in out.splitlines()]
    assert status == 0
    assert lines[2] == ["green", "2", "50.00", "blue", "(1)"]
    assert lines[3] == ["red", "3", "66.67", "green", "(1)"]
    assert lines[4] == ["all", "5", "60.00"]
    (tmp_path / "red" / "bad.png").write_bytes(b"nothing")
    status, out, err = kmodels_command("evaluate", network, tmp_path, "--format", "json")
    found = json.loads(out)
    assert (status, err.splitlines()[-1].split(":")[0]) == (1, f"cannot read {tmp_path / 'red' / 'bad.png'}")
    assert found.pop("interval") == pytest.approx([0.2307, 0.8824], abs=1e-4)
    assert found == {
        "accuracy": 0.6,
        "images": 5,
        "unreadable": 1,
        "class_names": list(NAMES),
        "per_class_accuracy": {"blue": None, "green": 0.5, "red": pytest.approx(2 / 3)},
        "confusion_matrix": [[0, 0, 0], [1, 1, 0], [0, 1, 2]],
    }


def diverged(colours, folder, scale):
    """The network of `colours`, whose output for green images is their greenness, or 0, times `scale`."""
    network = load_network(colours[0])
    kernel, bias = network.get_layer("dense1").get_weights()
    bias[1] = 50
    network.get_layer("dense1").set_weights([kernel, bias])
    network.get_layer("logits").set_weights([np.diag([1, scale, 1]).astype("float32"), np.zeros(3, "float32")])
    return save_network(network, folder / "network.keras", About(class_names=NAMES, image_shape=(8, 8, 3)))


def test_outputs_that_are_not_finite_are_no_class(colours, kmodels_command, tmp_path):
    # Infinite for green images alone.
    network, images = diverged(colours, tmp_path, 3e38), colours[1]
    greens = [images / "green" / f"{number}.png" for number in range(4)]
    status, out, err = kmodels_command("predict", network, images, "--format", "json")
    rows = [json.loads(line) for line in out.splitlines()]
    reason = "the network's outputs are not finite numbers"
    assert [row for row in rows if "error" in row] == [{"file": str(file), "error": reason} for file in greens]
    assert (status, err.splitlines()[-1]) == (1, f"cannot classify {greens[-1]}: {reason}")
    status, out, err = kmodels_command("evaluate", network, images)
    assert status == 0
    assert f"warning: {reason} for 4 of 12 images; these count as wrong" in err
    lines = [line.split() for line in out.splitlines()]
    assert ["green", "4", "0.00", "no", "class", "(4)"] in lines
    assert ["all", "12", "66.67"] in lines
    _, out, _ = kmodels_command("evaluate", network, images, "--format", "json")
    found = json.loads(out)
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["per_class_accuracy"] == {"blue": 1.0, "green": 0.0, "red": 1.0}


def test_a_network_without_any_finite_output_is_refused(colours, kmodels_command, tmp_path):
    network, images = diverged(colours, tmp_path, float("nan")), colours[1]
    for command in ("predict", "evaluate"):
        status, _, err = kmodels_command(command, network, images)
        assert status == 2
        assert "error: the network's outputs are not finite numbers for any image" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("predict", "NETWORK"), "give images"),
        (("predict", "my runs"), "kmodels predict 'my runs' IMAGES..."),
        (("gradcam", "my network.keras"), "kmodels gradcam 'my network.keras' IMAGES..."),
        (("predict", "NETWORK", "nothing.png"), "there is no such image file or folder"),
        (("predict", "nothing.keras", "IMAGES"), "must be a .keras file that exists"),
        (("predict", "NETWORK", "IMAGES", "--top", "0"), "top must be at least 1"),
        (("evaluate", "NETWORK", "ABOVE"), "named as classes of the network: blue, green, red"),
    ],
)
def test_mistakes_get_a_sentence(arguments, message, colours, kmodels_command):
    network, images = colours
    places = {"NETWORK": network, "IMAGES": images, "ABOVE": images.parent}
    status, _, err = kmodels_command(*(places.get(argument, argument) for argument in arguments))
    assert status == 2
    assert message in err


def test_grad_cam_of_what_was_classified(colours, kmodels_command, tmp_path):
    _, images = colours
    network = save_network(build_model("conv_net", (32, 32, 3), 3), tmp_path / "cnn.keras")
    status, out, _ = kmodels_command("predict", network, images / "red", "--grad-cam", tmp_path / "maps")
    assert status == 0
    assert all("class " in line for line in out.splitlines())
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == [
        "cnn_grad_cam.png",
        "cnn_grad_cam_layers.png",
    ]


def drawn_titles(monkeypatch):
    """The titles of the images in each figure that is drawn from now on, instead of its file."""
    titles = []

    def keep(figure, path):
        titles.append([title for axes in figure.axes if (title := axes.get_title(loc="left"))])
        return path

    monkeypatch.setattr("kmodels.report.grad_cam_files.save", keep)
    return titles


def test_grad_cam_names_classes_as_the_table_does(colours, kmodels_command, monkeypatch, tmp_path):
    _, images = colours
    about = About(class_names=("ant", "bee", "cow"), image_shape=(32, 32, 3))
    network = save_network(build_model("conv_net", (32, 32, 3), 3), tmp_path / "cnn.keras", about)
    titles, image = drawn_titles(monkeypatch), images / "red" / "0.png"
    command = ("predict", network, image, "--grad-cam", tmp_path / "maps", "--class-names", "dog", "elk", "fox")
    status, out, _ = kmodels_command(*command)
    assert (status, out.split()[2] in ("dog", "elk", "fox")) == (0, True)
    assert titles[0] == [f"0.png\n{out.split()[2]}"]


@pytest.mark.parametrize(("known", "size"), [(True, 16), (False, 224)])
def test_grad_cam_of_a_network_for_any_size_is_of_images_of_the_size_that_its_file_names(
    known, size, colours, kmodels_command, monkeypatch, tmp_path
):
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(2, 3)(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(2)(keras.layers.GlobalAveragePooling2D()(x)))
    about = About(class_names=("a", "b"), image_shape=(16, 16, 3)) if known else None
    network, image = save_network(model, tmp_path / "any.keras", about), colours[1] / "red" / "0.png"
    shapes = []

    def keep(figure, path):
        shapes.append(figure.axes[0].images[0].get_array().shape[:2])
        return path

    monkeypatch.setattr("kmodels.report.grad_cam_files.save", keep)
    status, _, err = kmodels_command("gradcam", network, image)
    assert (status, set(shapes)) == (0, {(size, size)}), err
    if known:
        assert kmodels_command("predict", network, image, "--grad-cam", tmp_path / "maps")[0] == 0
        assert set(shapes) == {(size, size)}


def test_grad_cam_names_no_class_where_the_outputs_are_not_finite(colours, kmodels_command, monkeypatch, tmp_path):
    image, titles = keras.Input((8, 8, 3)), drawn_titles(monkeypatch)
    large = keras.initializers.Constant(1e30)
    x = keras.layers.Conv2D(2, 3, kernel_initializer=large)(keras.layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, keras.layers.Dense(2, name="logits")(keras.layers.GlobalAveragePooling2D()(x)))
    # Of a white image, the first logit is beyond the largest number.
    model.get_layer("logits").set_weights([np.array([[1e10, 0], [0, 0]], "float32"), np.zeros(2, "float32")])
    for name, grey in (("black", 0), ("white", 255)):
        Image.fromarray(np.full((8, 8, 3), grey, np.uint8)).save(tmp_path / f"{name}.png")
    network = save_network(model, tmp_path / "network.keras")
    paths = [tmp_path / f"{name}.png" for name in ("black", "white")]
    assert kmodels_command("gradcam", network, *paths)[0] == 0
    assert titles[0] == ["black.png\nclass 0", "white.png\nnot finite"]
    status, _, err = kmodels_command("gradcam", network, paths[1])
    assert (status, "not finite numbers for any image" in err) == (2, True)
    for scale in ("nan", "0", "-1", "inf"):
        status, _, err = kmodels_command("gradcam", network, *paths, "--scale", scale)
        assert (status, "scale must be a finite number above 0" in err) == (2, True), scale


def test_a_folder_of_class_folders_is_drawn_as_it_is_classified(colours, kmodels_command, monkeypatch, tmp_path):
    _, images = colours
    network = save_network(build_model("conv_net", (32, 32, 3), 3), tmp_path / "cnn.keras")
    titles = drawn_titles(monkeypatch)
    status, _, err = kmodels_command("gradcam", network, images)
    assert (status, err) == (0, "")
    assert len(titles[0]) == 12


def test_a_folder_for_grad_cam_that_is_a_file_is_refused_before_anything_is_classified(colours, kmodels_command):
    network, images = colours
    status, out, err = kmodels_command("predict", network, images, "--grad-cam", network)
    assert (status, out) == (2, "")
    assert f"is a file; choose another folder with --grad-cam. Received: '{network}'" in err


def test_a_folder_of_runs_stands_for_its_best_network(colours, tiny, kmodels_command, tmp_path):
    images, out = colours[1], tmp_path / "runs"
    network = out / f"{run(tiny, out=out, verbose=0).stem}.keras"
    labelled = tmp_path / "labelled" / "class 3"
    shutil.copytree(images / "red", labelled)
    for arguments in (
        ("predict", out, images / "red"),
        ("evaluate", out / "tests" / "tiny", labelled.parent),
        ("show", out),
        ("mistakes", out),
        ("gradcam", out),
    ):
        status, _, err = kmodels_command(*arguments)
        assert status == 0, err
        assert f"using {network}: validation accuracy" in err, arguments
    status, _, err = kmodels_command("predict", images, images / "red")
    assert status == 2
    assert err.startswith("error: a folder given for a network must have runs in it")


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("predict", ("NETWORK", "IMAGES ...")),
        ("evaluate", ("NETWORK", "FOLDER")),
        ("export", ("NETWORK",)),
        ("show", ("RECORD",)),
        ("compare", ("A", "B")),
        ("mistakes", ("RECORD",)),
        ("gradcam", ("NETWORK", "[IMAGES ...]")),
        ("tsne", ("RECORD",)),
        ("features", ("RECORD",)),
    ],
)
def test_help_names_what_is_given_and_not_types(command, arguments, kmodels_command):
    status, out, _ = kmodels_command(command, "--help")
    assert status == 0
    for argument in arguments:
        assert any(line.strip("│ ").startswith(f"{argument} ") for line in out.splitlines())
    assert not [text for text in ("None", "[[", "STR") if text in out]


def test_predict_waits_for_no_library_that_it_does_not_use(colours):
    network, folder = colours
    code = (
        "import sys\nfrom kmodels.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted({'sklearn', 'matplotlib'} & set(sys.modules)))\n"
        "    import matplotlib.figure, sklearn.svm"
    )
    image = next(folder.rglob("*.png"))
    done = subprocess.run([sys.executable, "-c", code, "predict", network, image], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
