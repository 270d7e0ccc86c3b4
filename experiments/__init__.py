"""The reports and the quickstart, one file each: declarations of experiments, no machinery."""

from importlib import import_module

REPORTS = (
    "quickstart",
    "intel_scenes",
    "cifar100_to_stl10",
    "cifar10_alexnet",
    "cifar10_small_cnns",
    "eurosat_long_tail",
    "cifar10_long_tail",
)


def reports():
    """The modules of the reports: each has EXPERIMENTS, FIGURES and CLAIMS."""
    # Installed, this package is kmodels.experiments.
    return [import_module(f"{__name__}.{report}") for report in REPORTS]
