"""`kmodels run REPORT[/NAME]`: the experiments of the reports, wherever kmodels is installed."""

from kmodels.catalogue import reports
from kmodels.errors import InputError
from kmodels.script import arguments_class, run_arguments

# What may be asked for of all experiments.
WITHOUT_NAMES = ("list", "smoke", "claims", "figures", "plan", "pending", "hours")


class _Run:
    """Run the experiments of the reports, or try, list, judge and draw them.

    Names are reports (cifar10_small_cnns) or experiments (cifar10_small_cnns/m1, or m1 where only one report has one),
    as --list shows them; without a name nothing is trained, except by --plan --hours. What --out has a record of is
    shown and not run again.
    """

    def run(self):
        """Does what the command is asked for; returns the exit status."""
        if not (self.names or any(getattr(self, flag) for flag in WITHOUT_NAMES)):
            raise InputError(
                "give reports or experiments, as `kmodels run --list` shows them: all of them take days. "
                "`kmodels run --plan --hours 8` does the most informative runs first"
            )
        modules = reports()
        return run_arguments(
            self,
            [experiment for module in modules for experiment in module.EXPERIMENTS],
            figures=[figure for module in modules for figure in module.FIGURES],
            claims=[claim for module in modules for claim in module.CLAIMS],
        )


RunCommand = arguments_class(_Run)
RunCommand.__doc__ = _Run.__doc__
