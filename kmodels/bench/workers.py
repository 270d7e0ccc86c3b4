"""The parent's side of worker.py: starts the process of a contender, asks it, and sees that it ends."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile


class WorkerError(Exception):
    """What went wrong in a worker, as one line."""


class Worker:
    """The process of one contender; use it in a `with` statement.

    Args:
        contender: a Contender.
        environment: variables that come on top of the contender's own.
        progress: called with what the worker reports before it answers.
    """

    def __init__(self, contender, environment=None, progress=print):
        self._progress = progress
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kmodels.bench.worker", contender.build],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=_environment(contender, environment or {}),
            # Ctrl-C is for the parent, which then ends them all.
            start_new_session=True,
        )

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        """Ends the process, and so gives its memory back; it may have ended already."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            with contextlib.suppress(BrokenPipeError):
                stream.close()
        self._errors.close()

    def ask(self, do, **order):
        """The answer to an order.

        Raises:
            WorkerError: if the worker failed or is gone.
        """
        try:
            self._process.stdin.write(json.dumps({"do": do, **order}) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise WorkerError(self._last_words()) from None
        for line in self._process.stdout:
            answer = json.loads(line)
            if "progress" in answer:
                self._progress(answer["progress"])
            elif "error" in answer:
                raise WorkerError(answer["error"].splitlines()[0])
            else:
                return answer["ok"]
        raise WorkerError(self._last_words())

    def _last_words(self):
        status = self._process.wait()
        self._errors.seek(0)
        lines = [line.strip() for line in self._errors if line.strip()]
        if status < 0:
            return f"its process was killed by signal {-status}{', perhaps for want of memory' if status == -9 else ''}"
        return f"its process ended with status {status}: {lines[-1] if lines else 'it said nothing'}"


def _environment(contender, more):
    environment = {**os.environ, "KERAS_BACKEND": contender.backend, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}
    # Side by side on one GPU: none may take most of its memory at the start.
    if not any(name.startswith("XLA_PYTHON_CLIENT_") for name in environment):
        environment["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    for name, value in contender.environment:
        environment[name] = f"{environment.get(name, '')} {value}".strip()
    return {**environment, **more}
