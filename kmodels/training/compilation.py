"""Compilation on JAX: kept on disk for the next process, and its time told apart from training's."""

import functools
import os
import time

import keras

from kmodels.backend import deterministic
from kmodels.data.cache import writable_cache
from kmodels.errors import InputError

# Least recently used programs go first; one of a large network takes a few megabytes.
CACHE_BYTES = 2**32

# Start and end of each stretch of tracing or compiling in this process, in order, none within another.
_spans = []


def keep_compiled():
    """Makes JAX keep what it compiles under the cache folder, unless the user chose one (JAX_COMPILATION_CACHE_DIR)."""
    if keras.backend.backend() != "jax":
        return
    import jax

    if deterministic():
        # JAX would also keep which algorithms were the fastest when tried, and use them whatever flags say.
        jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    if jax.config.jax_compilation_cache_dir or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    try:
        folder = writable_cache("compiled")
    except InputError as error:
        print(f"{error}; what is compiled here is not kept for the next time")
        return
    jax.config.update("jax_compilation_cache_dir", str(folder))
    jax.config.update("jax_compilation_cache_max_size", CACHE_BYTES)
    # Everything: a step of a small network compiles in less than the second from which JAX keeps programs by itself.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


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
