"""Which network a folder of runs stands for."""

from dataclasses import replace

import pytest
from conftest import make_record

from kmodels import Experiment, InputError
from kmodels.best_run import best_run, network_file
from kmodels.records import write_record


def write_run(out, accuracy, network=True, **changes):
    """The path of a record, whose test accuracy says nothing of its val accuracy; with a network beside it."""
    val = replace(make_record().val, accuracy=accuracy)
    path = write_record(make_record(accuracy=1 - accuracy, **{"val": val, **changes}), out)
    if network:
        path.with_suffix(".keras").touch()
    return path


def test_the_best_run_of_a_folder_is_chosen_on_val_and_has_its_network(tmp_path, capsys):
    worse = write_run(tmp_path, 0.5, seed=0)
    old = write_run(tmp_path, 0.7, seed=1)
    new = write_run(tmp_path, 0.7, seed=2, started="2026-01-02T00:00:00+00:00")
    write_run(tmp_path, 0.9, seed=3, network=False)
    write_run(tmp_path, 0.9, seed=4, status="diverged")
    other = write_run(tmp_path, 0.95, seed=5, class_names=("a", "c"), experiment=Experiment(name="report/two"))
    assert best_run(tmp_path) == new
    (line,) = capsys.readouterr().err.splitlines()
    network = new.with_suffix(".keras")
    decided = "of 2 with this validation accuracy and loss the newest"
    words = f"using {network}: validation accuracy 70.00 %, the best of 3 ({decided})"
    assert line == f"{words}; 1 on other images left out"
    assert network_file(str(tmp_path / "report" / "one")) == network
    assert best_run(other.parent) == other
    new.with_suffix(".keras").unlink()
    assert best_run(worse.parent) == old
    assert network_file(old.with_suffix(".keras")) == old.with_suffix(".keras")
    with pytest.raises(InputError, match="or a folder of runs such as runs/photos"):
        network_file("none.keras")


@pytest.mark.parametrize(
    ("losses", "first", "decided"),
    [
        ((0.3, 0.4, None), 0, "of 3 with this validation accuracy the one with the smallest validation loss"),
        ((0.3, 0.3, 0.4), 1, "of 2 with this validation accuracy and loss the newest"),
        ((None, None, None), 2, "of 3 with this validation accuracy the newest"),
    ],
)
def test_of_equal_accuracies_the_smallest_loss_decides_then_the_newer(losses, first, decided, tmp_path, capsys):
    val = replace(make_record().val, accuracy=0.7)
    paths = [
        write_run(tmp_path, 0.7, seed=seed, val=replace(val, loss=loss), started=f"2026-01-0{seed + 1}T00:00:00+00:00")
        for seed, loss in enumerate(losses)
    ]
    assert best_run(tmp_path) == paths[first]
    assert f"the best of 3 ({decided})" in capsys.readouterr().err


def test_a_better_accuracy_needs_no_other_reason(tmp_path, capsys):
    best = write_run(tmp_path, 0.8, seed=0, val=replace(make_record().val, accuracy=0.8, loss=9.0))
    write_run(tmp_path, 0.7, seed=1)
    assert best_run(tmp_path) == best
    assert capsys.readouterr().err.endswith("validation accuracy 80.00 %, the best of 2\n")


def on_images(digest, train):
    return {"source": {**make_record().source, "sha256": digest * 32, "counts": {"train": train, "val": 4}}}


def test_runs_on_other_images_than_the_newest_are_left_out(tmp_path, capsys):
    write_run(tmp_path, 1.0, **on_images("cd", 48))
    larger = write_run(tmp_path, 0.8, **on_images("ef", 96), image_shape=(16, 16, 3))
    newest = write_run(tmp_path, 0.7, **on_images("ab", 96), started="2026-01-02T00:00:00+00:00")
    fewer = {"examples": 2, "per_class_accuracy": (1.0, None), "confusion_matrix": ((2, 0), (0, 0))}
    val = replace(make_record().val, accuracy=1.0, **fewer)
    other_split = write_record(make_record(**on_images("ab", 96), val=val, seed=1), tmp_path)
    other_split.with_suffix(".keras").touch()
    assert best_run(tmp_path) == larger
    assert "80.00 %, the best of 2; 2 on other images left out" in capsys.readouterr().err
    larger.unlink()
    assert best_run(tmp_path) == newest


def test_a_folder_without_a_network_is_told_what_is_missing(tmp_path):
    with pytest.raises(InputError, match="must have runs in it"):
        best_run(tmp_path)
    write_run(tmp_path, 0.5, status="interrupted")
    with pytest.raises(InputError, match=r"must have a completed run\. Received: 1 interrupted"):
        best_run(tmp_path)
    path = write_run(tmp_path, 0.5, network=False)
    with pytest.raises(InputError, match=f"Missing: {path.stem}.keras"):
        best_run(tmp_path)
