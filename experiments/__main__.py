"""Runs the experiments of several reports, or all of them, with one command.

    python -m experiments --list
    python -m experiments cifar10_small_cnns --seeds 0 1 2

Names are reports (`cifar10_small_cnns`) or experiments (`cifar10_small_cnns/m1`, or `m1` where only one report has an
m1); the options are those of every experiment file.
"""

from experiments import (
    cifar10_alexnet,
    cifar10_long_tail,
    cifar10_small_cnns,
    cifar100_to_stl10,
    eurosat_long_tail,
    intel_scenes,
)
from kmodels.script import main

REPORTS = (
    intel_scenes,
    cifar100_to_stl10,
    cifar10_alexnet,
    cifar10_small_cnns,
    eurosat_long_tail,
    cifar10_long_tail,
)

if __name__ == "__main__":
    main(
        [experiment for report in REPORTS for experiment in report.EXPERIMENTS],
        __doc__,
        figures=[figure for report in REPORTS for figure in report.FIGURES],
        claims=[claim for report in REPORTS for claim in report.CLAIMS],
    )
