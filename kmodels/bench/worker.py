"""The process of one contender: takes orders as lines of JSON on stdin, answers with lines of JSON on stdout.

    python -m kmodels.bench.worker MODULE:FUNCTION

`{"do": "build", "job": {...}}` builds and makes the first step, `{"do": "calibrate"}` finds how many steps a block
has, `{"do": "block"}` times one, `{"do": "call", "function": "module:function", "job": {...}}` calls a function.
The answer is `{"ok": ...}` or `{"error": "..."}`, after any number of `{"progress": "..."}`.
"""

import json
import os
import queue
import sys
import threading
import time
import traceback
from importlib import import_module

from kmodels.bench.settings import Job


def main(build):
    """Serves orders until stdin ends."""
    answer = _answers()
    orders = _orders()
    session = Session(build, answer)
    while True:
        order = json.loads(orders.get())
        try:
            answer(ok=session.obey(order))
        except Exception as error:
            traceback.print_exc()
            answer(error=f"{type(error).__name__}: {error}")


def _answers():
    # What libraries print must not get between the answers: it goes where their errors go.
    lines = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(**fields):
        print(json.dumps(fields), file=lines, flush=True)

    return answer


def _orders():
    """A queue of lines; when stdin ends, for instance because the parent was killed, so does this process at once."""
    lines = queue.SimpleQueue()

    def read():
        for line in sys.stdin:
            lines.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    return lines


class Session:
    """What a worker remembers between orders.

    Args:
        build: "module:function" of the contender; imported at once, while other workers start.
        answer: for progress.
    """

    def __init__(self, build, answer):
        self._answer = answer
        self._build = _found(build) if build else None
        self._block, self._job, self._steps = None, None, 1

    def obey(self, order):
        """Does what an order says; returns the answer."""
        return getattr(self, f"_do_{order.pop('do')}")(**order)

    def _do_build(self, job):
        import keras

        self._job = Job(**job)
        self._block = self._build(self._job)
        first, second = self._seconds_of_a_step(), self._seconds_of_a_step()
        backend = keras.backend.backend()
        return {
            "first_step_seconds": first,
            "second_step_seconds": second,
            "backend": backend,
            "version": import_module(backend).__version__,
        }

    def _seconds_of_a_step(self):
        start = time.perf_counter()
        self._block(1)
        return time.perf_counter() - start

    def _do_calibrate(self):
        from kmodels.bench.blocks import calibrate

        self._steps = calibrate(self._block, self._job.block_seconds)
        return self._steps

    def _do_block(self):
        return self._block(self._steps)._asdict()

    def _do_call(self, function, job, **options):
        return _found(function)(Job(**job), lambda text: self._answer(progress=text), **options)


def _found(path):
    module, function = path.split(":")
    return getattr(import_module(module), function)


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else None)
