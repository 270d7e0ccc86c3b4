"""Runs are shown in TensorBoard and MLflow as their records have them, and are not changed by it."""

import importlib.util
import shlex
import shutil
from dataclasses import replace
from pathlib import Path

import keras
import pytest

import kmodels
from kmodels import InputError, script
from kmodels.tracking import how_to_look

pytestmark = pytest.mark.filterwarnings(
    # MLflow 3 with SQLAlchemy 2.1.
    "ignore:The ``noload`` loader strategy:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def own_store(monkeypatch):
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")


@pytest.fixture(scope="session")
def store_with_tables(tmp_path_factory):
    """A store of MLflow without runs: making its tables takes seconds."""
    pytest.importorskip("mlflow")
    pytest.importorskip("sqlalchemy")
    pytest.importorskip("alembic")
    from mlflow import MlflowClient

    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    MlflowClient(f"sqlite:///{file}").search_experiments()
    return file.read_bytes()


@pytest.fixture
def out(tmp_path, store_with_tables):
    """A results folder that has an MLflow store."""
    (tmp_path / "tracking").mkdir()
    (tmp_path / "tracking" / "mlflow.db").write_bytes(store_with_tables)
    return tmp_path


@pytest.fixture
def client(out):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{out}/tracking/mlflow.db")


def runs_of(client, name="tests"):
    """The runs of an MLflow experiment, the oldest first."""
    experiment = client.get_experiment_by_name(name)
    return client.search_runs([experiment.experiment_id], order_by=["start_time"])


def steps_of(client, run, name="val_loss"):
    return {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, name)}


def scalars(folder):
    """{tag: [(step, value)]} of the event files in a folder."""
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader
    from tensorboard.util import tensor_util

    found = {}
    for file in folder.glob("events.out.tfevents.*"):
        for event in EventFileLoader(str(file)).Load():
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name == "scalars":
                    number = float(tensor_util.make_ndarray(value.tensor))
                    found.setdefault(value.tag, []).append((event.step, number))
    return found


class Kill(keras.callbacks.Callback):
    """Ends a training as a fault or the user would."""

    def __init__(self, epoch, error):
        super().__init__()
        self.epoch, self.error = epoch, error

    def on_epoch_end(self, epoch, logs=None):
        if epoch + 1 == self.epoch:
            raise self.error


def test_tensorboard_has_every_epoch_and_what_came_out(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    record = kmodels.run(tiny, out=tmp_path, verbose=0, track="tensorboard", callbacks=None)
    folder = tmp_path / "tracking" / "tensorboard" / record.stem
    train, validation, outcome = scalars(folder / "train"), scalars(folder / "validation"), scalars(folder)
    assert {"epoch_loss", "epoch_accuracy", "epoch_learning_rate"} <= set(train)
    assert validation["epoch_loss"] == [
        (epoch, pytest.approx(loss, rel=1e-6)) for epoch, loss in enumerate(record.history["val_loss"], 1)
    ]
    assert outcome["test_accuracy"] == [(2, pytest.approx(record.test.accuracy))]
    settings = b"".join(file.read_bytes() for file in folder.glob("events.*"))
    assert b"batch_size" in settings
    assert b"rotate_flip" in settings


def test_mlflow_has_settings_epochs_outcome_and_the_record(tiny, out, client):
    record = kmodels.run(tiny, 3, out, verbose=0, track="mlflow")
    (run,) = runs_of(client)
    assert run.info.run_name == tiny.name
    assert run.info.status == "FINISHED"
    assert run.data.params["batch_size"] == "16"
    assert run.data.params["seed"] == "3"
    assert run.data.params["backend"] == record.backend
    assert run.data.params["device"] == record.device
    assert steps_of(client, run) == {1: record.history["val_loss"][0], 2: record.history["val_loss"][1]}
    assert run.data.metrics["test_accuracy"] == record.test.accuracy
    kept = Path(client.download_artifacts(run.info.run_id, "record.json"))
    assert kept.read_text() == (out / f"{record.stem}.json").read_text()
    # Not for a record of the folder a second time.
    assert len(kmodels.read_records(out)) == 1


def test_mlflow_finds_its_store_in_a_folder_whose_name_is_no_url(tiny, out):
    from mlflow import MlflowClient

    odd = out / "a%20b c?#"
    shutil.copytree(out / "tracking", odd / "tracking")
    record = kmodels.run(tiny, 0, odd, verbose=0, track="mlflow")
    store = how_to_look("mlflow", odd).split()[-1]
    (run,) = runs_of(MlflowClient(store))
    assert run.data.metrics["test_accuracy"] == record.test.accuracy
    assert Path(MlflowClient(store).download_artifacts(run.info.run_id, "record.json")).is_file()


def test_a_tracked_run_is_the_run_without(tiny, out, outcome, same_weights):
    folders = {"mlflow": out, "tensorboard": out / "b", None: out / "c"}
    records = {track: kmodels.run(tiny, 0, folder, verbose=0, track=track) for track, folder in folders.items()}
    for track in ("mlflow", "tensorboard"):
        assert outcome(records[track]) == outcome(records[None])
        assert same_weights(records[track], folders[track], records[None], folders[None])


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("no memory")])
def test_a_resumed_run_continues_in_mlflow_and_shows_each_epoch_once(tiny, out, client, error, outcome, capsys):
    longer, ending = replace(tiny, epochs=4), "KILLED" if isinstance(error, KeyboardInterrupt) else "FAILED"
    with pytest.raises(type(error)):
        kmodels.run(longer, 0, out, verbose=0, track="mlflow", callbacks=[Kill(3, error)])
    (run,) = runs_of(client)
    assert run.info.status == ending
    record = kmodels.run(longer, 0, out, verbose=0, track="mlflow", resume=True)
    assert "afresh" not in capsys.readouterr().out
    (run,) = runs_of(client)
    assert run.info.status == "FINISHED"
    losses = client.get_metric_history(run.info.run_id, "val_loss")
    assert [(metric.step, metric.value) for metric in losses] == list(enumerate(record.history["val_loss"], 1))
    assert outcome(record) == outcome(kmodels.run(longer, 0, out / "whole", verbose=0))
    # A repeat is another run.
    kmodels.run(longer, 0, out, verbose=0, track="mlflow", again=True)
    assert len(runs_of(client)) == 2


def test_a_resumed_run_shows_in_tensorboard_also_what_was_trained_before_it_was_tracked(tiny, tmp_path):
    pytest.importorskip("tensorboard")
    longer = replace(tiny, epochs=4)
    for track in (None, "tensorboard"):
        with pytest.raises(KeyboardInterrupt):
            kmodels.run(
                longer, 0, tmp_path, verbose=0, track=track, resume=True, callbacks=[Kill(3, KeyboardInterrupt())]
            )
    record = kmodels.run(longer, 0, tmp_path, verbose=0, track="tensorboard", resume=True)
    found = scalars(tmp_path / "tracking" / "tensorboard" / record.stem / "validation")["epoch_loss"]
    assert found == [(epoch, pytest.approx(loss, rel=1e-6)) for epoch, loss in enumerate(record.history["val_loss"], 1)]


def test_a_diverged_run_is_a_failed_one(tiny, out, client, nan_loss):
    assert kmodels.run(tiny, 0, out, verbose=0, track="mlflow").status == "diverged"
    (run,) = runs_of(client)
    assert (run.info.status, run.data.tags["kmodels.status"]) == ("FAILED", "diverged")


def test_a_head_has_settings_and_what_came_out(tiny, out, client):
    pytest.importorskip("tensorboard")
    network = kmodels.run(tiny, 0, out, verbose=0)
    head = replace(
        tiny, name="tests/head", head="logistic", augmentation="none", init_from=str(out / f"{network.stem}.keras")
    )
    record = kmodels.run(head, 0, out, verbose=0, track="mlflow")
    (run,) = runs_of(client)
    assert (run.info.status, run.data.params["head"]) == ("FINISHED", "logistic")
    assert {"test_accuracy", "kept_val_accuracy", "C"} <= set(run.data.metrics)
    kmodels.run(head, 0, out, verbose=0, track="tensorboard", again=True)
    shown = scalars(out / "tracking" / "tensorboard" / record.stem)
    assert shown["test_accuracy"] == [(0, pytest.approx(record.test.accuracy))]


def test_each_seed_is_a_run_also_in_one_program_and_in_processes(tiny, out, client, backend):
    one = replace(tiny, epochs=1)
    kmodels.run_seeds(one, [0, 1], out, verbose=0, track="mlflow", together=True if backend == "jax" else None)
    assert [run.data.params["seed"] for run in runs_of(client)] == ["0", "1"]
    kmodels.run_seeds(one, [2, 3], out, verbose=0, track="mlflow", devices=2, split="runs")
    assert sorted(run.data.params["seed"] for run in runs_of(client)) == ["0", "1", "2", "3"]
    assert {run.info.status for run in runs_of(client)} == {"FINISHED"}
    assert all(len(steps_of(client, run)) == 1 for run in runs_of(client))


def test_what_is_missing_is_said_before_anything_is_trained(tiny, tmp_path, monkeypatch):
    find = importlib.util.find_spec
    for package, track in (("tensorboard", "tensorboard"), ("mlflow", "mlflow"), ("alembic", "mlflow")):
        with monkeypatch.context() as patch:
            patch.setattr(
                "importlib.util.find_spec", lambda name, without=package: find(name) if name != without else None
            )
            with pytest.raises(InputError, match=rf'needs {package}.*pip install "kmodels\[track\]"'):
                kmodels.run(tiny, 0, tmp_path, verbose=0, track=track)
    with pytest.raises(InputError, match="unknown kind of tracking 'wandb'"):
        kmodels.run_seeds(tiny, [0], tmp_path, verbose=0, track="wandb")
    assert not list(tmp_path.iterdir())


def test_a_store_that_cannot_be_written_ends_a_run_at_its_beginning_and_only_then(tiny, out, monkeypatch, capsys):
    from kmodels.tracking import MLflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{out}/tracking/mlflow.db/below_a_file.db")
    with pytest.raises(InputError, match="cannot be tracked"):
        kmodels.run(tiny, 0, out, verbose=0, track="mlflow")
    assert not list(out.glob("tests/tiny/*.json"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI")

    def fail(self, metrics, epoch):
        raise OSError("no space left")

    monkeypatch.setattr(MLflow, "_write", fail)
    assert kmodels.run(tiny, 0, out, verbose=0, track="mlflow").status == "completed"
    assert capsys.readouterr().out.count("continues without it: OSError: no space left") == 1


@pytest.mark.parametrize("track", ["tensorboard", "mlflow"])
def test_the_command_that_shows_what_was_tracked_can_be_pasted_into_a_shell(track):
    *_, where = shlex.split(how_to_look(track, Path("my runs")))
    assert where.endswith(
        {"tensorboard": "my runs/tracking/tensorboard", "mlflow": "my%20runs/tracking/mlflow.db"}[track]
    )


def test_the_flag_of_an_experiment_file_says_where_to_look(tiny, tmp_path, monkeypatch, capsys):
    pytest.importorskip("tensorboard")
    monkeypatch.setattr("sys.argv", ["tiny.py", "tiny", "--track", "tensorboard", "--out", str(tmp_path)])
    with pytest.raises(SystemExit) as end:
        script.main([tiny], "About.")
    assert end.value.code == 0
    folder = tmp_path / "tracking" / "tensorboard"
    assert f"tensorboard --logdir {folder}" in capsys.readouterr().out
    assert len(list(folder.rglob("events.out.tfevents.*"))) == 3
