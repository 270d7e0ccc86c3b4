"""Runs that start from the network of another run."""

import hashlib
import sys
from dataclasses import replace

import numpy as np
import pytest

from kmodels import InputError, run, script
from kmodels.models.saving import load_network
from kmodels.training.parents import parent_network


@pytest.fixture
def parent(tiny):
    return replace(tiny, name="tests/parent", epochs=1, augmentation="none")


@pytest.fixture
def child(parent):
    """Larger images: the first dense layer does not fit."""
    return replace(parent, name="tests/child", init_from=parent.name, image_size=24)


def weights(out, record, name):
    return load_network(out / f"{record.stem}.keras").get_layer(name).get_weights()[0]


def test_what_fits_is_taken_over_and_the_record_says_what(parent, child, tmp_path, capsys):
    first = run(parent, 0, tmp_path, verbose=0)
    record = run(child, 0, tmp_path, verbose=2)
    file = tmp_path / f"{first.stem}.keras"
    assert record.started_from["network"] == file.name
    assert record.started_from["taken"] == ("conv1", "conv2", "conv3", "dense2", "logits")
    assert record.started_from["drawn"] == ("dense1",)
    assert record.weights_sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    assert f"from {file}: conv1, conv2, conv3, dense2, logits; drawn anew: dense1\n" in capsys.readouterr().out
    again = run(child, 0, tmp_path, verbose=0)
    assert again.history["loss"] == record.history["loss"]
    assert again.history["loss"] != run(replace(child, init_from=None), 0, tmp_path, verbose=0).history["loss"]


def test_frozen_is_what_was_taken_over_but_for_the_classifier(parent, child, tmp_path):
    first = run(parent, 0, tmp_path, verbose=0)
    frozen = run(replace(child, frozen=True), 0, tmp_path, verbose=0)
    for name in ("conv1", "conv3", "dense2"):
        np.testing.assert_array_equal(weights(tmp_path, frozen, name), weights(tmp_path, first, name))
    assert not np.array_equal(weights(tmp_path, frozen, "logits"), weights(tmp_path, first, "logits"))
    # And let loose again: a third run that starts from the second.
    thawed = run(replace(child, name="tests/thawed", init_from="tests/child"), 0, tmp_path, verbose=0)
    assert thawed.started_from["drawn"] == ()
    assert not np.array_equal(weights(tmp_path, thawed, "conv1"), weights(tmp_path, first, "conv1"))


def test_the_newest_network_of_the_seed_is_taken(parent, tmp_path):
    with pytest.raises(
        InputError,
        match=r"no network of 'tests/parent' with seed 1 under .*: python experiments/tests.py parent --seeds 1",
    ):
        parent_network(parent.name, 1, tmp_path)
    first = run(parent, 0, tmp_path, verbose=0)
    assert parent_network(parent.name, 0, tmp_path) == tmp_path / f"{first.stem}.keras"
    (tmp_path / f"{first.stem}.keras").rename(tmp_path / "mine.keras")
    with pytest.raises(InputError, match="there is no network of 'tests/parent' with seed 0"):
        parent_network(parent.name, 0, tmp_path)
    assert parent_network(str(tmp_path / "mine.keras"), 0, tmp_path) == tmp_path / "mine.keras"
    with pytest.raises(InputError, match="init_from must be an experiment's name or a file that exists"):
        parent_network("none.keras", 0, tmp_path)


def test_a_command_runs_parents_first_and_says_what_makes_a_missing_one(parent, child, tmp_path, capsys):
    grandchild = replace(child, name="tests/grandchild", init_from=child.name)
    family = [grandchild, child, parent]
    assert script._parents_first(family) == [parent, child, grandchild]
    assert script._parents_first([grandchild, parent]) == [grandchild, parent]

    def command(*arguments):
        sys.argv = ["script.py", *arguments, "--out", str(tmp_path)]
        with pytest.raises(SystemExit) as ended:
            script.main(family, "About.")
        return ended.value.code

    assert command("child") == 2
    assert f"python experiments/tests.py parent --seeds 0 --out {tmp_path}" in capsys.readouterr().err
    assert command("child", "parent", "--split", "runs") == 2
    assert "--split runs cannot do tests/parent and tests/child" in capsys.readouterr().err
    assert command("child", "parent") == 0
    assert command("grandchild") == 0
