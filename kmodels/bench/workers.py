"""The processes of contenders: the parent asks, one at a time works."""

import contextlib
import importlib
import multiprocessing
import os
import tempfile
import threading
import traceback

from kmodels.components import load_component
from kmodels.errors import describe_error


class WorkerError(Exception):
    """What went wrong in a worker, as one line."""


class Worker:
    """The process of one contender; use it in a `with` statement.

    Args:
        contender: a Contender.
        environment: variables in addition to the contender's own.

    Example:
        with Worker(CONTENDERS["jax"]) as worker:
            worker.ask("build", job=job)
            steps_per_second = worker.ask("block", steps=100)
    """

    def __init__(self, contender, environment=None):
        # What libraries print must not fill the screen.
        self._output = tempfile.NamedTemporaryFile("r")  # noqa: SIM115 (open as long as the process)
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, contender.build, self._output.name), daemon=True)
        with _variables(contender, environment or {}):
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
            error, answer = self._connection.recv()
        except (EOFError, OSError):
            raise WorkerError(self._why_it_ended()) from None
        if error:
            raise WorkerError(error.splitlines()[0])
        return answer

    def _why_it_ended(self):
        self._process.join()
        status = self._process.exitcode
        lines = [line.strip() for line in self._output if line.strip()]
        why = "killed, perhaps out of memory" if status == -9 else lines[-1] if lines else "without a message"
        return f"its process ended with status {status}: {why}"


@contextlib.contextmanager
def _variables(contender, more):
    """The environment of a contender's process, for one that starts inside."""
    before = dict(os.environ)
    # Several share one GPU: none may reserve most of its memory at the start.
    if not any(name.startswith("XLA_PYTHON_CLIENT_") for name in before):
        os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    os.environ["XLA_FLAGS"] = f"{before.get('XLA_FLAGS', '')} {contender.xla_flags}".strip()
    os.environ.update({"KERAS_BACKEND": contender.backend, "TF_FORCE_GPU_ALLOW_GROWTH": "true", **more})
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class Session:
    """What a worker remembers between orders.

    Args:
        build: "module:function" of the contender, imported at once, while other workers start.
    """

    def __init__(self, build):
        self._build = load_component("contender", build)

    def build(self, job):
        """Builds the contender and takes two steps: {"first_step_seconds", "second_step_seconds", "version"}."""
        import keras

        from kmodels.bench.blocks import timed

        self._block = self._build(job)
        seconds, version = timed(self._block), importlib.import_module(keras.backend.backend()).__version__
        return {"first_step_seconds": seconds(1), "second_step_seconds": seconds(1), "version": version}

    def calibrate(self, seconds):
        """How many steps a block of about so many seconds has."""
        from kmodels.bench.blocks import calibrate

        return calibrate(self._block, seconds)

    def block(self, steps):
        """Trains for at least so many steps; returns how many a second."""
        done, seconds = self._block(steps)
        return done / seconds

    def call(self, function, **arguments):
        """What a function returns; "module:function"."""
        return load_component("function", function)(**arguments)


def _serve(connection, build, output):
    """Answers orders; what a worker does."""
    # Ctrl-C is for the parent, which then ends all workers.
    os.setsid()
    # The parent may be killed within a block.
    threading.Thread(target=_end_with_parent, daemon=True).start()
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    session = Session(build)
    while True:
        do, order = connection.recv()
        try:
            connection.send((None, getattr(session, do)(**order)))
        except Exception as error:
            traceback.print_exc()
            connection.send((describe_error(error), None))


def _end_with_parent():
    multiprocessing.parent_process().join()
    os._exit(1)
