"""Numbers, settings and the weights that were tested, in words."""

from dataclasses import replace

import pytest
from conftest import make_record

from kmodels.records.descriptions import (
    changed_settings,
    choice,
    kept_epoch,
    mean_and_spread,
    percent,
    recipe,
    settings,
    weights_tested,
)
from kmodels.records.summaries import summarise
from kmodels.report.tables import record_text


def test_the_settings_stand_beside_every_result():
    sgd = replace(make_record().experiment, optimizer="sgd", momentum=0.9, augmentation="crop", batch_size=512)
    assert recipe(sgd) == "model4, crop, sgd 0.001, momentum 0.9, batch 512, at most 50 epochs"
    options = {"dropout": 0.0, "batch_norm": True}
    thin = replace(make_record().experiment, model="alexnet", model_options=options, class_fractions=(1, 0.02))
    assert recipe(thin).startswith("alexnet, dropout 0.0, batch norm True, class fractions 1 0.02, adam 0.001")


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
    assert recipe(replace(make_record().experiment, **changes)).split("at most 50 epochs")[1].split(", ")[1:] == words


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
    record = make_record(experiment=replace(make_record().experiment, **changes))
    assert kept_epoch(record) == kept
    assert kept in record_text(record)
    assert kept_epoch(replace(record, status="interrupted")) is None


def test_a_head_says_what_it_chose_and_whether_its_solver_converged():
    assert choice(make_record()) == ""
    assert choice(make_record(head={"C": 10.0, "converged": True})) == "C 10"
    assert choice(make_record(head={"C": 10.0, "converged": False})) == "C 10, the solver did not converge"


def test_weights_tested_are_true_for_all_experiments_of_a_table():
    best, last = make_record().experiment, replace(make_record().experiment, keep="last")
    head = replace(last, name="report/head", init_from="report/one", head="svm")
    assert weights_tested([best, best]) == "of the epoch with the lowest validation loss"
    assert weights_tested([last, head]) == "of the last epoch"
    mixed = weights_tested([best, last, replace(best, monitor="val_accuracy")])
    for rule in ("lowest validation loss", "best validation accuracy", "last epoch", "as the settings"):
        assert rule in mixed


def test_each_option_of_the_network_is_a_setting():
    plain = make_record().experiment
    dropped = replace(plain, model_options={"dropout": 0.3, "momentum": 0.9}, epochs=3)
    assert settings(dropped)["dropout"] == 0.3
    assert settings(dropped)["momentum"] == 0.0
    assert changed_settings(dropped, plain) == {"epochs": 3, "dropout": 0.3, "model_options.momentum": 0.9}
    assert changed_settings(plain, dropped) == {"epochs": 50, "dropout": None, "model_options.momentum": None}


def test_percentages_and_spreads():
    assert percent(0.79294) == "79.29"
    assert percent(None) == "-"
    (one,) = summarise([make_record(0, 0.5)])
    (two,) = summarise([make_record(0, 0.5), make_record(1, 0.7)])
    assert mean_and_spread(one) == "50.00 (n=1)"
    assert mean_and_spread(two) == "60.00 ± 14.14 (n=2)"


def test_seeds_that_diverged_are_named():
    lost = [make_record(seed, status="diverged", test=None) for seed in (2, 3)]
    (mixed,) = summarise([make_record(0, 0.5), make_record(1, 0.7), lost[0]])
    assert mean_and_spread(mixed) == "60.00 ± 14.14 (n=2, 1 diverged)"
    (none,) = summarise(lost)
    assert mean_and_spread(none) == "diverged (2)"
    (interrupted,) = summarise([make_record(status="interrupted", test=None)])
    assert mean_and_spread(interrupted) == "-"
