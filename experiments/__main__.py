"""Runs the experiments of several reports, or all of them, with one command.

    python -m experiments --list
    python -m experiments cifar10_small_cnns --seeds 0 1 2
    python -m experiments --plan --hours 8 --data-dir DIR    # what is not recorded, the most telling runs first

Names are reports (`cifar10_small_cnns`) or experiments (`cifar10_small_cnns/m1`, or `m1` where only one report has an
m1); the options are those of every experiment file.
"""

from experiments import reports
from kmodels.script import main

if __name__ == "__main__":
    main(
        [experiment for report in reports() for experiment in report.EXPERIMENTS],
        __doc__,
        figures=[figure for report in reports() for figure in report.FIGURES],
        claims=[claim for report in reports() for claim in report.CLAIMS],
    )
