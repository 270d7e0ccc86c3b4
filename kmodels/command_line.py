"""tyro, which reads the flags of every command. Where it is not installed a command ends with one line that says so."""

from kmodels.packages import import_or_exit

tyro = import_or_exit("tyro")
