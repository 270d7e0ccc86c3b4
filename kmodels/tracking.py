"""Runs shown in TensorBoard or MLflow while they train (`track`). Neither the outcome nor the record depends on it.

    kmodels.run(experiment, track="tensorboard")    # tensorboard --logdir results/tracking/tensorboard
    kmodels.run(experiment, track="mlflow")         # mlflow ui --backend-store-uri sqlite:///results/tracking/mlflow.db

Both have the metrics of each epoch, counted from 1, the settings of the experiment, and test accuracy at the end. A
resumed run shows each epoch once: in MLflow it continues its earlier run, in TensorBoard its event files are written
again, from the history in the checkpoint. A run that is repeated is a new run in MLflow, and takes the place of the
earlier one in TensorBoard.

MLflow writes to MLFLOW_TRACKING_URI, into the experiment MLFLOW_EXPERIMENT_NAME (else the name of the report); without
the first, into a SQLite file under `out`, for recent versions refuse plain folders.

A store that cannot be written ends a run before its first epoch. If that happens later, tracking ends and training
continues.
"""

import importlib.util
import os
import shlex
import time
from urllib.parse import quote

import keras

from kmodels.errors import InputError, describe_error, unknown
from kmodels.experiment import deciding_fields
from kmodels.locks import FileLock

# Under the results folder.
FOLDER = "tracking"
# Kind -> the packages that it needs; without MLFLOW_TRACKING_URI, MLflow needs LOCAL_STORE too.
PACKAGES = {"tensorboard": ("tensorboard",), "mlflow": ("mlflow",)}
LOCAL_STORE = ("sqlalchemy", "alembic")
# What MLflow calls the statuses of records; all others are FAILED.
MLFLOW_STATUS = {"completed": "FINISHED", "interrupted": "KILLED"}


def check_tracking(track):
    """Raises InputError if a run cannot be tracked so: an unknown kind, or a package is missing.

    Args:
        track: "tensorboard", "mlflow" or None.
    """
    if track is None:
        return
    if track not in PACKAGES:
        raise unknown("kind of tracking", track, PACKAGES)
    needed = PACKAGES[track]
    if track == "mlflow" and not os.environ.get("MLFLOW_TRACKING_URI"):
        needed += LOCAL_STORE
    if missing := [package for package in needed if not importlib.util.find_spec(package)]:
        raise InputError(f'tracking with {track} needs {", ".join(missing)}: pip install "kmodels[track]"')


def make_tracker(track, job):
    """The Tracker of one run; None without tracking.

    Args:
        track: "tensorboard", "mlflow" or None.
        job: the Job.
    """
    return {"tensorboard": TensorBoard, "mlflow": MLflow}[track](job) if track else None


def how_to_look(track, out):
    """The command that shows what was tracked.

    Args:
        track: "tensorboard" or "mlflow".
        out: the results folder.
    """
    if track == "tensorboard":
        return shlex.join(["tensorboard", "--logdir", str(out / FOLDER / "tensorboard")])
    store = os.environ.get("MLFLOW_TRACKING_URI") or _own_store(out)
    return shlex.join(["mlflow", "ui", "--backend-store-uri", store])


class Tracker(keras.callbacks.Callback):
    """Shows one run elsewhere. A subclass says how to open a run, write epochs to it, and close it.

    Args:
        job: the Job.

    Example:
        job.tracker = MLflow(job)
        network.fit(..., callbacks=[keras.callbacks.History(), job.tracker])
        job.tracker.end(record)
    """

    # Does nothing between batches.
    async_safe = True

    def __init__(self, job):
        super().__init__()
        self.job = job
        # The epochs that are shown; None before the run is opened, and once it is closed.
        self._epochs, self._ended = None, False

    def on_epoch_begin(self, epoch, logs=None):
        if self._epochs is None and not self._ended:
            self._begin(resumed=epoch > 0)

    def on_epoch_end(self, epoch, logs=None):
        self._tried(self._write_new_epochs)

    def on_train_end(self, logs=None):
        # A run that was killed after its last epoch has nothing left to train.
        if self._epochs is None and not self._ended:
            self._begin(resumed=True)
        self._tried(self._write_new_epochs)

    def end(self, record, path):
        """Writes what came out, and closes the run.

        Args:
            record: the Record.
            path: where it lies.
        """
        self._tried(self._finish, record, path)

    def abandon(self, error):
        """Closes a run that has no record.

        Args:
            error: what ended it.
        """
        if self._epochs is not None:
            interrupted = isinstance(error, KeyboardInterrupt | SystemExit)
            self._tried(self._close, "interrupted" if interrupted else "failed")
            self._ended = True

    def _begin(self, resumed):
        try:
            self._epochs = self._open(resumed)
        except Exception as error:
            raise InputError(f"this run cannot be tracked: {_first_line(error)}") from error

    def _write_new_epochs(self):
        history = self.model.history.history
        for epoch in range(self._epochs, min(map(len, history.values()), default=0)):
            self._write({name: values[epoch] for name, values in history.items()}, epoch + 1)
            self._epochs = epoch + 1

    def _finish(self, record, path):
        if self._epochs is None:
            # A head has no epochs.
            self._epochs = self._open(resumed=False)
        if self.model:
            # An interrupt may have come between the history and this.
            self._write_new_epochs()
        self._close(record.status, _final(record), path)
        self._ended = True

    def _tried(self, do, *arguments):
        if self._ended:
            return
        try:
            do(*arguments)
        except Exception as error:
            self._ended = True
            print(f"tracking ends here, the run continues without it: {_first_line(error)}", flush=True)

    def _open(self, resumed):
        """Opens the run; returns how many epochs it shows already."""
        raise NotImplementedError

    def _write(self, metrics, epoch):
        """Writes {name: value} of an epoch, from 1."""
        raise NotImplementedError

    def _close(self, status, metrics=(), path=None):
        """Closes the run.

        Args:
            status: as of a Record.
            metrics: {name: value} of what came out.
            path: of the record; None without one.
        """
        raise NotImplementedError


class TensorBoard(Tracker):
    """Event files in `<out>/tracking/tensorboard/<stem of the record>`, named and arranged as Keras' callback does.

    Keras' own would wait for the device after every step on JAX, and needs TensorFlow.
    """

    def _open(self, resumed):
        from tensorboard.compat.proto.event_pb2 import SessionLog
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb
        from tensorboard.summary.writer.event_file_writer import EventFileWriter

        folder = self.job.out / FOLDER / "tensorboard" / self.job.stem
        for old in folder.rglob("events.out.tfevents.*"):
            old.unlink()
        self._writers = {part: EventFileWriter(str(folder / part)) for part in ("", "train", "validation")}
        settings = {
            name: value if isinstance(value, bool | int | float | str) else str(value)
            for name, value in _settings(self.job).items()
        }
        for part in self._writers:
            # A TensorBoard that is open then forgets what it has read of an earlier attempt.
            self._add(part, 0, session_log=SessionLog(status=SessionLog.START))
        self._add("", 0, summary=hparams_pb(settings))
        return 0

    def _write(self, metrics, epoch):
        for name, value in metrics.items():
            part = "validation" if name.startswith("val_") else "train"
            self._scalar(part, f"epoch_{name.removeprefix('val_')}", value, epoch)
        for writer in self._writers.values():
            writer.flush()

    def _close(self, status, metrics=(), path=None):
        for name, value in dict(metrics).items():
            self._scalar("", name, value, self._epochs)
        for writer in self._writers.values():
            writer.close()

    def _scalar(self, part, name, value, step):
        from tensorboard.plugins.scalar.summary_v2 import scalar_pb

        self._add(part, step, summary=scalar_pb(name, value))

    def _add(self, part, step, **content):
        from tensorboard.compat.proto.event_pb2 import Event

        self._writers[part].add_event(Event(wall_time=time.time(), step=step, **content))


class MLflow(Tracker):
    """A run named as the experiment, with its settings, metrics, record and status."""

    def _open(self, resumed):
        # Before MLflow is imported: a server that does not answer would be asked for four minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        import logging

        # Sixty lines about the tables of a new file.
        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)
        from mlflow import MlflowClient
        from mlflow.entities import Param, RunTag

        job, uri = self.job, os.environ.get("MLFLOW_TRACKING_URI")
        folder = job.out.resolve() / FOLDER
        folder.mkdir(exist_ok=True)
        # Of several processes, one makes the tables.
        with FileLock(folder / "mlflow.lock"):
            self._client = client = MlflowClient(uri or _own_store(job.out))
            name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or job.experiment.report
            known = client.get_experiment_by_name(name)
            artifacts = None if uri else (folder / "mlflow").as_uri()
            experiment = known.experiment_id if known else client.create_experiment(name, artifacts)
        tag = str(job.path(".json").resolve())
        if resumed and (earlier := self._earlier(experiment, tag)):
            self._id = earlier.info.run_id
            client.update_run(self._id, "RUNNING")
            return max((metric.step for metric in client.get_metric_history(self._id, "loss")), default=0)
        self._id = client.create_run(experiment, run_name=job.experiment.name).info.run_id
        params = [Param(name, str(value)[:500]) for name, value in _settings(job).items()]
        client.log_batch(self._id, params=params, tags=[RunTag("kmodels.record", tag)])
        return 0

    def _earlier(self, experiment, tag):
        """The newest run of the same record, unless it is finished; None without."""
        runs = self._client.search_runs([experiment], order_by=["start_time DESC"])
        same = [run for run in runs if run.data.tags.get("kmodels.record") == tag]
        return same[0] if same and same[0].info.status != "FINISHED" else None

    def _write(self, metrics, epoch):
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self._client.log_batch(self._id, [Metric(name, value, now, epoch) for name, value in metrics.items()])

    def _close(self, status, metrics=(), path=None):
        self._write(dict(metrics), self._epochs)
        if path:
            # Under another name than its own, by which it would be taken for a record of the results folder.
            self._client.log_text(self._id, path.read_text(), "record.json")
        self._client.set_tag(self._id, "kmodels.status", status)
        self._client.set_terminated(self._id, MLFLOW_STATUS.get(status, "FAILED"))


def _own_store(out):
    # SQLAlchemy reads %20 in a URL as a space, and ends the path at a question mark.
    return f"sqlite:///{quote(str((out / FOLDER / 'mlflow.db').resolve()))}"


def _settings(job):
    """{name: value} of what decides the run, and what it runs on."""
    settings = {item.name: getattr(job.experiment, item.name) for item in deciding_fields()}
    machine = {name: job.environment[name] for name in ("backend", "device", "precision")}
    return {**settings, "seed": job.seed, **machine}


def _final(record):
    """{name: number} of what came out of a run; the validation accuracy is that of the weights that were kept."""
    metrics = dict(record.chosen)
    if record.test:
        metrics |= {"test_accuracy": record.test.accuracy, "test_loss": record.test.loss}
        metrics["kept_val_accuracy"] = record.val.accuracy
    metrics["best_epoch"] = record.best_epoch
    return {name: float(value) for name, value in metrics.items() if value is not None}


def _first_line(error):
    return (describe_error(error).splitlines() or [""])[0]
