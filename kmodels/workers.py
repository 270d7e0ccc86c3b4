"""The runs of a sweep, spread over processes by joblib, each with a GPU of its own where there are GPUs.

`joblib.parallel_config` decides where: by default in processes of this machine (loky), or on a Dask or Ray cluster. A
process that dies costs its run; the others continue. On a CPU, the processes share the cores.

Nothing here imports Keras before the environment of a worker is set.
"""

import contextlib
import functools
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

from kmodels import cell_output, components
from kmodels.errors import InputError, describe_error, require, require_whole

# A worker that is interrupted writes the record of its finished epochs. Python may lose an interrupt (in a callback of
# the garbage collector, for example), so it is sent more than once.
SECONDS_TO_STOP, INTERRUPTS = 20, 3


def run_in_workers(runs, out, workers, *, again=False, data_dir=None, skip_unreadable=False, verbose=None, **options):
    """Does runs in several processes at a time.

    Args:
        runs: pairs (experiment, seed).
        out, again, data_dir, skip_unreadable, verbose, **options: as in `run`.
        workers: how many processes; at most one for each GPU, where there are GPUs.

    Yields:
        The Outcome of each run when it has ended, in the order in which they end.

    Raises:
        InputError: for more workers than there are GPUs, where there are any.
        KeyboardInterrupt: on Ctrl-C, after all workers have stopped.
    """
    import joblib
    import keras

    from kmodels.backend import deterministic
    from kmodels.interrupts import Interrupts
    from kmodels.training.job import Outcome

    require_whole("devices", workers, 1)
    gpus = visible_gpus()
    require(not gpus or workers <= len(gpus), f"devices must be at most {len(gpus)}, the number of GPUs", workers)
    waiting = dict(enumerate(runs))
    with (
        tempfile.TemporaryDirectory(prefix="kmodels-workers-") as folder,
        # Before joblib learns of it, which kills its processes at once.
        Interrupts(first=lambda: _interrupt(folder)),
    ):
        common = {
            "folder": folder,
            "process": os.getpid(),
            "gpus": gpus,
            "path": sys.path,
            "backend": keras.backend.backend(),
            "deterministic": deterministic(),
            "functions": _functions_of_main(runs),
            "silent": verbose == 0,
            "kernel": cell_output.in_kernel(),
            "job": (out, data_dir, skip_unreadable),
            "again": again,
            "options": {"verbose": verbose, **options},
        }
        while waiting:
            parallel = joblib.Parallel(n_jobs=min(workers, len(waiting)), return_as="generator_unordered")
            tasks = [joblib.delayed(_work)(number, *run, common) for number, run in waiting.items()]
            try:
                for number, record, error, recorded in parallel(tasks):
                    experiment, seed = waiting.pop(number)
                    yield Outcome(experiment=experiment, seed=seed, record=record, error=error, recorded=recorded)
            except BrokenProcessPool as error:
                # Its run is lost, and joblib gives up all others: those that had not begun are begun again.
                for number in _begun(folder) & set(waiting):
                    experiment, seed = waiting.pop(number)
                    lost = RuntimeError(
                        f"its process ended before its record was written: {str(error).splitlines()[0]}"
                    )
                    yield Outcome(experiment=experiment, seed=seed, error=lost)
            except BaseException:
                _interrupt(folder)
                raise


def visible_gpus():
    """The names by which CUDA_VISIBLE_DEVICES may call the GPUs; no library is asked, which would take their memory."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True
    )
    return listed.stdout.split() if listed.returncode == 0 else []


def _functions_of_main(runs):
    """{"__main__:NAME": function} of what the experiments name in the user's script or notebook."""
    names = {text for experiment, _ in runs for text in experiment.references.values() if text.startswith("__main__:")}
    return {name: components.load_component("function", name) for name in names}


def _work(number, experiment, seed, common):
    """Does one run in a worker; returns its number, its record or what it failed on, and whether it was recorded."""
    state = Path(common["folder"]) / f"{number}.run"
    state.write_text(str(os.getpid()))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.getppid() == common["process"]:
        _end_with(common["process"])
    os.environ["KERAS_BACKEND"] = common["backend"]
    sys.path += [folder for folder in common["path"] if folder not in sys.path]
    components.RECEIVED.update(common["functions"])
    cell_output.in_worker_of_kernel = common["kernel"]
    _IDLE.clear()
    try:
        with _prefixed_output(f"[{experiment.name} seed {seed}] ", common["silent"]):
            result = _run_one(experiment, seed, common)
    finally:
        _IDLE.set()
        state.unlink(missing_ok=True)
    return number, *result


# Whether this worker has no run to do.
_IDLE = threading.Event()


@functools.cache
def _end_with(parent):
    """Ends this process once its parent has died, after it has recorded its finished epochs."""

    def watch():
        while os.getppid() == parent:
            time.sleep(1)
        for _ in range(INTERRUPTS):
            if not _IDLE.is_set():
                os.kill(os.getpid(), signal.SIGINT)
                _IDLE.wait(SECONDS_TO_STOP)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _run_one(experiment, seed, common):
    try:
        _take_gpu(common)
        if common["deterministic"]:
            from kmodels.backend import deterministic, make_deterministic

            if not deterministic():
                make_deterministic()
        from kmodels.training.job import Job
        from kmodels.training.run import execute

        job = Job(experiment, seed, *common["job"])
        if not common["again"] and (record := job.recorded()):
            print("is recorded already")
            return record, None, True
        print("begins")
        return execute(job, **common["options"]), None, False
    except InputError as error:
        print(f"failed: {error}")
        return None, error, False
    except (KeyboardInterrupt, SystemExit) as interrupt:
        print(f"interrupted: {interrupt}")
        return None, RuntimeError(f"interrupted: {interrupt}"), False
    except Exception as error:
        print(f"failed: {describe_error(error)}")
        # Not every exception can be pickled.
        return None, RuntimeError(describe_error(error)), False


def _take_gpu(common):
    """Makes one GPU, which no other worker has, the only one that this process sees, until it ends."""
    if not common["gpus"] or "KMODELS_WORKER_GPU" in os.environ:
        return
    from kmodels.locks import FileLock, Timeout

    for name in common["gpus"]:
        # Workers are reused from one sweep of a process to the next, and keep their GPU.
        lock = FileLock(Path(tempfile.gettempdir()) / f"kmodels-{common['process']}-gpu-{name.replace('/', '_')}.lock")
        try:
            lock.acquire(blocking=False)
        except Timeout:
            continue
        # The lock lives as long as the process.
        _LOCKS.append(lock)
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["KMODELS_WORKER_GPU"] = name
        if not any(variable.startswith("XLA_PYTHON_CLIENT_") for variable in os.environ):
            # The process that sweeps, a notebook for example, may hold memory of all of them.
            os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
        return
    raise RuntimeError("no GPU is free for this worker")


_LOCKS = []


class _Prefixed(io.TextIOBase):
    """Writes lines to a stream, each in one piece and with a prefix, so that those of two workers do not mix."""

    def __init__(self, stream, prefix):
        self._stream, self._prefix, self._line = stream, prefix, ""

    def write(self, text):
        first, *more = text.split("\n")
        *lines, self._line = [cell_output.overwritten(self._line, first), *more]
        for line in filter(str.strip, lines):
            self._stream.write(f"{self._prefix}{line}\n")
            self._stream.flush()
        return len(text)


@contextlib.contextmanager
def _prefixed_output(prefix, silent):
    stream = io.StringIO() if silent else _Prefixed(sys.stdout, prefix)
    with contextlib.redirect_stdout(stream):
        yield


def _begun(folder):
    """The numbers of the runs that have begun and not ended."""
    return {int(path.stem) for path in Path(folder).glob("*.run")}


def _interrupt(folder):
    """Sends the workers Ctrl-C, and waits until they have written their records."""
    for _ in range(INTERRUPTS):
        for path in Path(folder).glob("*.run"):
            with contextlib.suppress(ProcessLookupError, ValueError, FileNotFoundError):
                os.kill(int(path.read_text()), signal.SIGINT)
        deadline = time.monotonic() + SECONDS_TO_STOP
        while time.monotonic() < deadline:
            if not _begun(folder):
                return
            time.sleep(0.05)
