"""The time that JAX takes to compile, told apart from training's."""

import functools
import time

import keras

# Start and end of each stretch of tracing or compiling in this process, in order, none within another.
_spans = []


def compile_seconds():
    """Seconds spent on tracing and compiling since the first call; None where the backend does not tell (not JAX)."""
    if keras.backend.backend() != "jax":
        return None
    _listen()
    return sum(end - start for start, end in _spans)


@functools.cache
def _listen():
    import jax

    jax.monitoring.register_event_duration_secs_listener(_note)


def _note(event, seconds, **_):
    if not event.startswith("/jax/core/compile/"):
        return
    end = time.perf_counter()
    start = end - seconds
    # Tracing a function traces those it calls, each with an event of its own: those lie within this one.
    while _spans and _spans[-1][0] >= start:
        _spans.pop()
    _spans.append((max(start, _spans[-1][1]) if _spans else start, end))
