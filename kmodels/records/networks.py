"""The network beside a record, with the user's own layers in it."""

from pathlib import Path

from kmodels.components import load_component
from kmodels.errors import InputError
from kmodels.models.saving import load_network, missing_object, weights_checksum
from kmodels.records import read_record


def load_network_of_run(path):
    """Reads a .keras file, as `load_network` does, which a run may have written.

    Of a network that the run built with a function "module:function", that module is imported for it, as `kmodels run`
    does, which registers what is in it. The record beside the file says which it is, never the file itself: that may
    come from anywhere, and must not choose what is run here.

    Args:
        path: of the file.

    Returns:
        A keras.Model.

    Raises:
        InputError: as `load_network`; says also why the module cannot be imported.
    """
    path = Path(path)
    not_imported = _import_module(path) if path.is_file() and path.suffix == ".keras" and missing_object(path) else None
    try:
        return load_network(path)
    except InputError as error:
        if not_imported:
            raise InputError(f"{error}; {not_imported}") from error
        raise


def _import_module(path):
    """Imports the module that the record beside a file names; returns why it cannot be, or None."""
    try:
        record = read_record(path.with_suffix(".json"))
    except InputError:
        return None
    function = record.experiment.references.get("model", "__main__:")
    # What was in a notebook or script can be imported from nowhere.
    if function.startswith("__main__:") or record.network_sha256 not in (None, weights_checksum(path)):
        return None
    try:
        load_component("model", function)
    except InputError as error:
        return str(error)
