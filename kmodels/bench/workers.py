"""The processes of contenders: the parent asks, one at a time works."""

import contextlib
import multiprocessing
import os
import tempfile
import threading
import traceback
from importlib import import_module


class WorkerError(Exception):
    """What went wrong in a worker, as one line."""


class Worker:
    """The process of one contender; use it in a `with` statement.

    Args:
        contender: a Contender.
        environment: variables in addition to the contender's own.
        progress: called with what the worker reports before it answers.

    Example:
        with Worker(CONTENDERS["jax"]) as worker:
            worker.ask("build", job=job)
            seconds = worker.ask("block").seconds
    """

    def __init__(self, contender, environment=None, progress=print):
        self._progress = progress
        # What libraries print must not fill the screen.
        self._output = tempfile.NamedTemporaryFile("r")  # noqa: SIM115 (open as long as the process)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, contender.build, self._output.name), daemon=True)
        with _environment({**_variables(contender), **(environment or {})}):
            self._process.start()
        theirs.close()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Ends the process, which frees its memory; it may have ended already."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        self._output.close()

    def ask(self, do, **order):
        """The answer to an order.

        Args:
            do: the name of a method of Session.
            **order: its arguments.

        Raises:
            WorkerError: if the worker failed or has ended.
        """
        try:
            self._connection.send((do, order))
            while (answer := self._connection.recv())[0] == "progress":
                self._progress(answer[1])
        except (EOFError, OSError):
            raise WorkerError(self._why_it_ended()) from None
        kind, result = answer
        if kind == "error":
            raise WorkerError(result.splitlines()[0])
        return result

    def _why_it_ended(self):
        self._process.join()
        status = self._process.exitcode
        if status < 0:
            return f"its process was killed by signal {-status}{', perhaps out of memory' if status == -9 else ''}"
        lines = [line.strip() for line in self._output if line.strip()]
        return f"its process ended with status {status}: {lines[-1] if lines else 'without a message'}"


def _variables(contender):
    found = {"KERAS_BACKEND": contender.backend, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    # Several share one GPU: none may reserve most of its memory at the start.
    if not any(name.startswith("XLA_PYTHON_CLIENT_") for name in os.environ):
        found["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return found | {name: f"{os.environ.get(name, '')} {value}".strip() for name, value in contender.environment}


@contextlib.contextmanager
def _environment(variables):
    """A process that starts inside has these variables too."""
    before = dict(os.environ)
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]
        os.environ.update(before)


class Session:
    """What a worker remembers between orders.

    Args:
        build: "module:function" of the contender, imported at once, while other workers start.
        report: takes lines of progress.
    """

    def __init__(self, build, report):
        self._build, self._report = _imported(build), report

    def build(self, job):
        """Builds the contender, takes its first steps and finds how many steps a block has."""
        import keras

        from kmodels.bench.blocks import calibrate, timed

        self._block = self._build(job)
        backend, seconds = keras.backend.backend(), timed(self._block)
        result = {"first_step_seconds": seconds(1), "second_step_seconds": seconds(1)}
        self._steps = calibrate(self._block, job.block_seconds)
        return {**result, "steps": self._steps, "backend": backend, "version": import_module(backend).__version__}

    def block(self):
        """Trains for a block; returns the Block."""
        return self._block(self._steps)

    def call(self, function, **arguments):
        """What `function(report=..., **arguments)` returns; "module:function"."""
        return _imported(function)(report=self._report, **arguments)


def _imported(path):
    module, function = path.split(":")
    return getattr(import_module(module), function)


def _serve(connection, build, output):
    """Answers orders; what a worker does."""
    # Ctrl-C is for the parent, which then ends all workers.
    os.setsid()
    # The parent may be killed within a block.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    session = Session(build, lambda text: connection.send(("progress", text)))
    while True:
        do, order = connection.recv()
        try:
            connection.send(("ok", getattr(session, do)(**order)))
        except Exception as error:
            traceback.print_exc()
            connection.send(("error", f"{type(error).__name__}: {error}"))


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
