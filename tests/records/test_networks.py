"""Networks of runs that have layers of the user's own."""

import importlib
import sys
from dataclasses import replace

import keras
import pytest
from conftest import make_record

from kmodels import Experiment, InputError
from kmodels.models.saving import save_network, weights_checksum
from kmodels.records import write_record
from kmodels.records.networks import load_network_of_run

OWN_MODULE = """
import keras

@keras.saving.register_keras_serializable("own_halves")
class Half(keras.layers.Layer):
    def call(self, x):
        return x / 2

def network(input_shape, num_classes):
    return keras.Sequential([keras.Input((4,)), Half(), keras.layers.Dense(num_classes)])
"""


@pytest.fixture
def own_run(tmp_path, monkeypatch):
    """The network file of a run of the user's own function, whose module is not imported yet."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "own_halves.py").write_text(OWN_MODULE)
    record = make_record(experiment=Experiment(name="tests/own", model="own_halves:network"))
    path = save_network(importlib.import_module("own_halves").network((4,), 2), tmp_path / f"{record.stem}.keras")
    write_record(replace(record, network_sha256=weights_checksum(path)), tmp_path)
    del keras.saving.get_custom_objects()["own_halves>Half"], sys.modules["own_halves"]
    yield path
    keras.saving.get_custom_objects().pop("own_halves>Half", None)
    sys.modules.pop("own_halves", None)


def test_the_module_of_a_run_is_imported_to_load_its_network(own_run):
    assert load_network_of_run(own_run).output_shape == (None, 2)


def test_only_a_record_of_this_network_has_a_module_imported(own_run):
    record = own_run.with_suffix(".json")
    record.write_text(record.read_text().replace(weights_checksum(own_run), "ab" * 32))
    assert refusal(own_run).endswith("and import it before")
    record.write_text("{}")
    assert "it needs own_halves>Half, from the module own_halves" in refusal(own_run)
    record.unlink()
    assert "it needs own_halves>Half, from the module own_halves" in refusal(own_run)
    assert "own_halves" not in sys.modules


def test_a_module_of_a_run_that_is_not_here_is_named(own_run, tmp_path):
    (tmp_path / "own_halves.py").unlink()
    assert "cannot import own_halves" in refusal(own_run)


def refusal(path):
    with pytest.raises(InputError, match="cannot load the network") as refused:
        load_network_of_run(path)
    return str(refused.value)
