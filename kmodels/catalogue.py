"""The experiments of the reports: found wherever kmodels is, chosen by name, put in order, made small."""

import importlib.util
import sys
from dataclasses import replace
from importlib import import_module
from itertools import cycle, islice
from pathlib import Path

from kmodels.errors import InputError, unknown
from kmodels.models import is_application

# The folder experiments/ of a checkout, as an installed wheel has it.
PACKAGE = "kmodels.experiments"


def reports():
    """The modules of the reports, in their order.

    Raises:
        InputError: if kmodels was copied without them.
    """
    # In a checkout, the folder beside kmodels/: it may be used without being installed.
    root = Path(__file__).parents[1]
    if PACKAGE not in sys.modules and (root / "pyproject.toml").is_file():
        folder = root / "experiments"
        spec = importlib.util.spec_from_file_location(
            PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        sys.modules[PACKAGE] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(sys.modules[PACKAGE])
    try:
        return import_module(PACKAGE).reports()
    except ModuleNotFoundError as error:
        if error.name != PACKAGE:
            raise
        raise InputError("kmodels was copied here without its experiments: install it, pip install kmodels") from error


def select(experiments, names):
    """The experiments that are named by report, by report/name or by name alone, in the order given; none: all."""
    if not names:
        return list(experiments)
    chosen = []
    for name in names:
        report = [item for item in experiments if item.name.startswith(f"{name}/")]
        exact = [item for item in experiments if name in (item.name, item.short_name)]
        if not report and not exact:
            parts = zip(*(item.name.split("/", 1) for item in experiments), strict=True)
            raise unknown("experiment", name, dict.fromkeys(name for names in parts for name in names))
        if not report and len(exact) > 1:
            raise InputError(f"{name!r} is in several reports; choose {' or '.join(item.name for item in exact)}")
        chosen += report or exact
    return list(dict.fromkeys(chosen))


def parents_first(experiments):
    """The experiments in the order given, but each after the one that it starts from, if that is among them."""
    waiting = {experiment.name: experiment for experiment in experiments}
    ordered = []

    def take(experiment):
        if experiment.init_from in waiting:
            take(waiting.pop(experiment.init_from))
        ordered.append(experiment)

    while waiting:
        take(waiting.pop(next(iter(waiting))))
    return ordered


def tiny(experiment, folder):
    """The experiment on 40 small synthetic images in ten classes; weights to start from are written into the folder."""
    changes = {
        "dataset": "synthetic",
        "data_loader": "arrays",
        "subset": None,
        "epochs": 1,
        "warmup_epochs": 0,
        "batch_size": 8,
    }
    if experiment.image_size is not None:
        # Some networks of keras.applications take no smaller ones than 75 pixels.
        changes["image_size"] = min(experiment.image_size, 75 if is_application(experiment.model) else 64)
    size = changes.get("image_size") or 32
    for name in ("class_fractions", "class_counts", "class_weight"):
        if isinstance(getattr(experiment, name), tuple):
            changes[name] = tuple(islice(cycle(getattr(experiment, name)), 10))
    if experiment.long_tail is not None:
        # Of the four images of a class, one is left of the last.
        changes["long_tail"] = min(experiment.long_tail, 4)
    if "weights" in experiment.model_options:
        weights = _other_network(experiment, size, 2, folder)
        changes["model_options"] = {**experiment.model_options, "weights": weights}
    if experiment.init_from is not None:
        # A head needs a network for these images and classes; what else starts from one may have other layers.
        same = experiment.head or is_application(experiment.model)
        changes["init_from"] = _other_network(experiment, *((size, 10) if same else (32, 100)), folder)
    return replace(experiment, description="", **changes)


def _other_network(experiment, size, classes, folder):
    """The path of a network with random weights to start from."""
    from kmodels.models import build_model
    from kmodels.models.saving import save_network

    options = {name: value for name, value in experiment.model_options.items() if name != "weights"}
    network = build_model(experiment.model, (size, size, 3), classes, **options)
    return str(save_network(network, Path(folder) / "weights.keras"))
