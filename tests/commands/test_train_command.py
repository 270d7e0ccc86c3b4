"""`kmodels train FOLDER`, from images to a network in use."""

import os
import shlex
import subprocess
import sys

import pytest

from kmodels import Classifier, InputError, read_records
from kmodels.commands import train as train_command
from kmodels.commands.rate import RateCommand
from kmodels.commands.train import choose


def test_a_folder_becomes_a_classifier_with_a_page(colours, kmodels_command, tmp_path):
    # The folder's name must be quoted in a shell.
    out, flags = tmp_path / "my runs", ("--model", "mlp", "--image-size", "16", "--batch-size", "12", "--epochs", "12")
    status, printed, _ = kmodels_command("train", colours, "--out", out, *flags)
    lines = printed.splitlines()
    assert status == 0
    (record,) = read_records(out).values()
    assert record.experiment.name.startswith("my_colours_")
    assert record.test.accuracy > 0.9
    split = lines.index("36 images to train on, 12 to choose by (val), 12 to test on")
    assert split < lines.index(next(line for line in lines if line.startswith("best on the validation images")))
    assert any(line.startswith("best on the validation images") and "95 % interval" in line for line in lines)
    network = out / f"{record.stem}.keras"
    assert shlex.split(lines[-1].split(":")[1]) == ["kmodels", "predict", str(network), "PHOTOGRAPHS"]
    assert shlex.split(lines[-2].split(":")[1]) == ["kmodels", "mistakes", str(network.with_suffix(".json"))]
    assert Classifier(network).predict(colours / "red" / "0.png")[0].name == "red"
    assert (out / record.experiment.name.split("/")[0] / "index.html").is_file()


def test_of_few_images_batches_are_smaller_unless_their_size_is_given(colours, kmodels_command, tmp_path):
    flags = ("--model", "mlp", "--image-size", "8", "--epochs", "1", "--class-counts", "3", "2", "4", "--out", tmp_path)
    assert kmodels_command("train", colours, *flags)[0] == 0
    (record,) = read_records(tmp_path).values()
    assert record.experiment.batch_size == record.source["counts"]["train"] == 9
    status, _, err = kmodels_command("train", colours, *flags, "--batch-size", "10")
    assert status != 0
    assert "batch_size must be at most 9" in err


def test_several_values_of_a_setting_are_compared_in_a_table(colours, kmodels_command, tmp_path):
    flags = ("--model", "mlp", "--image-size", "8", "--batch-size", "12", "--epochs", "2")
    status, out, _ = kmodels_command("train", colours, "--out", tmp_path, *flags, "--learning-rate", "0.01", "1e-6")
    assert status == 0
    rates = {record.experiment.learning_rate for record in read_records(tmp_path).values()}
    assert rates == {0.01, 1e-6}
    table = [line.split() for line in out.splitlines() if "learning_rate_" in line and "(n=1)" in line]
    assert [row[0].split("-learning_rate_")[1] for row in table] == ["0.01", "1e-06"]


def test_the_page_has_pictures_of_the_best_network_of_all_or_there_is_none(colours, kmodels_command, tmp_path):
    flags = ("--model", "mlp", "--image-size", "8", "--batch-size", "12", "--epochs", "2", "--out", tmp_path)
    command = ("train", colours, *flags, "--learning-rate", "0.01", "1e-6")
    status, out, _ = kmodels_command(*command, "--page", "none")
    assert status == 0
    assert "the page" not in out
    assert not list(tmp_path.rglob("*.html"))
    status, out, _ = kmodels_command(*command)
    assert status == 0
    best, writing, written, *_ = out.split("best on the validation images: ")[1].splitlines()
    assert writing == "writing the page, with pictures of this network"
    (page,) = tmp_path.rglob("index.html")
    assert written == f"pictures and settings: {page.resolve().as_uri()}"
    (picture,) = tmp_path.rglob("*_ten.webp")
    assert best.startswith(f"{picture.parent.relative_to(tmp_path)}, ")
    assert len(list(tmp_path.rglob("*_confusion.webp"))) == 2
    assert "kmodels gradcam RECORD" in page.read_text()
    # A network that was drawn since its record was written is not drawn again.
    before = picture.stat().st_mtime_ns
    assert kmodels_command(*command)[0] == 0
    assert picture.stat().st_mtime_ns == before
    record = next(picture.parent.glob("*-seed0.json"))
    os.utime(record, ns=(before + 1, before + 1))
    assert kmodels_command(*command)[0] == 0
    assert picture.stat().st_mtime_ns > before
    assert kmodels_command(*command, "--page", "all")[0] == 0
    assert len(list(tmp_path.rglob("*_ten.webp"))) == 2
    assert "kmodels gradcam RECORD" not in page.read_text()


def test_what_is_wrong_is_said_before_anything_is_trained(colours, kmodels_command, tmp_path):
    (tmp_path / "photos.zip").touch()
    for arguments, message in (
        ((tmp_path / "nothing",), "the folder of photographs must be a folder that exists"),
        ((tmp_path / "photos.zip",), "photos.zip is a file: unpack it first"),
        ((colours, "--model", "mlpp"), "did you mean mlp"),
        ((colours, "--learning-rate", "-1"), "learning_rate must be a number above 0"),
        ((colours / "red",), "20 images lie directly in it"),
    ):
        status, out, err = kmodels_command("train", *arguments, "--out", tmp_path)
        assert (status, out) == (2, "")
        assert message in err


def test_records_are_not_written_among_the_images(colours, kmodels_command, monkeypatch, tmp_path):
    monkeypatch.chdir(colours)
    (tmp_path / "photos").symlink_to(colours)
    flags = ("--model", "mlp", "--image-size", "8", "--epochs", "1")
    # The last one would write into tmp_path/photos.
    for arguments in ((".",), (colours,), (colours, "--out", colours), (tmp_path / "photos", "--out", tmp_path)):
        status, out, err = kmodels_command("train", *arguments, *flags)
        assert (status, out) == (2, "")
        assert "inside the folder of images" in err
    assert sorted(path.name for path in colours.iterdir()) == ["blue", "green", "red"]


def test_what_is_wrong_is_said_without_loading_keras(colours):
    code = "import sys; from kmodels.cli import TrainCommand; from pathlib import Path\n"
    code += "try:\n    TrainCommand(folder=Path(sys.argv[1]), epochs=(int(sys.argv[2]),)).run()\n"
    code += "except ValueError as error:\n    print(error, 'keras' in sys.modules)"
    for folder, epochs, message in ((colours, 0, "epochs must be at least 1"), (colours / "red", 1, "needs at least")):
        done = subprocess.run([sys.executable, "-c", code, folder, str(epochs)], capture_output=True, text=True)
        assert message in done.stdout
        assert done.stdout.endswith("False\n")


def test_what_is_chosen_is_said_with_the_reason(colours, kmodels_command, monkeypatch, tmp_path):
    monkeypatch.setattr(train_command, "run_experiments", lambda experiments, *_: (0, []))
    monkeypatch.setattr(train_command, "device_name", lambda: "cpu (2 cores)")
    monkeypatch.setattr(train_command, "PRETRAINED", ("no_such_package",))
    status, out, _ = kmodels_command("train", colours, "--out", tmp_path)
    lines = out.splitlines()
    assert status == 0
    assert "no ImageNet weights are installed" in lines[0]
    assert "training mobilenet from scratch" in lines[0]
    assert "on a CPU, so for at most 30 epochs" in lines[1]
    monkeypatch.setattr(train_command, "PRETRAINED", ())
    monkeypatch.setattr(train_command, "device_name", lambda: "NVIDIA H200")
    status, out, _ = kmodels_command("train", colours, "--out", tmp_path)
    assert status == 0
    assert out.startswith("efficientnet_lite0 starts from the ImageNet weights")


def test_pretrained_weights_are_taken_where_they_are():
    probe, tuned = choose("pets", {}, pretrained=True, on_cpu=False)
    assert (probe.head, probe.model_options["weights"]) == ("logistic", "imagenet")
    assert (tuned.init_from, tuned.frozen_batch_norm, tuned.image_size) == (probe.name, True, probe.image_size)
    assert choose("pets", {}, pretrained=True, on_cpu=True)[1].epochs < tuned.epochs
    (scratch,) = choose("pets", {}, pretrained=False, on_cpu=True)
    assert (scratch.model, scratch.init_from) == ("mobilenet", None)
    (own,) = choose("pets", {"model": ["mlp"]}, pretrained=True, on_cpu=True)
    assert own.name == "pets/mlp"


def test_a_network_of_keras_applications_starts_from_its_weights_where_they_can_be_had(monkeypatch):
    given = {"model": ["applications:MobileNet"], "model_options": [{"alpha": 0.25}]}
    probe, tuned = choose("pets", given, pretrained=True, on_cpu=True)
    assert (probe.name, probe.head, tuned.init_from) == ("pets/MobileNet-probe", "logistic", probe.name)
    assert dict(probe.model_options) == {"weights": "imagenet", "alpha": 0.25}
    assert dict(tuned.model_options) == {"alpha": 0.25}
    (scratch,) = choose("pets", given, pretrained=False, on_cpu=True)
    assert (scratch.name, scratch.init_from, scratch.head) == ("pets/MobileNet", None, None)
    assert tuned.frozen_batch_norm
    assert choose("pets", {"model": ["applications:VGG16"]}, pretrained=True, on_cpu=True)[1].frozen_batch_norm is None
    refused = {**given, "model_options": [{"weights": None}]}
    assert len(choose("pets", refused, pretrained=True, on_cpu=True)) == 1

    def offline(*arguments, **options):
        raise InputError("cannot download")

    monkeypatch.setattr(train_command, "build_model", offline)
    assert train_command.missing_weights(given) == "cannot download"
    chosen = {**given, "model_options": [{"weights": "mine.h5"}]}
    assert train_command.missing_weights(chosen) is None
    with pytest.raises(InputError, match="did you mean MobileNet"):
        train_command.missing_weights({"model": ["applications:MobileNt"]})


def test_each_of_several_networks_starts_as_it_would_alone(colours, kmodels_command, monkeypatch, tmp_path):
    chosen = []
    monkeypatch.setattr(train_command, "run_experiments", lambda experiments, *_: chosen.extend(experiments) or (0, []))
    monkeypatch.setattr(train_command, "PRETRAINED", ())
    flags = ("--model", "efficientnet_lite0", "conv_net", "--epochs", "2", "4", "--image-size", "32")
    assert kmodels_command("train", colours, "--out", tmp_path, *flags)[0] == 0
    probe, *others = [experiment.name.split("/")[1] for experiment in chosen]
    assert probe == "efficientnet_lite0-probe"
    assert others == [
        f"{name}-epochs_{epochs}" for name in ("efficientnet_lite0-finetuned", "conv_net") for epochs in (2, 4)
    ]
    assert [experiment.init_from for experiment in chosen] == [None, *2 * [chosen[0].name], None, None]


def test_settings_of_the_images_are_those_of_both_stages_and_others_of_the_second():
    given = {"image_size": [128], "class_weight": ["balanced"], "learning_rate": [1e-3, 1e-4], "epochs": [7]}
    probe, *tuned = choose("pets", given, pretrained=True, on_cpu=True)
    assert {item.image_size for item in (probe, *tuned)} == {128}
    assert {item.class_weight for item in (probe, *tuned)} == {"balanced"}
    assert [item.learning_rate for item in tuned] == [1e-3, 1e-4]
    assert [item.epochs for item in tuned] == [7, 7]
    with pytest.raises(InputError, match="epochs must be at least 1"):
        choose("pets", {"epochs": [0]}, pretrained=True, on_cpu=True)


def test_each_choice_of_images_has_a_probe_of_its_own_to_start_from():
    # The second pattern reads like the first where a name may only have letters, digits and few signs.
    patterns = ["(a+)_", "(a*)_", None]
    given = {"learning_rate": [1e-3, 1e-4], "group_by": patterns, "subset": [100, 200], "long_tail": [10]}
    probes, tuned = [], []
    for experiment in choose("pets", given, pretrained=True, on_cpu=True):
        (probes if experiment.head else tuned).append(experiment)
    named = {probe.name: probe for probe in probes}
    assert [(probe.group_by, probe.subset) for probe in probes] == [(one, n) for one in patterns for n in (100, 200)]
    assert len(named) == 6
    assert "pets/probe-group_by_None-subset_200" in named
    assert len({experiment.name for experiment in tuned}) == len(tuned) == 12
    for experiment in tuned:
        probe = named[experiment.init_from]
        assert (probe.group_by, probe.subset) == (experiment.group_by, experiment.subset)
        assert probe.long_tail == experiment.long_tail == 10
    # The images of all of these are the same.
    probe, *tuned = choose("pets", {"subset": [100], "learning_rate": [1e-3, 1e-4]}, pretrained=True, on_cpu=True)
    assert probe.name == "pets/probe"
    assert [experiment.init_from for experiment in tuned] == 2 * [probe.name]


@pytest.mark.parametrize("pretrained", [True, False])
@pytest.mark.parametrize(
    "given",
    [
        {"schedule": ["cosine"], "warmup_epochs": [2], "epochs": [8]},
        {"schedule": ["linear"]},
        {"schedule": ["plateau"]},
        {"schedule": ["cosine", None], "warmup_epochs": [0, 1]},
        {"warmup_epochs": [2]},
        {"plateau_patience": [3]},
        {"patience": [3]},
        {"patience": [1]},
    ],
)
def test_what_is_given_on_the_learning_rate_goes_with_what_is_chosen(given, pretrained):
    chosen = choose("pets", given, pretrained, on_cpu=True)[pretrained:]
    for name, values in given.items():
        found = list(dict.fromkeys(getattr(experiment, name) for experiment in chosen))
        assert found == ([None] if values == ["plateau"] else values)
    # Of a schedule that ends at the last epoch, patience would cut off the end.
    assert "patience" in given or all(experiment.patience is None for experiment in chosen if experiment.schedule)


def test_a_learning_rate_is_suggested_with_the_command_that_uses_it(colours, kmodels_command, tmp_path):
    picture = tmp_path / "rate.png"
    flags = ("--model", "two_layer_net", "--image-size", "8", "--batch-size", "12", "--model-options", "hidden=8,")
    status, out, _ = kmodels_command("rate", colours, *flags, "--out", picture, "--seed", "1")
    lines = out.splitlines()
    assert status == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["rate.png"]
    command = shlex.split(lines[-1])
    assert command[:3] == ["kmodels", "train", str(colours)]
    rate = command[-1]
    assert lines[-2].startswith(f"suggested learning rate: {rate},")
    assert 1e-5 < float(rate) < 1
    assert f"{float(rate):.2g}" == rate
    # It is a command that runs, and the one that was asked about.
    assert kmodels_command(*command[1:], "--out", tmp_path, "--epochs", "1")[0] == 0
    (record,) = read_records(tmp_path).values()
    experiment = record.experiment
    assert (experiment.model, experiment.batch_size, experiment.learning_rate) == ("two_layer_net", 12, float(rate))
    assert (experiment.model_options, record.seed) == ({"hidden": (8,)}, 1)


def test_the_rate_of_few_images_is_found_with_the_batches_that_training_has(colours, kmodels_command, tmp_path):
    flags = ("--model", "mlp", "--image-size", "8", "--class-counts", "3", "2", "4", "--out", tmp_path / "rate.png")
    # Whether steps so few lead to a suggestion is another question.
    assert kmodels_command("rate", colours, *flags, "--steps", "20")[0] in (0, 1)
    assert (tmp_path / "rate.png").is_file()
    status, _, err = kmodels_command("rate", colours, *flags, "--batch-size", "10")
    assert status == 2
    assert "batch_size must be at most 9" in err


def test_where_no_rate_can_be_suggested_the_status_is_1(colours, kmodels_command, tmp_path):
    flags = ("--model", "mlp", "--image-size", "8", "--batch-size", "12", "--out", tmp_path / "rate.png")
    rates = ("--lowest", "1e6", "--highest", "1e7", "--optimizer", "sgd")
    status, out, _ = kmodels_command("rate", colours, *flags, *rates, "--steps", "20")
    assert status == 1
    assert "no suggestion: the loss diverged at once" in out
    assert (tmp_path / "rate.png").is_file()
    for more, message in (
        (("--batch-size", "12", "24"), "batch_size must have one value"),
        (("--head", "logistic", "--model-options", "weights=imagenet"), "head must be left out"),
        (("--out", "rate.pdf"), "must end in .png"),
        (("--lowest", "0"), "lowest must be a number above 0"),
        (("--steps", "19"), "steps must be at least 20"),
    ):
        status, _, err = kmodels_command("rate", colours, *flags, *more)
        assert status == 2
        assert message in err


def test_the_rate_of_the_second_stage_is_found_without_the_first(colours, monkeypatch):
    monkeypatch.setattr("kmodels.commands.train.can_start_pretrained", lambda: True)
    command = RateCommand(folder=colours, frozen=(True,))
    experiment = command._experiment({"frozen": [True]})
    assert (experiment.model, experiment.init_from) == ("efficientnet_lite0", None)
    assert dict(experiment.model_options) == {"weights": "imagenet"}
    assert experiment.frozen
    assert experiment.frozen_batch_norm


def test_photographs_start_from_imagenet_weights(colours, kmodels_command, backend, tmp_path):
    if backend != "tensorflow" or not train_command.can_start_pretrained():
        pytest.skip("compiling takes longer elsewhere, and needs the weights")
    assert kmodels_command("train", colours, "--out", tmp_path, "--image-size", "32", "--epochs", "1")[0] == 0
    probe, tuned = sorted(read_records(tmp_path).values(), key=lambda record: record.experiment.name, reverse=True)
    assert probe.experiment.head == "logistic"
    assert "logits" in tuned.started_from["taken"]
    assert min(probe.test.accuracy, tuned.test.accuracy) > 0.8
