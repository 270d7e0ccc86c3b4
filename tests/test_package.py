"""The package as a whole: what importing it costs, and that its public names are there."""

import os
import subprocess
import sys

import pytest
from conftest import python

import kmodels

HEAVY = {"keras", "tensorflow", "torch", "sklearn", "matplotlib", "jax"}


def test_import_and_an_experiment_import_nothing_heavy():
    code = (
        "import sys, kmodels; kmodels.Experiment(name='a/b'); kmodels.load_dataset; "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    assert python(code).stdout.strip() == "[]"


def test_jax_is_the_backend_unless_another_is_asked_for():
    environment = {name: value for name, value in os.environ.items() if name != "KERAS_BACKEND"}
    code = "import os, kmodels; print(os.environ['KERAS_BACKEND'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == "jax"
    assert python(code, KERAS_BACKEND="torch").stdout.strip() == "torch"


def test_every_public_name_is_there():
    for name in kmodels.__all__:
        assert getattr(kmodels, name) is not None
    for name in ("grad_cam", "confusion_matrix", "per_class_accuracy", "predict_logits"):
        assert callable(getattr(kmodels.analysis, name))


def test_an_unknown_attribute_is_an_attribute_error():
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = kmodels.nonsense


@pytest.mark.parametrize(
    ("name", "message"),
    [("nonsense", "unknown KERAS_BACKEND 'nonsense'"), ("tensorflw", "did you mean tensorflow")],
)
def test_a_wrong_backend_is_one_clear_line(name, message):
    done = python("import sys; sys.argv=['kmodels', 'models']; import kmodels.cli as c; c.main()", KERAS_BACKEND=name)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
