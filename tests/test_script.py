"""Experiment files as commands."""

import functools
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import conftest
import pytest
from conftest import ROOT
from PIL import Image

from experiments import cifar10_alexnet as report3
from experiments import cifar10_long_tail as long_tail
from experiments import cifar10_small_cnns as report4
from experiments import cifar100_to_stl10 as report2
from experiments import eurosat_long_tail as report5
from experiments import intel_scenes as report1
from kmodels import InputError, catalogue, read_record, read_records, script
from kmodels.records.descriptions import settings
from kmodels.report.claims import Bound, Claim
from kmodels.report.figures import Sweep

# What a run leaves, for tests of what surrounds it.
RAN = SimpleNamespace(status="completed", parameters=7)
run_script = functools.partial(conftest.run_script, experiments=report4.EXPERIMENTS)


def test_the_list_shows_every_row_of_the_report_with_its_published_number(capsys):
    assert run_script("--list") == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert len(lines) == 13
    published = [67.97, 68.12, 66.24, 64.48, 70.74, 72.56, 67.45, 65.87, 72.55, 75.34, 79.29, 78.0, 77.81]
    for line, number in zip(lines, published, strict=True):
        assert f" {number:.2f} " in line


def test_the_other_reports_list_every_row_too(capsys):
    assert run_script("--list", experiments=report1.EXPERIMENTS) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()[2:]]
    published = {name: row for name, *row in rows}
    assert len(published) == 27
    for name, number in (("mlp", "61.80"), ("adam_3e-2", "17.40"), ("dropout_20", "80.01"), ("first3_02", "79.80")):
        assert number in published[name]
    assert run_script("--list", experiments=report3.EXPERIMENTS) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    assert [number in line for line, number in zip(lines, ("67.00", "71.99", "74.30"), strict=True)] == 3 * [True]


def test_the_settings_of_the_scenes_are_those_of_the_report():
    by_name = {experiment.name.split("/")[-1]: experiment for experiment in report1.EXPERIMENTS}
    assert [by_name[f"dropout_{i}0"].model_options["dropout"] for i in range(10)] == [i / 10 for i in range(10)]
    for name, optimizer, rate, epochs in (
        ("adam", "adam", 0.001, 50),
        ("adamw", "adamw", 0.001, 50),
        ("sgd_1e-3", "sgd", 0.001, 50),
        ("sgd_1e-3_150", "sgd", 0.001, 150),
        ("sgd_3e-2_150", "sgd", 0.03, 150),
        ("adam_3e-2", "adam", 0.03, 50),
    ):
        experiment = by_name[name]
        assert (experiment.optimizer, experiment.learning_rate, experiment.epochs) == (optimizer, rate, epochs)
    assert by_name["class2_30"].class_fractions == (1, 1, 0.3, 1, 1, 1)
    bn = {"batch_norm": True}
    assert [by_name[name].model_options for name in ("with_bn", "without_bn", "full")] == [bn, {}, bn]
    assert by_name["resnet50_frozen"].model_options == {"weights": "imagenet"}
    assert by_name["resnet50_frozen"].frozen
    for name in ("full", "class2_30", "first3_50", "first3_02"):
        published = by_name[name].published
        matrix = published.confusion_matrix
        # The printed matrices are of the test images: 3,407 of them, and the accuracy is on their diagonal.
        assert sum(map(sum, matrix)) == 3407
        assert round(sum(matrix[i][i] for i in range(6)) / 3407, 3) == pytest.approx(
            published.test_accuracy, abs=0.0011
        )


def test_the_settings_of_the_alexnets_are_those_of_the_report():
    for experiment in report3.EXPERIMENTS:
        assert (experiment.batch_size, experiment.epochs, experiment.learning_rate) == (10, 300, 0.0001)
    for experiment in report3.EXPERIMENTS[1:]:
        published = experiment.published
        assert sum(published.per_class_accuracy) / 10 == pytest.approx(published.test_accuracy)


def test_the_settings_of_transfer_are_those_of_the_report():
    by_name = {experiment.name.split("/")[-1]: experiment for experiment in report2.EXPERIMENTS}
    assert len(by_name) == 24
    for name, batch, epochs, test in (
        ("two_layer_net", 64, 10, 0.11),
        ("conv_net", 64, 10, 0.22),
        ("two_layer_net_tuned", 128, 20, 0.22),
        ("two_layer_net_tuned_hidden_512", 128, 20, 0.15),
        ("conv_net_tuned", 128, 50, 0.56),
        ("stl10_finetuned_20", 128, 20, 0.8258),
        ("stl10_finetuned_60", 128, 60, 0.8267),
    ):
        experiment = by_name[name]
        settings = (experiment.batch_size, experiment.epochs, experiment.published.test_accuracy)
        assert settings == (batch, epochs, test)
        assert experiment.patience is None
    tuned = by_name["conv_net_tuned"]
    assert (tuned.optimizer, tuned.learning_rate, tuned.momentum, tuned.weight_decay) == ("sgd", 0.01, 0.9, 1e-4)
    assert [by_name[f"conv_net_tuned_{name}"].learning_rate for name in ("5e-1", "1e-1", "1e-3")] == [0.5, 0.1, 0.001]
    for name in ("stl10_finetuned_20", "stl10_finetuned_60"):
        assert (by_name[name].dataset, by_name[name].init_from) == ("stl10_5", tuned.name)


def test_the_settings_of_satellite_pictures_are_those_of_the_report():
    by_name = {experiment.name.split("/")[-1]: experiment for experiment in report5.EXPERIMENTS}
    published = {name: item.published.test_accuracy for name, item in by_name.items() if item.published.test_accuracy}
    assert published == {
        "resnet50": 0.913,
        "densenet121": 0.84,
        "densenet121_factorised": 0.86,
        "densenet121_factorised_tricks": 0.892,
        "long_tail_backbone": 0.85,
        "long_tail_svm": 0.865,
    }
    assert by_name["densenet121_factorised"].model_options == {"factorised": True, "noise_std": 0.005}
    tricks, backbone, svm = (
        by_name[name] for name in ("densenet121_factorised_tricks", "long_tail_backbone", "long_tail_svm")
    )
    assert (tricks.label_smoothing, tricks.augmentation, tricks.plateau_patience) == (0.1, "geometric", 5)
    assert (backbone.sampler, svm.init_from, svm.head) == ("oversample", backbone.name, "svm")
    assert svm.class_weight == (0.0001, 0.001, 0.001, 1, 1, 1, 1, 0.01, 1, 1)
    # Small penalties are those of large classes.
    assert sorted(zip(backbone.class_counts, svm.class_weight, strict=True))[-4:] == [
        (100, 0.01), (150, 0.001), (150, 0.001), (200, 0.0001),
    ]  # fmt: skip


def test_the_heads_see_the_data_of_their_network():
    for report in (report5, long_tail):
        by_name = {experiment.name: experiment for experiment in report.EXPERIMENTS}
        for experiment in report.EXPERIMENTS:
            if experiment.head:
                parent = by_name[experiment.init_from]
                for setting in ("dataset", "image_size", "imbalance", "model", "model_options"):
                    assert getattr(experiment, setting) == getattr(parent, setting)


@pytest.mark.parametrize("report", ["cifar10_small_cnns", "cifar10_alexnet", "intel_scenes", "eurosat_long_tail"])
def test_the_list_needs_no_keras(report):
    done = subprocess.run(
        [sys.executable, "-X", "importtime", str(ROOT / "experiments" / f"{report}.py"), "--list"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0
    assert not [line for line in done.stderr.splitlines() if line.endswith((" keras", " tensorflow", " jax"))]


def test_a_reader_that_stops_early_gets_no_traceback():
    script = str(ROOT / "experiments" / "cifar10_small_cnns.py")
    process = subprocess.Popen(
        [sys.executable, "-u", script, "--list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait() == 141


def test_the_settings_are_those_of_the_report():
    by_name = {experiment.name.split("/")[-1]: experiment for experiment in report4.EXPERIMENTS}
    assert [by_name[f"m{i}"].learning_rate for i in range(1, 9)] == [0.001, 0.003, 0.005, 0.01] + 4 * [0.001]
    assert [by_name[f"m{i}"].batch_size for i in range(1, 9)] == 5 * [256] + 3 * [512]
    assert [by_name[f"m{i}"].optimizer for i in (6, 7, 8)] == ["adam", "rmsprop", "sgd"]
    assert [by_name[f"m{i}"].augmentation for i in (4, 5)] == ["none", "rotate_flip"]
    for experiment in report4.EXPERIMENTS:
        assert (experiment.dataset, experiment.patience) == ("cifar10", 10)
        assert experiment.epochs >= experiment.published.epochs
    for i in range(2, 7):
        other = by_name[f"model{i}"]
        assert (other.optimizer, other.learning_rate, other.batch_size) == ("adam", 0.001, 512)
        assert other.augmentation == "rotate_flip"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["modell4"], "error: unknown experiment 'modell4'; did you mean model4"),
        (["model4", "--learning-rate", "-1"], "error: learning_rate must be a number above 0. Received: -1"),
        (["model4", "--optimizer", "sdg"], "error: unknown optimizer 'sdg'; did you mean sgd"),
        (["model4", "--learning-rat", "1"], "--learning-rate"),
        (["model4", "--epochs", "1.5"], "invalid literal for int"),
        (["model4", "--figures"], "error: the results folder (--out, out=) must exist. Received: 'results'"),
        (["model5", "--model-options", "dropout=0.3"], "model 'model5' has no option 'dropout'; it has: none"),
        (["model4", "--model-options", "dropout"], "model options must be written as NAME=VALUE. Received: 'dropout'"),
        (["model4", "--model", "nowhere:network"], "cannot import nowhere"),
        (["model4", "--optimizer", "keras.optimizers:Lyon"], "keras.optimizers has no 'Lyon'"),
        (["model4", "--seeds"], "error: --seeds needs one or more numbers from 0 up. Received: ()"),
        (
            ["model4", "--model-options", "weights=none.keras"],
            "model 'model4' has no option 'weights'; it has: dropout",
        ),
        (
            ["model4", "--model", "resnet50", "--model-options", "weights=none.keras"],
            "error: the option weights must be 'imagenet' or a file",
        ),
        (
            ["model4", "--model", "resnet50", "--frozen", "True"],
            "error: frozen needs weights or init_from. Received: True",
        ),
        (
            ["model4", "--dataset", "synthetic", "--batch-size", "8", "--image-size", "8"],
            "at least 12x12 pixels. Received",
        ),
        (["model4", "--dataset", "folder"], "error: dataset 'folder' needs data_dir"),
    ],
)
def test_a_mistake_is_named_without_a_traceback(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run_script(*arguments) == 2
    captured = capsys.readouterr()
    assert message in captured.err + captured.out
    assert "Traceback" not in captured.err


def test_fields_can_be_overridden_and_published_stands_beside_measured(tiny, tmp_path, capsys):
    other = replace(tiny, name="tests/other")
    arguments = ["tiny", "--epochs", "1", "--patience", "None", "--seeds", "0", "1", "--out", str(tmp_path)]
    assert run_script(*arguments, experiments=[tiny, other], closing="Goodbye.") == 0
    records = list(read_records(tmp_path).values())
    assert [record.seed for record in records] == [0, 1]
    changed = replace(tiny, epochs=1, patience=None)
    assert {record.experiment.fingerprint for record in records} == {changed.fingerprint}
    assert {record.experiment.description for record in records} == {"epochs=1, patience=None"}
    printed = capsys.readouterr().out
    assert "published test %" in printed
    (row,) = [line for line in printed.splitlines() if "(n=2)" in line]
    assert {"epochs=1", "patience=None"} <= set(row.split(", "))
    assert f"{tmp_path / records[0].stem}.json" in printed
    assert printed.endswith("Goodbye.\n")


def test_a_mistake_found_in_the_run_is_the_last_word(tiny, tmp_path, capsys):
    arguments = ["--class-weight", "1", "2", "--out", str(tmp_path)]
    assert run_script(*arguments, experiments=[tiny], draw=True, closing="Goodbye.") == 2
    printed = capsys.readouterr()
    assert printed.err.startswith("error: class_weight must be 10 numbers of at least 0, one for each of class 0")
    assert "figures" not in printed.out + printed.err
    assert "Goodbye" not in printed.out


@pytest.mark.usefixtures("nan_loss")
def test_a_diverged_run_is_exit_status_1(tiny, tmp_path, capsys):
    assert run_script("--out", str(tmp_path), experiments=[tiny]) == 1
    assert "diverged" in capsys.readouterr().out


@pytest.mark.usefixtures("nan_loss")
def test_smoke_fails_where_an_experiment_does(tiny, capsys):
    assert run_script("--smoke", experiments=[tiny]) == 1
    assert "tests/tiny: diverged" in capsys.readouterr().out


def test_figures_of_one_report_are_drawn_where_another_has_no_record(tiny, tmp_path, capsys):
    assert run_script("--epochs", "1", "--out", str(tmp_path), experiments=[tiny]) == 0
    other = replace(tiny, name="other/tiny")
    assert run_script("--figures", "--out", str(tmp_path), experiments=[other, tiny]) == 0
    printed = capsys.readouterr().out
    assert f"no record of other/tiny under {tmp_path}" in printed
    assert "tests/index.html" in printed


def test_a_repeated_seed_is_run_once(tiny, tmp_path, capsys):
    assert run_script("--seeds", "4", "4", "--epochs", "1", "--out", str(tmp_path), experiments=[tiny]) == 0
    assert "(n=1)" in capsys.readouterr().out


def test_published_numbers_go_when_the_images_are_others(tmp_path):
    m1 = report4.M1
    given = {"dataset": "folder"}
    assert script._changed(m1, given, tmp_path / "flowers").published is None
    assert script._changed(m1, given, tmp_path / "cifar10").published == m1.published
    assert script._changed(m1, {"epochs": 500}, None) is m1


def test_smoke_tries_the_experiments_and_keeps_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert run_script("m1", "model4", "--smoke") == 0
    assert capsys.readouterr().out.splitlines() == [
        "cifar10_small_cnns/m1: completed, 41,274 parameters",
        "cifar10_small_cnns/model4: completed, 42,314 parameters",
    ]
    assert os.listdir(tmp_path) == []


def test_smoke_tries_frozen_weights_and_class_fractions_without_their_files(tiny, monkeypatch):
    seen = []
    monkeypatch.setattr("kmodels.training.run", lambda experiment, *rest, **options: seen.append(experiment) or RAN)
    frozen = next(item for item in report1.EXPERIMENTS if item.name.endswith("_frozen"))
    assert script._smoke([frozen, report1.CLASS2_30]) == 0
    assert [item.dataset for item in seen] == ["synthetic", "synthetic"]
    assert (seen[0].frozen, Path(seen[0].model_options["weights"]).name) == (True, "weights.keras")
    assert seen[1].class_fractions == (1, 1, 0.3, 1, 1, 1, 1, 1, 0.3, 1)


def test_smoke_tries_heads_transfer_and_long_tails_without_their_files(capsys):
    chosen = [report2.STL10_FINETUNED_20, *long_tail.RATIO_100[4:5]]
    assert script._smoke([replace(item, model="conv_net", image_size=None) for item in chosen]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "cifar100_to_stl10/stl10_finetuned_20: completed, 62,006 parameters",
        "cifar10_long_tail/lt100_svm: completed, 850 parameters",
    ]


def test_class_fractions_are_given_as_numbers(tiny, tmp_path, capsys):
    shares = [*5 * ["0.5"], *5 * ["1"]]
    arguments = ["--class-fractions", *shares, "--epochs", "1", "--batch-size", "8", "--out", str(tmp_path)]
    assert run_script(*arguments, experiments=[tiny]) == 0
    (record,) = read_records(tmp_path).values()
    assert record.experiment.class_fractions == tuple(map(float, shares))
    assert record.train.examples == 30
    assert record.val.examples == record.test.examples == 40
    assert run_script("--class-fractions", "1", "1", "--out", str(tmp_path), experiments=[tiny]) == 2
    assert "class_fractions must be 10 numbers, one for each of class 0" in capsys.readouterr().err


def test_experiments_are_chosen_by_report_by_full_name_or_by_name(tiny, tmp_path):
    one, other = replace(tiny, name="a/m1", epochs=1), replace(tiny, name="b/m1", epochs=1)
    pick = catalogue.select
    assert pick([one, other], []) == [one, other]
    assert pick([one, other], ["b"]) == [other]
    assert pick([one, other], ["a/m1", "a"]) == [one]
    with pytest.raises(InputError, match="'m1' is in several reports; choose a/m1 or b/m1"):
        pick([one, other], ["m1"])


def test_all_reports_can_be_run_with_one_command():
    done = subprocess.run([sys.executable, "-m", "experiments", "--list"], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 2 + 1 + 27 + 24 + 3 + 13 + 11 + 18


def test_every_figure_is_about_experiments_of_its_file():
    for report in (report1, report2, report3, report4, report5, long_tail):
        for figure in report.FIGURES:
            assert set(figure.experiments) <= set(report.EXPERIMENTS), figure.title
            if isinstance(figure, Sweep):
                values = [settings(experiment)[figure.setting] for experiment in figure.experiments]
                assert values == sorted(set(values))


REPORTS = (report1, report2, report3, report4, report5, long_tail)


@pytest.mark.parametrize("report", REPORTS, ids=lambda report: report.__name__)
def test_claims_are_about_experiments_of_their_report(report):
    names = {experiment.name for experiment in report.EXPERIMENTS}
    assert len({claim.says for claim in report.CLAIMS}) == len(report.CLAIMS) > 0
    for claim in report.CLAIMS:
        for bound in claim.bounds:
            assert set(bound.names) <= names
            assert (bound.least, bound.most) != (None, None)
            # What the report measured itself must be as it claims.
            if bound.published is not None:
                assert bound.holds(bound.published, bound.published), (claim.says, bound.published)


def test_claims_are_shown_and_written_for_their_report(tmp_path, capsys):
    assert run_script("m5", "--claims", "--out", str(tmp_path), claims=report4.CLAIMS) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("cifar10_small_cnns\n\nAugmentation gains two to five percentage points.\n  not run\n")
    # Those about other experiments are not shown, but the table has them all.
    assert "model 4" not in printed
    assert "model 4" in (tmp_path / "cifar10_small_cnns" / "claims.md").read_text()
    assert run_script("model6", "--claims", "--out", str(tmp_path), claims=report4.CLAIMS) == 2
    assert "--claims needs experiments that a claim is about" in capsys.readouterr().err


def test_after_a_run_claims_are_judged_again_and_what_they_cannot_read_costs_no_run(tmp_path, capsys):
    arguments = ("m1", "--dataset", "digits", "--subset", "200", "--epochs", "1", "--batch-size", "32")
    claims = [Claim("It learns.", (Bound(of=report4.M1, least=1),))]
    assert run_script(*arguments, "--out", str(tmp_path), claims=claims) == 0
    assert "| It learns. | undecided there |" in (tmp_path / "cifar10_small_cnns" / "claims.md").read_text()
    (tmp_path / "bad-seed0.json").write_text("{}")
    assert run_script(*arguments, "--seeds", "1", "--out", str(tmp_path), claims=claims) == 0
    printed = capsys.readouterr()
    assert "1 of 3 records cannot be read" in printed.err
    assert "| It learns. | undecided there |" in (tmp_path / "cifar10_small_cnns" / "claims.md").read_text()


def test_the_committed_verdicts_are_those_of_the_committed_records(tmp_path):
    from kmodels.report.claim_tables import write_claims

    listed = subprocess.run(["git", "ls-files", "results/*.json"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode:
        pytest.skip("not in a git checkout")
    names = [Path(name) for name in listed.stdout.split() if "-seed" in name]
    records = [read_record(ROOT / name) for name in names]
    claims, experiments = (
        [one for report in REPORTS for one in getattr(report, name)] for name in ("CLAIMS", "EXPERIMENTS")
    )
    write_claims(claims, experiments, records, tmp_path)
    for path in tmp_path.rglob("*.md"):
        committed = ROOT / "results" / path.relative_to(tmp_path)
        assert committed.read_text() == path.read_text(), "run: python -m experiments --claims; kmodels report"


def test_options_given_join_those_of_the_experiment(tiny):
    base = replace(tiny, model_options={"dropout": 0.5, "batch_norm": True})
    changed = script._changed(base, {"model_options": ("dropout=0.1",)}, None)
    assert changed.model_options == {"dropout": 0.1, "batch_norm": True}
    assert script._changed(base, {"model_options": ("batch_norm=none",)}, None).model_options == {"dropout": 0.5}
    assert script._changed(base, {"model_options": ("dropout=0.5",)}, None) is base


@pytest.mark.parametrize("split", ["batch", pytest.param("runs", marks=pytest.mark.slow)])
def test_unreadable_images_are_left_out_by_an_experiment_file(tiny, tmp_path, split, capsys):
    for number in range(30):
        path = tmp_path / "pets" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16), (number,) * 3).save(path)
    path.write_bytes(b"no image")
    experiments = [replace(tiny, dataset="folder", epochs=1, batch_size=8)]
    arguments = ["--out", str(tmp_path / "out"), "--data-dir", str(tmp_path / "pets"), "--split", split]
    if split == "runs":
        arguments += ["--seeds", "0", "1", "--devices", "2"]
    assert run_script(*arguments, experiments=experiments) == 2
    assert "--skip-unreadable" in capsys.readouterr().err
    assert run_script(*arguments, "--skip-unreadable", experiments=experiments) == 0
    records = read_records(tmp_path / "out").values()
    assert [record.source["unreadable"] for record in records] == [1] * (2 if split == "runs" else 1)
