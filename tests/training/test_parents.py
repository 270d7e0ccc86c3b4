"""Runs that start from the network of another run."""

import functools
import time
from dataclasses import replace

import numpy as np
import pytest
from conftest import run_script

from kmodels import InputError, catalogue, run
from kmodels.models.saving import load_network, weights_checksum
from kmodels.training.parents import parent_network
from kmodels.training.sweeps import sweep


@pytest.fixture
def parent(tiny):
    return replace(tiny, name="tests/parent", epochs=1, augmentation="none")


@pytest.fixture
def child(parent):
    """Larger images: the first dense layer does not fit."""
    return replace(parent, name="tests/child", init_from=parent.name, image_size=24)


def weights(out, record, name):
    return load_network(out / f"{record.stem}.keras").get_layer(name).get_weights()[0]


def test_what_fits_is_transferred_and_the_record_says_what(parent, child, tmp_path, capsys):
    first = run(parent, 0, tmp_path, verbose=0)
    record = run(child, 0, tmp_path, verbose=2)
    file = tmp_path / f"{first.stem}.keras"
    assert record.started_from["network"] == file.name
    assert record.started_from["taken"] == ("dense2", "logits")
    assert record.started_from["drawn"] == ("dense1",)
    assert record.weights_sha256 == weights_checksum(file)
    printed = f"weights of {file}: dense2, logits; initialised: dense1\n"
    assert printed in capsys.readouterr().out
    again = run(child, 0, tmp_path, verbose=0, again=True)
    assert again.history["loss"] == record.history["loss"]
    assert again.history["loss"] != run(replace(child, init_from=None), 0, tmp_path, verbose=0).history["loss"]


def test_what_starts_from_a_run_that_failed_fails_though_an_older_network_is_there(parent, child, tmp_path, capsys):
    run(parent, 0, tmp_path, verbose=0)
    failing = replace(parent, batch_size=41)
    grandchild = replace(child, name="tests/grandchild", init_from=child.name)
    other = replace(parent, name="tests/other")
    outcomes = list(sweep([failing, child, grandchild, other], (0,), tmp_path, verbose=2))
    assert [outcome.record is not None for outcome in outcomes] == [False, False, False, True]
    assert str(outcomes[1].error) == "not run: tests/parent, from whose network it starts, did not complete"
    assert str(outcomes[2].error).startswith("not run: tests/child")
    assert "[2/4] tests/child, seed 0 failed: not run" in capsys.readouterr().out


def test_frozen_is_what_was_transferred_except_for_the_classifier(parent, child, tmp_path):
    first = run(parent, 0, tmp_path, verbose=0)
    frozen = run(replace(child, frozen=True), 0, tmp_path, verbose=0)
    np.testing.assert_array_equal(weights(tmp_path, frozen, "dense2"), weights(tmp_path, first, "dense2"))
    assert not np.array_equal(weights(tmp_path, frozen, "logits"), weights(tmp_path, first, "logits"))
    # And let loose again: a third run that starts from the second.
    thawed = run(replace(child, name="tests/thawed", init_from="tests/child"), 0, tmp_path, verbose=0)
    assert thawed.started_from["drawn"] == ()
    assert not np.array_equal(weights(tmp_path, thawed, "dense2"), weights(tmp_path, first, "dense2"))


def test_a_name_stands_for_one_network_of_the_seed_or_it_is_said_which_there_are(parent, child, tmp_path):
    with pytest.raises(
        InputError,
        match=r"no network of 'tests/parent' with seed 1 under .*: kmodels run tests/parent --seeds 1",
    ):
        parent_network(child, 1, tmp_path)
    first = run(parent, 0, tmp_path, verbose=0)
    file = tmp_path / f"{first.stem}.keras"
    assert parent_network(child, 0, tmp_path) == file
    other = run(replace(parent, learning_rate=0.01), 0, tmp_path, verbose=0)
    with pytest.raises(
        InputError, match="'tests/parent' with seed 0 was run in several ways; give one of them"
    ) as said:
        parent_network(child, 0, tmp_path)
    assert f"{other.stem}.keras" in str(said.value)
    assert parent_network(replace(child, init_from=str(file)), 0, tmp_path) == file
    (tmp_path / f"{other.stem}.keras").unlink()
    file.rename(tmp_path / "mine.keras")
    with pytest.raises(InputError, match=r"only its record; this makes it: .* --again"):
        parent_network(child, 0, tmp_path)
    with pytest.raises(InputError, match="init_from must be an experiment's name or a file that exists"):
        parent_network(replace(child, init_from="none.keras"), 0, tmp_path)


def test_a_head_takes_only_a_network_that_saw_the_same_images(parent, tmp_path):
    head = replace(parent, name="tests/head", init_from=parent.name, head="nearest_mean")
    run(parent, 0, tmp_path, verbose=0)
    assert run(head, 0, tmp_path, verbose=0).status == "completed"
    # Another network of that name, which saw others, is no rival; not in the early look either.
    run(replace(parent, class_counts=10 * (3,)), 0, tmp_path, verbose=0)
    assert parent_network(head, 0, tmp_path) in tmp_path.glob("tests/parent/*.keras")
    assert run(head, 0, tmp_path, verbose=0).status == "completed"
    for change in ({"class_counts": 10 * (2,)}, {"image_size": 24}):
        with pytest.raises(InputError, match=r"no network of 'tests/parent' .* that was trained on these images"):
            run(replace(head, **change), 0, tmp_path, verbose=0)
    with pytest.raises(InputError, match="'tests/head' is a head without a network of its own"):
        run(replace(head, name="tests/other", init_from=head.name), 0, tmp_path, verbose=0)


def test_in_a_sweep_the_network_of_this_very_parent_is_taken(parent, child, tmp_path):
    first = run(parent, 0, tmp_path, verbose=0)
    run(replace(parent, learning_rate=0.01), 0, tmp_path, verbose=0)
    outcomes = list(sweep([parent, child], (0,), tmp_path, verbose=0))
    assert outcomes[0].recorded
    assert outcomes[1].record.started_from["network"] == f"{first.stem.rpartition('/')[2]}.keras"


def test_a_parent_that_was_run_again_to_the_same_end_is_the_same(parent, child, tmp_path):
    run(parent, 0, tmp_path, verbose=0)
    before = run(child, 0, tmp_path, verbose=0)
    time.sleep(1.1)
    run(parent, 0, tmp_path, verbose=0, again=True)
    assert run(child, 0, tmp_path, verbose=0).stem == before.stem


def test_a_command_runs_parents_first_and_says_what_makes_a_missing_one(parent, child, tmp_path, capsys):
    grandchild = replace(child, name="tests/grandchild", init_from=child.name)
    family = [grandchild, child, parent]
    assert catalogue.parents_first(family) == [parent, child, grandchild]
    assert catalogue.parents_first([grandchild, parent]) == [grandchild, parent]

    command = functools.partial(run_script, "--out", tmp_path, experiments=family)
    assert command("child") == 2
    assert f"kmodels run tests/parent --seeds 0 --out {tmp_path}" in capsys.readouterr().err
    assert command("child", "parent", "--split", "runs") == 2
    error = capsys.readouterr().err
    assert "--split runs cannot do tests/parent and tests/child" in error
    assert "leave --split out, or do tests/parent alone first" in error
    assert command("child", "parent") == 0
    assert command("grandchild") == 0
