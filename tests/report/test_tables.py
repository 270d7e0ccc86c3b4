"""Tables: published beside measured, settings and groups of classes in words."""

from dataclasses import replace

import pytest
from test_records import make

from kmodels import Published
from kmodels.report import tables


def test_a_part_of_the_published_data_is_not_the_published_data():
    part = {**make().source, "subset": 5000}
    row = tables.published_against_measured([make(source=part)]).splitlines()[2]
    assert row.split()[3:5] == ["(n=1)", "-"]


def test_the_settings_stand_beside_every_result():
    sgd = replace(make().experiment, optimizer="sgd", momentum=0.9, augmentation="crop", batch_size=512)
    assert tables.recipe(sgd) == "model4, crop, sgd 0.001, momentum 0.9, batch 512, at most 50 epochs"
    options = {"dropout": 0.0, "batch_norm": True}
    thin = replace(make().experiment, model="alexnet", model_options=options, class_fractions=(1, 0.02))
    assert tables.recipe(thin).startswith("alexnet, dropout 0.0, batch norm True, class fractions 1 0.02, adam 0.001")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"keep": "last"}, ["keep last"]),
        ({"monitor": "val_accuracy", "plateau_patience": 5}, ["plateau patience 5", "monitor val_accuracy"]),
        ({"schedule": "cosine", "warmup_epochs": 3}, ["schedule cosine", "warm-up 3 epochs"]),
        ({}, []),
    ],
    ids=str,
)
def test_settings_other_than_the_default_are_in_the_recipe(changes, words):
    assert tables.recipe(replace(make().experiment, **changes)).split("at most 50 epochs")[1].split(", ")[1:] == words


@pytest.mark.parametrize(
    ("changes", "kept"),
    [
        ({}, "weights of epoch 2, the lowest val_loss"),
        ({"monitor": "val_accuracy"}, "weights of epoch 2, the best val_accuracy"),
        ({"keep": "last"}, "weights of the last epoch"),
    ],
    ids=str,
)
def test_which_weights_were_kept_is_said_as_it_was(changes, kept):
    record = make(experiment=replace(make().experiment, **changes))
    assert tables.kept_epoch(record) == kept
    assert kept in tables.record_text(record)
    assert tables.kept_epoch(replace(record, status="interrupted")) is None


def test_weights_tested_are_true_for_all_experiments_of_a_table():
    best, last = make().experiment, replace(make().experiment, keep="last")
    head = replace(last, name="report/head", init_from="report/one", head="svm")
    assert tables.weights_tested([best, best]) == "of the epoch with the lowest validation loss"
    assert tables.weights_tested([last, head]) == "of the last epoch"
    mixed = tables.weights_tested([best, last, replace(best, monitor="val_accuracy")])
    for rule in ("lowest validation loss", "best validation accuracy", "last epoch", "as the settings"):
        assert rule in mixed


def test_each_option_of_the_network_is_a_setting():
    plain = make().experiment
    dropped = replace(plain, model_options={"dropout": 0.3, "momentum": 0.9}, epochs=3)
    assert tables.settings(dropped)["dropout"] == 0.3
    assert tables.settings(dropped)["momentum"] == 0.0
    assert tables.changed_settings(dropped, plain) == {"epochs": 3, "dropout": 0.3, "model_options.momentum": 0.9}
    assert tables.changed_settings(plain, dropped) == {"epochs": 50, "dropout": None, "model_options.momentum": None}


def test_percentages_and_spreads():
    assert tables.percent(0.79294) == "79.29"
    assert tables.percent(None) == "-"
    (one,) = tables.summarise([make(0, 0.5)])
    (two,) = tables.summarise([make(0, 0.5), make(1, 0.7)])
    assert tables.mean_and_spread(one) == "50.00 (n=1)"
    assert tables.mean_and_spread(two) == "60.00 ± 14.14 (n=2)"


def test_published_and_measured_stand_side_by_side():
    text = tables.published_against_measured([make(0, 0.5), make(1, 0.7)])
    head, _, row = text.splitlines()
    assert "published test %" in head
    assert row.split()[:6] == ["one", "60.00", "60.00", "±", "14.14", "(n=2)"]
    assert "+0.00" in row


def test_a_diverged_run_has_no_difference_and_an_experiment_of_ones_own_no_published_number():
    diverged = make(status="diverged", test=None)
    row = tables.published_against_measured([diverged]).splitlines()[2]
    assert row.split()[:5] == ["one", "60.00", "diverged", "(1)", "-"]
    own = replace(make().experiment, published=None)
    assert tables.published_against_measured([make(experiment=own)]).splitlines()[2].split()[1] == "-"


def test_a_published_zero_is_a_number():
    zero = replace(make().experiment, published=Published(test_accuracy=0.0))
    row = tables.published_against_measured([make(experiment=zero)]).splitlines()[2]
    assert row.split()[1] == "0.00"
    assert "+50.00" in row


def test_classes_are_listed_as_the_report_lists_them():
    matrix = ((487, 513, 0), (0, 0, 0), (1, 0, 999))
    test = replace(make().test, confusion_matrix=matrix, examples=2000)
    assert tables.class_listing(make(test=test, class_names=("cat", "dog", "ship"))).splitlines() == [
        "Test Accuracy of cat: 48% (487/1000)",
        "Test Accuracy of dog: no image",
        "Test Accuracy of ship: 99% (999/1000)",
        "Test Accuracy (Overall): 74% (1486/2000)",
    ]


def test_a_record_as_text_shows_published_beside_measured():
    text = tables.record_text(make())
    assert text.startswith("report/one, seed 0: completed\nmodel4, adam 0.001")
    row = next(line for line in text.splitlines() if line.startswith("test "))
    assert row.split() == ["test", "4", "0.7000", "50.00", "60.00", "-"]
    failed = tables.record_text(make(status="failed", error="MemoryError: no", train=None, val=None, test=None))
    assert failed.endswith("MemoryError: no")


def test_seeds_that_diverged_are_named():
    lost = [make(seed, status="diverged", test=None) for seed in (2, 3)]
    (mixed,) = tables.summarise([make(0, 0.5), make(1, 0.7), lost[0]])
    assert tables.mean_and_spread(mixed) == "60.00 ± 14.14 (n=2, 1 diverged)"
    (none,) = tables.summarise(lost)
    assert tables.mean_and_spread(none) == "diverged (2)"
    (interrupted,) = tables.summarise([make(status="interrupted", test=None)])
    assert tables.mean_and_spread(interrupted) == "-"
