"""tyro, which reads the flags of every command. Where it is not installed a command ends with one line that says so."""

import inspect
import re

from kmodels.packages import import_or_exit

tyro = import_or_exit("tyro")


def shown_as(metavar):
    """The annotation of an argument whose help text itself says what it is and what its default does.

    Args:
        metavar: what stands for its value in the help text, instead of tyro's {None}|PATH or [[STR [STR ...]]].
    """
    return tyro.conf.arg(metavar=metavar, help_behavior_hint="")


def with_flowing_help(command):
    """A command whose help text has the text of each argument on one line: of functions, tyro keeps the line ends.

    Args:
        command: a function or a class.

    Returns:
        The command.
    """
    if inspect.isfunction(command):
        command.__doc__ = re.sub(r"\n {8,}(?=\S)", " ", inspect.getdoc(command))
    return command
