"""The notebook of a report: what it is about, its experiments, a cell that runs them, and what came out."""

import inspect
import json

from kmodels.report.tables import experiment_list

INSTALL = """import glob
import importlib.util
import os
import subprocess
import sys

from packaging.version import Version

# Kaggle's own Keras, JAX and TensorFlow stay as they are. Without a network, from the newest of the attached wheels.
wheels = glob.glob(f"{os.environ.get('KAGGLE_INPUT', '/kaggle/input')}/**/kmodels-*.whl", recursive=True)
wheels.sort(key=lambda path: Version(os.path.basename(path).split("-")[1]))
if wheels or importlib.util.find_spec("kmodels") is None:
    source = ["--no-index", wheels[-1]] if wheels else [ADDRESS]
    options = ["-q", "--no-deps", "--force-reinstall"]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *source], check=True)
    importlib.invalidate_caches()"""

RUN = """import os

# Before Keras is imported.
os.environ["KERAS_BACKEND"] = {backend!r}

from kmodels.kernel import run_kernel

records = run_kernel({arguments})
records"""

CURVES = '''from kmodels import plots

curves = [record for record in records if record.history]
plots.training_curves(curves) if curves else "heads alone: there are no curves"'''

CONFUSION = '''tested = [record for record in records if record.test]
best = max(tested, key=lambda record: record.test.accuracy, default=None)
plots.confusion_matrix(best.test.confusion_matrix, best.class_names) if best else "no run is completed yet"'''


def notebook(title, about, experiments, arguments, backend="jax", address="kmodels"):
    """A notebook (nbformat 4) as a dict that JSON can hold.

    Args:
        title: of the first cell.
        about: text under the title.
        experiments: Experiments, for the list with their published numbers.
        arguments: {name: value} of `run_kernel`.
        backend: KERAS_BACKEND there.
        address: what pip installs where no wheel is attached: a name, a file or git+https://...
    """
    names, *others = arguments.items()
    call = ", ".join([repr(names[1]), *(f"{name}={value!r}" for name, value in others)])
    cells = [
        ("markdown", f"# {title}\n\n{about}"),
        ("markdown", f"```\n{experiment_list(experiments)}\n```"),
        ("code", INSTALL.replace("ADDRESS", repr(address))),
        ("code", RUN.format(backend=backend, arguments=call)),
        ("code", CURVES),
        ("code", CONFUSION),
    ]
    return {
        "cells": [_cell(number, kind, source) for number, (kind, source) in enumerate(cells)],
        "metadata": {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        },
        "nbformat": 4,
        "nbformat_minor": 5,
    }


def text(content):
    """A notebook as it is written to a file."""
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def script(content):
    """The cells of a notebook as a Python script: what a cell ends in is printed."""
    parts = []
    for cell in content["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "markdown":
            parts.append("\n".join(f"# {line}".rstrip() for line in source.splitlines()))
        elif source not in (CURVES, CONFUSION):
            parts.append(source)
    return "\n\n".join(parts).replace("\nrecords\n", "\n") + '\nprint(*records, sep="\\n")\n'


def about(module):
    """The docstring of a report's module."""
    return inspect.getdoc(module) or ""


def _cell(number, kind, source):
    cell = {"id": f"cell-{number}", "cell_type": kind, "metadata": {}, "source": source.splitlines(keepends=True)}
    return cell | ({"execution_count": None, "outputs": []} if kind == "code" else {})
