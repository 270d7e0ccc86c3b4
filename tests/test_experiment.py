"""Experiment: what it accepts, what it refuses and how it says so."""

import json
import pickle
from dataclasses import FrozenInstanceError, asdict, replace

import numpy as np
import pytest

from kmodels import Experiment, InputError, Published
from kmodels.experiment import OPTIMIZERS

BASE = Experiment(name="report/base", published=Published(test_accuracy=0.5))


def test_a_variant_differs_only_where_it_says():
    variant = replace(BASE, optimizer="sgd", momentum=0.9)
    assert (variant.optimizer, variant.momentum) == ("sgd", 0.9)
    assert replace(variant, optimizer="adam", momentum=0.0) == BASE


def test_it_cannot_be_changed_and_can_be_a_key():
    with pytest.raises(FrozenInstanceError):
        BASE.epochs = 3
    assert {BASE: 1}[replace(BASE)] == 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model": "model44"}, "unknown model 'model44'; did you mean model4"),
        ({"dataset": "cifar_10"}, "unknown dataset 'cifar_10'; did you mean cifar10"),
        ({"augmentation": "rotated"}, "unknown augmentation 'rotated'"),
        ({"optimizer": "adaam"}, "unknown optimizer 'adaam'; did you mean adam"),
        ({"data_loader": "steam"}, "unknown data_loader 'steam'; did you mean stream"),
        ({"learning_rat": 0.1}, "unknown field of Experiment 'learning_rat'; did you mean learning_rate"),
        ({"learning_rate": 0}, r"learning_rate must be a number above 0. Received: 0"),
        ({"learning_rate": float("nan")}, "learning_rate must be a number above 0"),
        ({"learning_rate": "0.1"}, "learning_rate must be float. Received: '0.1'"),
        ({"epochs": 1.5}, "epochs must be int. Received: 1.5"),
        ({"epochs": True}, "epochs must be int. Received: True"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"patience": 0}, "patience must be at least 1. Received: 0"),
        ({"plateau_patience": 10}, r"plateau_patience must be below patience \(10\)"),
        ({"plateau_factor": 1.0}, "plateau_factor must be above 0 and below 1"),
        ({"momentum": 0.9}, "momentum belongs to sgd and rmsprop, not to adam"),
        ({"dropout": 0.5}, r"dropout is an option of the network: model_options=\{'dropout': 0.5\}"),
        ({"feed": "arrays"}, "feed is called data_loader now"),
        ({"model_options": [1]}, "model_options must be a mapping from names to values"),
        ({"model_options": {"a b": 1}}, "model_options must have names of arguments as keys. Received: 'a b'"),
        ({"model_options": {"rate": object()}}, "model_options must be text, numbers, true, false"),
        ({"keep": "first"}, "unknown keep 'first'; known: best, last"),
        ({"monitor": "loss"}, "unknown monitor 'loss'; did you mean val_loss"),
        ({"schedule": "cosin"}, "unknown schedule 'cosin'; did you mean cosine"),
        ({"schedule": "cosine", "plateau_patience": 3}, "only one of schedule and plateau_patience"),
        ({"warmup_epochs": 2, "plateau_patience": 3}, "only one of warmup_epochs and plateau_patience"),
        ({"warmup_epochs": 50}, r"warmup_epochs must be below epochs \(50\)"),
        ({"model": "my models:net"}, "unknown model 'my models:net'"),
        ({"label_smoothing": -0.1}, "label_smoothing must be at least 0 and below 1"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"image_size": 4}, "image_size must be at least 8"),
        (
            {"class_fractions": (1, 1.2)},
            "class_fractions must be numbers from 0 to 1, one for each class, not all 0",
        ),
        ({"class_fractions": (0, 0)}, "class_fractions must be numbers from 0 to 1, one for each class, not all 0"),
        ({"class_fractions": "1 1"}, "class_fractions must be numbers or None. Received: '1 1'"),
        ({"class_fractions": (1, True)}, "class_fractions must be numbers or None"),
        ({"frozen": 1}, "frozen must be bool or None. Received: 1"),
        ({"frozen": True}, "frozen needs weights or init_from. Received: True"),
        ({"long_tail": 0.5}, "long_tail must be a ratio of at least 1. Received: 0.5"),
        ({"class_counts": (1, -1)}, "class_counts must be whole numbers of at least 0"),
        ({"class_counts": (1.5, 1)}, "class_counts must be whole numbers or None"),
        ({"class_counts": (5, 1), "long_tail": 2}, "only one of class_fractions, class_counts, long_tail can be given"),
        ({"sampler": "over"}, "unknown sampler 'over'; known: shuffle, oversample, sqrt"),
        ({"class_weight": "equal"}, "class_weight must be 'balanced' or numbers above 0, one for each class"),
        ({"class_weight": (0, 1)}, "class_weight must be 'balanced' or numbers above 0, one for each class"),
        ({"shots": (20, 100)}, "shots must be two whole numbers, the larger first"),
        ({"init_from": "lt100"}, "init_from must be None, the <report>/<name> of an experiment, or a .keras file"),
        ({"init_from": "report/base"}, "init_from must be another experiment. Received: 'report/base'"),
        (
            {"init_from": "a/b", "model_options": {"weights": "imagenet"}},
            "weights must be None where there is init_from",
        ),
        ({"head": "svn", "init_from": "a/b"}, "unknown head 'svn'; did you mean svm"),
        ({"head": "svm"}, "head 'svm' needs init_from"),
        ({"head": "crt", "kernel": "rbf", "init_from": "a/b"}, "kernel belongs to head svm. Received: 'rbf'"),
        ({"head": "crt", "data_loader": "stream", "init_from": "a/b"}, "data_loader must be 'arrays' where there"),
        ({"head": "svm", "frozen": True, "init_from": "a/b"}, "frozen must be left out where there is a head"),
        ({"head": "svm", "augmentation": "flip", "init_from": "a/b"}, "augmentation must be 'none' where there is a"),
        ({"head": "tau_norm", "sampler": "sqrt", "init_from": "a/b"}, "sampler must be 'shuffle' for head 'tau_norm'"),
        ({"head": "tau_norm", "class_weight": "balanced", "init_from": "a/b"}, "class_weight belongs to training and"),
        ({"name": "../escape"}, "name must be <report>/<name>"),
        ({"name": "/absolute"}, "name must be <report>/<name>"),
    ],
)
def test_what_is_wrong_is_named_with_what_is_allowed(change, message):
    with pytest.raises(InputError, match=message):
        replace(BASE, **change)


def test_the_fingerprint_follows_what_decides_the_outcome_and_nothing_else():
    assert replace(BASE, name="report/other", description="d", published=None).fingerprint == BASE.fingerprint
    different = [replace(BASE, optimizer=name).fingerprint for name in OPTIMIZERS if name != BASE.optimizer]
    assert len({BASE.fingerprint, *different}) == len(OPTIMIZERS)


def test_a_whole_number_is_the_same_rate_as_its_float():
    assert replace(BASE, learning_rate=1).fingerprint == replace(BASE, learning_rate=1.0).fingerprint


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"dataset": "digits"}, "'stream' reads the files of tfds; it needs a dataset from there"),
        ({"sampler": "oversample"}, "'stream' shows each image once; sampler must be shuffle"),
    ],
)
def test_what_the_stream_cannot_serve_is_refused_at_once(change, message):
    with pytest.raises(InputError, match=message):
        replace(BASE, data_loader="stream", **change)


def test_the_fingerprint_of_a_known_experiment_stays():
    # Records are found by it: if this fails, committed records lose their names.
    changed = replace(BASE, dataset="digits", model="conv_net", image_size=32, learning_rate=0.002)
    assert changed.fingerprint == "9a951c35"


def test_class_fractions_are_the_same_as_list_or_tuple_of_any_numbers():
    wanted = replace(BASE, class_fractions=(1.0, 0.5))
    assert replace(BASE, class_fractions=[1, 0.5]) == wanted
    assert replace(BASE, class_fractions=[1, 0.5]).fingerprint == wanted.fingerprint != BASE.fingerprint


def test_the_options_of_a_network_are_a_mapping_that_cannot_be_changed():
    given = {"hidden": [8, 8], "dropout": np.float32(0.5), "batch_norm": False, "depth": None}
    experiment = replace(BASE, model_options=given)
    assert experiment.model_options == {"hidden": (8, 8), "dropout": 0.5, "batch_norm": False}
    assert pickle.loads(pickle.dumps(experiment)) == experiment
    assert hash(experiment) == hash(replace(BASE, model_options=dict(experiment.model_options)))
    with pytest.raises(TypeError, match="cannot be changed"):
        experiment.model_options["dropout"] = 0.1
    assert json.loads(json.dumps(asdict(experiment)))["model_options"]["hidden"] == [8, 8]


def test_scalars_of_numpy_are_numbers():
    rates = np.logspace(-3, -1, 3)
    assert replace(BASE, learning_rate=rates[0]) == replace(BASE, learning_rate=float(rates[0]))
    assert type(replace(BASE, epochs=np.int64(3)).epochs) is int
    fractions = replace(BASE, class_fractions=np.array([0.5, 1]))
    assert fractions.class_fractions == (0.5, 1.0)


# Fingerprints of experiments of the version before there were model_options.
FORMER = (
    ({"model": "two_layer_net", "hidden": (128, 64)}, "a55146da"),
    ({"model": "alexnet", "dropout": 0.0, "batch_norm": False}, "8dce6f4f"),
    ({"model": "densenet121", "factorised": True, "noise_std": 0.005}, "d253e1a5"),
    ({"feed": "stream"}, "c9091b24"),
)


@pytest.mark.parametrize(("fields", "fingerprint"), FORMER)
def test_an_experiment_of_an_older_record_keeps_its_fingerprint(fields, fingerprint):
    former = {**dict.fromkeys(("hidden", "dropout", "weights", "small_stem")), **fields}
    experiment = Experiment.from_record({"name": "report/base", "learning_rate": 0.001, **former})
    assert experiment.fingerprint == fingerprint
    # And reads back from a record of today.
    assert Experiment.from_record(asdict(experiment)) == experiment


def test_a_record_can_name_what_no_registry_holds_today():
    values = {**asdict(BASE), "model": "gone", "dataset": "gone", "augmentation": "gone", "optimizer": "gone"}
    assert Experiment.from_record(values).model == "gone"
    with pytest.raises(InputError, match=r"known to this version of kmodels. Received: \['later'\]"):
        Experiment.from_record({**values, "later": 1})
    with pytest.raises(InputError, match=r"epochs must be int\. Received: 'ten'"):
        Experiment.from_record({**values, "epochs": "ten"})


def test_a_plateau_is_written_in_two_ways_that_are_equal():
    assert replace(BASE, schedule="plateau") == replace(BASE, plateau_patience=5)
    assert replace(BASE, schedule="plateau", plateau_patience=3) == replace(BASE, plateau_patience=3)
    assert len({replace(BASE, schedule=name).fingerprint for name in (None, "plateau", "cosine", "linear")}) == 4


def test_a_function_of_ones_own_is_named_wherever_a_name_is_taken():
    own = replace(BASE, model="nets:tiny", optimizer="keras.optimizers:Lion", dataset="data.mine:load", momentum=0.9)
    assert own.references == {"dataset": "data.mine:load", "model": "nets:tiny", "optimizer": "keras.optimizers:Lion"}
    assert replace(BASE, dataset="tfds:beans").references == {}
    assert replace(BASE, head="heads:mine", init_from="a/b").is_fitted


def test_how_classes_are_grouped_decides_nothing():
    assert replace(BASE, shots=(1000, 200)).fingerprint == BASE.fingerprint


@pytest.mark.parametrize(
    ("change", "imbalance"),
    [
        ({}, None),
        ({"long_tail": 10}, ("long_tail", 10.0)),
        ({"class_counts": [3, 1]}, ("class_counts", (3, 1))),
        ({"class_fractions": (0.5, 1)}, ("class_fractions", (0.5, 1.0))),
    ],
)
def test_what_thins_out_the_classes_is_one_thing(change, imbalance):
    assert replace(BASE, **change).imbalance == imbalance


def test_a_head_that_is_fitted_in_one_go_is_the_same_whatever_training_would_do():
    svm = replace(BASE, init_from="a/b", head="svm")
    assert svm.fingerprint == replace(svm, epochs=7, optimizer="sgd", batch_size=3, kernel="linear").fingerprint
    assert svm.fingerprint != replace(svm, kernel="rbf").fingerprint
    crt = replace(BASE, init_from="a/b", head="crt")
    assert crt.fingerprint != replace(crt, epochs=7).fingerprint
