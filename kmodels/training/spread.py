"""The runs of a sweep spread over processes, one device each: for seeds, and networks too small for several devices.

A worker is this module started as a program, so that it sees its own GPU only, from the start. It takes pickled tasks
from stdin, one after the other, and keeps what they share on a Shelf. What it prints comes out with the run's name in
front; its Outcomes come as lines that begin with MARK. Worker and sweep share nothing else: one that dies costs its
run. On a CPU, workers share the cores.
"""

import base64
import os
import pickle
import queue
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import keras

import kmodels
from kmodels.backend import deterministic, make_deterministic
from kmodels.errors import InputError, require
from kmodels.training import hosts
from kmodels.training.outcomes import Outcome
from kmodels.training.runs import make_run
from kmodels.training.shelf import Shelf

MARK = b"\0"
# A worker that is asked to stop writes the record of its finished epochs. Python may lose an interrupt (in a callback
# of the garbage collector, say), so it is asked more than once.
SECONDS_TO_STOP, TIMES_ASKED = 20, 3


def spread(runs, out, again, options):
    """Does runs in `options.devices` processes of one device each.

    Args:
        runs: pairs (experiment, seed).
        out, again: as in `sweep`.
        options: Options.

    Yields:
        The Outcome of each run when it has ended, in the order in which they end.

    Raises:
        InputError: for more devices than there are GPUs, where there are any.
        KeyboardInterrupt: on Ctrl-C, after all workers have stopped.
    """
    require(hosts.ADDRESSES not in os.environ, "split must be 'batch' on several hosts", "runs")
    alone = replace(options, devices=1)
    tasks, ended = queue.SimpleQueue(), queue.Queue()
    for number, (experiment, seed) in enumerate(runs, start=1):
        tasks.put((f"{number}/{len(runs)}", (experiment, seed, out, again, deterministic(), alone)))
    crew = [_Worker(place, tasks, ended) for place in _environments(options.devices)[: len(runs)]]
    for worker in crew:
        worker.start()
    try:
        for _ in runs:
            yield ended.get()
    except BaseException:
        for worker in crew:
            worker.interrupt()
        raise
    finally:
        for worker in crew:
            worker.settle()


def _environments(number):
    """The environment of each worker."""
    require(isinstance(number, int) and number >= 1, "devices must be an integer of at least 1", number)
    source = str(Path(kmodels.__file__).parents[1])
    path = os.pathsep.join(filter(None, (source, os.environ.get("PYTHONPATH"))))
    common = {**os.environ, "KERAS_BACKEND": keras.backend.backend(), "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}
    gpus = _gpus()
    if not gpus:
        return [common] * number
    require(number <= len(gpus), f"devices must be at most {len(gpus)}, the number of GPUs", number)
    if not any(name.startswith("XLA_PYTHON_CLIENT_") for name in common):
        # The process that sweeps, a notebook say, may hold memory of all of them.
        common["XLA_PYTHON_CLIENT_PREALLOCATE"] = "false"
    return [{**common, "CUDA_VISIBLE_DEVICES": gpu} for gpu in gpus[:number]]


def _gpus():
    """The names by which CUDA_VISIBLE_DEVICES may call the GPUs; asked of no library, which would take their memory."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    if given is not None:
        return [name.strip() for name in given.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    if shutil.which("nvidia-smi") is None:
        return []
    listed = subprocess.run(
        ["nvidia-smi", "--query-gpu=index", "--format=csv,noheader"], capture_output=True, text=True
    )
    return listed.stdout.split() if listed.returncode == 0 else []


class _Worker(threading.Thread):
    """Feeds tasks to a process until there is none; starts another process where one has died."""

    def __init__(self, environment, tasks, ended):
        super().__init__(name="spread", daemon=True)
        self._environment, self._tasks, self._ended = environment, tasks, ended
        self._process, self._stopping, self._lock = None, False, threading.Lock()

    def run(self):
        while not self._stopping:
            try:
                number, task = self._tasks.get_nowait()
            except queue.Empty:
                break
            try:
                outcome = self._do(number, task)
            except Exception as error:
                # An answer that something else was printed into, say. The sweep waits for one Outcome each.
                said = RuntimeError(f"its process gave no answer that can be read: {type(error).__name__}: {error}")
                outcome = Outcome(experiment=task[0], seed=task[1], error=said)
            self._ended.put(outcome)
        self._end()

    def interrupt(self):
        """Ends the run that is under way as Ctrl-C does."""
        with self._lock:
            process, self._stopping = self._process, True
        if process:
            process.send_signal(signal.SIGINT)

    def settle(self):
        """Waits for the end; insists where that was asked for and does not come."""
        for _ in range(TIMES_ASKED if self._stopping else 0):
            self.join(SECONDS_TO_STOP)
            if not self.is_alive():
                return
            self.interrupt()
        if self._stopping and self._process:
            self._process.kill()
        self.join()

    def _do(self, number, task):
        experiment, seed, *_, options = task
        name = f"{experiment.name} seed {seed}"

        def say(line):
            if options.verbose != 0 and (not self._stopping or line.startswith("interrupted")):
                # One write, so that the lines of two workers do not mix.
                sys.stdout.write(f"[{name}] {line}\n")
                sys.stdout.flush()

        say(f"begins, {number}")
        outcome = self._answer(task, say)
        if outcome is None:
            error = RuntimeError(f"its process ended with status {self._end()}")
            outcome = Outcome(experiment=experiment, seed=seed, error=error)
        if outcome.error is not None:
            say(f"failed: {outcome.error}")
        return outcome

    def _answer(self, task, say):
        """The Outcome; None where the process ended without one."""
        try:
            with self._lock:
                if self._stopping:
                    return None
                self._begin()
            pickle.dump(task, self._process.stdin)
            self._process.stdin.flush()
        except BrokenPipeError:
            return None
        for line in self._process.stdout:
            if line.startswith(MARK):
                return pickle.loads(base64.b64decode(line[len(MARK) :]))
            if line.strip():
                say(line.decode(errors="replace").rstrip())
        return None

    def _end(self):
        """Waits for the process, which is at the end of its tasks or dead; returns its status."""
        process, self._process = self._process, None
        if process is None:
            return None
        with process, suppress(BrokenPipeError):
            process.stdin.close()
        return process.returncode

    def _begin(self):
        if self._process and self._process.poll() is None:
            return
        self._end()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "kmodels.training.spread"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            # Ctrl-C comes to the sweep alone, which hands it on once.
            start_new_session=True,
        )


def _work():
    """The worker's program: tasks in, Outcomes out, until stdin ends."""
    shelf = Shelf()
    while True:
        try:
            task = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        answer = base64.b64encode(pickle.dumps(_outcome(*task, shelf)))
        sys.stdout.flush()
        sys.stdout.buffer.write(b"\n" + MARK + answer + b"\n")
        sys.stdout.buffer.flush()


def _outcome(experiment, seed, out, again, repeatable, options, shelf):
    try:
        if repeatable and not deterministic():
            make_deterministic()
        run = make_run(experiment, seed, out, options, shelf)
        if not again and (record := run.completed()):
            print("is recorded already")
            return Outcome(experiment=experiment, seed=seed, record=record, recorded=True)
        return Outcome(experiment=experiment, seed=seed, record=run())
    except InputError as error:
        return Outcome(experiment=experiment, seed=seed, error=error)
    except Exception as error:
        # Not every exception can be pickled.
        said = RuntimeError(f"{type(error).__name__}: {error}")
        return Outcome(experiment=experiment, seed=seed, error=said)


if __name__ == "__main__":
    try:
        _work()
    except KeyboardInterrupt as interrupt:
        print(f"interrupted: {interrupt}", flush=True)
        sys.exit(130)
