"""The kmodels command."""

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest
from conftest import make_record
from PIL import Image

from kmodels import DATASETS, MODELS, POLICIES, Published, cli, load_dataset, run
from kmodels.analysis import predict_logits
from kmodels.catalogue import reports
from kmodels.command_line import with_flowing_help
from kmodels.models.about import About
from kmodels.models.saving import load_network, save_network
from kmodels.records import write_record


@pytest.fixture(scope="module")
def recorded(tiny, tmp_path_factory):
    """The path of a record, its network beside it, without its suffix."""
    out = tmp_path_factory.mktemp("recorded")
    return out / run(replace(tiny, model="model1"), 0, out, verbose=0).stem


def test_help_names_every_command_without_importing_keras():
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "kmodels", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "  predict   Classify photographs: " in done.stdout
    for name in (name for group in cli.GROUPS.values() for name in group):
        assert f"\n  {name} " in done.stdout
    assert not [line for line in done.stderr.splitlines() if line.endswith((" keras", " tensorflow", " jax"))]


def test_the_text_of_an_argument_is_one_line():
    def command(a, b):
        """Do it.

        In two
        lines.

        Args:
            a: of
                several lines
                indeed.
            b: of one.
        """

    text = with_flowing_help(command).__doc__
    assert text == "Do it.\n\nIn two\nlines.\n\nArgs:\n    a: of several lines indeed.\n    b: of one."


def test_the_text_of_an_argument_does_not_go_on_from_its_name(kmodels_command):
    commands = [(name,) for group in cli.GROUPS.values() for name in group]
    commands += [("data", name) for name in ("list", "prepare", "where")]
    for command in commands:
        status, out, err = kmodels_command(*command, "--help")
        assert status == 0, err
        # An argument, with or without a frame, then two spaces or more before its text.
        texts = re.findall(r"^[│ ] (?! )(?:\S+ )+ +(\S.*)$", out, re.MULTILINE)
        assert texts, command
        assert [text for text in texts if text.startswith("of ")] == [], command


def test_without_a_command_all_are_listed(kmodels_command):
    status, out, _ = kmodels_command()
    assert status == 2
    assert out == kmodels_command("--help")[1]


def test_data_lists_the_sets_and_counts_the_classes_of_one(kmodels_command):
    _, out, _ = kmodels_command("data", "list")
    assert [line.split()[0] for line in out.splitlines()[2:-1]] == list(DATASETS)
    assert re.search(r"stl10_5 .* none stated +2.6 GB ", out)
    status, out, _ = kmodels_command("data", "prepare", "digits", "--image-size", "16")
    assert status == 0
    assert out.startswith("digits: handwritten digits, 8x8, grey, 1,797 images in 10 classes; licence: CC BY 4.0\n")
    assert "16x16x3 pixels" in out
    assert "all    1,078  360   359" in out


def test_data_leaves_out_unreadable_images_and_verifies(kmodels_command, tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for i in range(8):
            Image.new("RGB", (64, 64), (i, i, i)).save(tmp_path / "pets" / name / f"{i}.png")
    (tmp_path / "pets" / "cat" / "0.png").write_bytes(b"no image")
    arguments = ("folder", "--data-dir", str(tmp_path / "pets"))
    status, _, errors = kmodels_command("data", "prepare", *arguments)
    assert status == 2
    assert "--skip-unreadable" in errors
    status, out, _ = kmodels_command("data", "prepare", *arguments, "--skip-unreadable")
    assert status == 0
    assert out.count("unreadable images, left out: 1") == 1
    again = kmodels_command("data", "prepare", *arguments, "--skip-unreadable")[1]
    assert again.count("unreadable images, left out: 1") == 1
    status, out, _ = kmodels_command("data", "verify", *arguments, "--skip-unreadable")
    assert out.endswith(", verified\n")
    file = Path(load_dataset("folder", None, tmp_path / "pets", skip_unreadable=True).train.images.filename)
    content = file.read_bytes()
    # Between the blocks that every opening reads.
    file.write_bytes(content[:6000] + bytes([content[6000] ^ 1]) + content[6001:])
    assert "again" in kmodels_command("data", "verify", *arguments, "--skip-unreadable")[1]
    assert file.read_bytes() == content


def test_data_says_where_datasets_lie_and_are_looked_for(kmodels_command, tmp_path, monkeypatch):
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path))
    assert "nothing is prepared" in kmodels_command("data", "where")[1]
    folder = Path(load_dataset("digits").train.images.filename).parent
    _, out, _ = kmodels_command("data", "where")
    assert f"cache: {tmp_path} " in out
    assert re.search(rf"digits +8x8 +\d+ kB +{folder}\n", out)
    assert f"{folder}\n" in kmodels_command("data", "list")[1] or "8x8" in kmodels_command("data", "list")[1]
    (tmp_path / "archives").mkdir()
    (tmp_path / "archives" / "EuroSAT.zip").touch()
    _, out, _ = kmodels_command("data", "where", "eurosat")
    there = [line.split("  ")[0] for line in out.splitlines()[4:]]
    assert there == ["attached on Kaggle", "prepared", "archive", "download, 94 MB", "mirror"]
    assert re.search(rf"archive +yes +{tmp_path}/archives/EuroSAT.zip\n", out)
    assert re.search(r"mirror +not asked +https://huggingface.co/", out)
    assert "did you mean eurosat" in kmodels_command("data", "where", "eurosatt")[2]


def test_data_takes_an_archive_in_place_and_refuses_what_is_none(kmodels_command, tmp_path, monkeypatch):
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "page.zip").write_text("<html>not found</html>")
    status, out, errors = kmodels_command("data", "prepare", "eurosat", "--archive", str(tmp_path / "page.zip"))
    assert status == 2
    assert "licence: MIT; the download is 94 MB" in out
    assert "web page" in errors
    for wrong, words in (
        (("eurosat", "--archive", "a.zip", "--data-dir", "b"), "not both"),
        (("digits", "--archive", "a.zip"), "--archive"),
        (("digits", "--mirror", "http://x/"), "--mirror"),
    ):
        assert words in kmodels_command("data", "prepare", *wrong)[2]


def test_models_lists_networks_and_shows_one(kmodels_command):
    _, out, _ = kmodels_command("models")
    assert re.search("^model4 +Two batch normalisations, two dropouts: 42,314 parameters", out, re.MULTILINE)
    # Two lines of head, and one that names keras.applications.
    assert len(out.splitlines()) == 3 + len(MODELS)
    assert "applications:NAME" in out.splitlines()[-1]
    _, out, _ = kmodels_command("models", "model4", "--num-classes", "3")
    assert out.splitlines()[-1] == "38,275 trainable parameters"


def test_augment_lists_policies_and_draws_one(kmodels_command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, _ = kmodels_command("augment")
    assert status == 0
    assert [line.split()[0] for line in out.splitlines()[2:]] == list(POLICIES)
    assert "rotate_flip                  turned by up to 15 degrees, pixels blended, mirrored" in out
    status, out, _ = kmodels_command("augment", "cutmix")
    assert (status, out) == (0, "augment_cutmix.png\n")
    assert (tmp_path / "augment_cutmix.png").read_bytes().startswith(b"\x89PNG")
    _, out, _ = kmodels_command("augment", "crop", "--dataset", "synthetic", "--seed", "1", "--out", "other/crop.png")
    assert (tmp_path / out.strip()).is_file()


def test_augment_draws_the_image_and_what_became_of_it(kmodels_command, monkeypatch):
    figures = []
    monkeypatch.setattr("kmodels.report.augmentation.save", lambda figure, path: figures.append(figure) or path)
    for seed in ("0", "0", "1"):
        status, _, _ = kmodels_command("augment", "mixup", "--dataset", "synthetic", "--seed", seed)
        assert status == 0
    pictures = [np.stack([axes.images[0].get_array() for axes in figure.axes]) for figure in figures]
    assert pictures[0].shape == (4 * 8, 32, 32, 3)
    np.testing.assert_array_equal(pictures[0], pictures[1])
    assert (pictures[0] != pictures[2]).any()
    split = load_dataset("synthetic", 32).train
    names = [axes.get_ylabel() for axes in figures[0].axes[::8]]
    for name, image in zip(names, pictures[0][::8], strict=True):
        (place,) = np.flatnonzero((split.images == image).all(axis=(1, 2, 3)))
        assert name == f"class {split.labels[place]}"
    assert len(set(names)) == 4
    assert names[0] in figures[0].axes[9].get_xlabel()
    assert names[1] in figures[0].axes[9].get_xlabel()
    assert figures[0].axes[8].get_xlabel() == ""


def test_gradcam_draws_beside_the_record(kmodels_command, recorded):
    status, out, _ = kmodels_command("gradcam", f"{recorded}.json")
    assert status == 0
    assert [line.rsplit("seed0_")[1] for line in out.splitlines()] == [
        "ten.webp",
        "grad_cam.webp",
        "grad_cam_layers.webp",
    ]
    assert recorded.with_name(f"{recorded.name}_grad_cam.webp").is_file()
    status, _, errors = kmodels_command("gradcam", f"{recorded}.json", "--layers", "relu1", "relu9")
    assert status == 2
    assert errors.startswith("error: unknown layer 'relu9'; did you mean relu")


def test_pictures_find_the_images_where_they_were_during_the_run(kmodels_command, colours, tiny, tmp_path):
    record = run(replace(tiny, dataset="folder"), 0, tmp_path, data_dir=colours, verbose=0)
    for command in ("gradcam", "tsne", "features"):
        status, out, errors = kmodels_command(command, str(tmp_path / f"{record.stem}.json"))
        assert status == 0, errors
        # Lines before it are notes on the images.
        assert Path(out.splitlines()[-1]).is_file()


def test_gradcam_of_a_network_and_image_files(kmodels_command, recorded, tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr("kmodels.report.grad_cam_files.save", lambda figure, path: figures.append(figure) or path)
    folder = tmp_path / "photos"
    folder.mkdir()
    for i, size in enumerate([(40, 20), (16, 16), (9, 30)]):
        pixels = np.random.default_rng(i).integers(0, 256, (*size, 3), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
    other = tmp_path / "grey.keras"
    image = keras.Input((10, 12, 1))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(2, 3, name="conv")(image))
    keras.Model(image, keras.layers.Dense(2, activation="softmax")(x)).save(other)

    network = tmp_path / "named.keras"
    network.write_bytes(recorded.with_name(f"{recorded.name}.keras").read_bytes())
    record = recorded.with_name(f"{recorded.name}.json").read_text()
    network.with_suffix(".json").write_text(record.replace('"class ', '"kind '))
    status, out, _ = kmodels_command("gradcam", str(network), str(folder), str(folder / "0.png"))
    assert (status, out.split()) == (0, ["named_grad_cam.png", "named_grad_cam_layers.png"])
    titles = [title for axes in figures[0].axes if (title := axes.get_title(loc="left"))]
    assert sorted(title.split("\nkind ")[0] for title in titles) == ["0.png", "0.png", "1.png", "2.png"]

    status, out, _ = kmodels_command("gradcam", str(other), str(folder / "0.png"), "--out", str(tmp_path))
    assert status == 0
    assert out.splitlines()[0] == "the network is given pixels 0..255, and no layer of it scales them; see --scale"
    assert out.splitlines()[1] == str(tmp_path / "grey_grad_cam.png")
    assert figures[2].axes[0].images[0].get_array().shape == (10, 12, 3)

    normalised = tmp_path / "normalised.keras"
    about = About(class_names=("a", "b"), image_shape=(10, 12, 1), value_range=(0.0, 1.0))
    save_network(load_network(other), normalised, about)
    status, out, _ = kmodels_command("gradcam", str(normalised), str(folder / "0.png"), "--scale", "0.0039216")
    assert (status, out.split()[0]) == (0, "normalised_grad_cam.png")

    (tmp_path / "text.png").write_text("no picture")
    (tmp_path / "empty").mkdir()
    (tmp_path / "wrong.keras").write_text("no network")
    vector = tmp_path / "vector.keras"
    keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)]).save(vector)
    two, image = tmp_path / "two.keras", keras.Input((10, 12, 1))
    keras.Model(image, [keras.layers.Dense(2)(keras.layers.Flatten()(image)) for _ in range(2)]).save(two)
    for arguments, message in (
        ([f"{recorded}.keras"], "give images"),
        ([f"{recorded}.json", str(folder)], "images go with a .keras file"),
        (["none.keras", str(folder)], "must be a .keras file that exists"),
        ([str(tmp_path / "wrong.keras"), str(folder)], "cannot load the network"),
        ([str(vector), str(folder)], "must have one input, images"),
        ([str(two), str(folder)], "must have one output, logits"),
        ([str(normalised), str(folder)], "trained on floats from 0 to 1, not on pixels 0..255; --scale (scale=) must"),
        ([f"{recorded}.keras", "none.png"], "image files or folders that exist"),
        ([f"{recorded}.keras", str(tmp_path / "empty")], "no image file"),
        ([f"{recorded}.keras", str(tmp_path / "text.png")], "cannot read the image"),
        ([f"{recorded}.keras", str(folder), "--layers", "relu9"], "unknown layer 'relu9'"),
    ):
        status, _, errors = kmodels_command("gradcam", *arguments)
        assert (status, errors.count("\n")) == (2, 1), errors
        assert message in errors


def test_tsne_and_features_draw_beside_the_record(kmodels_command, recorded):
    file = f"{recorded}.json"
    status, out, _ = kmodels_command("tsne", file, "--samples", "20", "--perplexity", "5")
    assert (status, out) == (0, f"{recorded}_tsne_20_seed0_perplexity5.webp\n")
    status, _, errors = kmodels_command("tsne", file, "--samples", "20", "--perplexity", "20")
    assert status == 2
    assert "perplexity must be" in errors
    status, out, _ = kmodels_command("features", file, "--layers", "relu1", "embedding", "--images", "0", "3")
    assert status == 0
    assert [line.rsplit("seed0_")[1] for line in out.splitlines()] == ["features_0.webp", "features_3.webp"]
    status, _, errors = kmodels_command("features", file, "--images", "40")
    assert status == 2
    assert "images must be indices in the test split, 0 to 39. Received: 40" in errors


def test_what_is_asked_for_otherwise_leaves_the_pictures_of_the_page_alone(kmodels_command, recorded):
    file = f"{recorded}.json"
    for command, *options in (("tsne", "--perplexity", "2"), ("gradcam", "--layers", "relu1"), ("mistakes",)):
        assert kmodels_command(command, file)[0] == 0
        standard = {path: path.read_bytes() for path in recorded.parent.iterdir()}
        for more in [options] if options else [("--split", "val"), ("--number", "3")]:
            status, out, _ = kmodels_command(command, file, *more)
            assert status == 0
            assert {path: path.read_bytes() for path in standard} == standard
            assert Path(out.splitlines()[-1]) not in standard


def test_show_prints_a_record(kmodels_command, recorded):
    status, out, _ = kmodels_command("show", f"{recorded}.json")
    assert status == 0
    assert out.startswith("tests/tiny, seed 0: completed")
    assert "test images  right %" in out
    assert out.splitlines()[-10].startswith("class 0 ")


def test_show_has_the_published_number_that_is_listed_now(kmodels_command, tmp_path):
    listed = next(one for report in reports() for one in report.EXPERIMENTS if one.name == "cifar10_small_cnns/m1")
    record = make_record(experiment=replace(listed, published=Published(test_accuracy=0.1111)))
    _, out, _ = kmodels_command("show", str(write_record(record, tmp_path)))
    assert f"{100 * listed.published.test_accuracy:.2f}" in out
    assert "11.11" not in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trian", "photos"], "error: unknown command 'trian'; did you mean train"),
        (["data", "prepare", "digit"], "error: unknown dataset 'digit'; did you mean digits"),
        (["models", "model7"], "error: unknown model 'model7'; did you mean model"),
        (["augment", "mixUp"], "error: unknown augmentation 'mixUp'; did you mean mixup"),
        (["augment", "crop", "--seed", "-1"], "error: seed must be at least 0. Received: -1"),
        (["augment", "crop", "--out", "crop.pdf"], "error: the file to write must end in .png. Received: 'crop.pdf'"),
        (["gradcam", "none.json"], "error: cannot read the record none.json"),
        (["show", "none.json"], "error: cannot read the record none.json"),
        (["convert", "none.pth", "--model", "alexnet"], "error: the PyTorch weights must be a file that exists"),
        (["report", "--readme", "none.md"], "error: no README at none.md"),
        (["bench", "model7"], "error: unknown model 'model7'; did you mean model"),
        (["bench", "--contenders", "jaxs"], "error: unknown contender 'jaxs'; did you mean jax"),
        (["bench", "--out", __file__], "error: the folder to write into is a file"),
        (["docter"], "doctor"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(kmodels_command, arguments, message):
    status, out, err = kmodels_command(*arguments)
    assert status == 2
    assert message in out + err
    assert "Traceback" not in err


def test_convert_brings_a_pytorch_network_over(kmodels_command, tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    twin = nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 7),
    )  # fmt: skip
    file = tmp_path / "theirs.pth"
    torch.save(twin.state_dict(), file)
    status, said, _ = kmodels_command("convert", str(file), "--model", "basic_cnn")
    assert status == 0
    assert f"{tmp_path / 'theirs.keras'}: basic_cnn, 7 classes, 32x32 pixels" in said
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), np.uint8)
    logits = predict_logits(load_network(tmp_path / "theirs.keras"), images)
    with torch.no_grad():
        expected = twin((torch.tensor(images).permute(0, 3, 1, 2) / 255 - 0.5) / 0.5).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    status, _, errors = kmodels_command("convert", str(file), "--model", "mobilenet")
    assert status == 2
    assert errors.startswith("error: these weights are not of mobilenet (")
    assert "\n  stem_conv wants weight 32x3x3x3" in errors
    status, _, errors = kmodels_command("convert", str(file), "--model", "basic_cnn", "--out", "network.h5")
    assert (status, errors) == (2, "error: the file to write must end in .keras. Received: 'network.h5'\n")


def test_convert_takes_the_options_of_a_network(kmodels_command, tmp_path):
    torch = pytest.importorskip("torch")
    nn = torch.nn
    twin = nn.Sequential(nn.Linear(192, 8), nn.Linear(8, 6), nn.Linear(6, 3))
    file = tmp_path / "theirs.pth"
    torch.save(twin.state_dict(), file)
    arguments = ("convert", str(file), "--model", "two_layer_net", "--image-size", "8")
    assert kmodels_command(*arguments, "--model-options", "hidden=8,6")[0] == 0
    network = load_network(tmp_path / "theirs.keras")
    np.testing.assert_allclose(network.get_layer("dense2").get_weights()[0], twin[1].weight.detach().numpy().T)
    status, _, errors = kmodels_command(*arguments)
    assert status == 2
    assert "these weights are not of two_layer_net" in errors
