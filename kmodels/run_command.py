"""`kmodels run REPORT[/NAME]`: the experiments of the reports, wherever kmodels is installed."""

import importlib.util
import sys
from importlib import import_module
from pathlib import Path

from kmodels.errors import InputError
from kmodels.script import arguments_class, run_arguments

# The folder experiments/ of a checkout, as an installed wheel has it.
PACKAGE = "kmodels.experiments"


class _Run:
    """Run the experiments of the reports, or try, list, judge and draw them.

    Names are reports (cifar10_small_cnns) or experiments (cifar10_small_cnns/m1, or m1 where only one report has one),
    as --list shows them. What --out has a record of is shown and not run again.
    """

    def run(self):
        """Does what the command is asked for; returns the exit status."""
        modules = reports()
        return run_arguments(
            self,
            [experiment for module in modules for experiment in module.EXPERIMENTS],
            figures=[figure for module in modules for figure in module.FIGURES],
            claims=[claim for module in modules for claim in module.CLAIMS],
        )


RunCommand = arguments_class(_Run)
RunCommand.__doc__ = _Run.__doc__


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
