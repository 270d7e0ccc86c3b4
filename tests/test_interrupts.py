"""Ctrl-C, SIGTERM and time limits."""

import contextlib
import gc
import os
import re
import signal
import sys
import threading
import time
import weakref
from dataclasses import replace

import numpy as np
import pytest

from kmodels import InputError, read_record
from kmodels.interrupts import Interrupts, interruptible, time_limit
from kmodels.training.callbacks import EndAtInterrupt
from kmodels.training.sweeps import sweep


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_is_dropped_comes_at_the_next_check():
    before = signal.getsignal(signal.SIGINT)

    def train(checks):
        with Interrupts():
            Interrupts.check()
            # As in a callback of a library.
            with contextlib.suppress(KeyboardInterrupt):
                os.kill(os.getpid(), signal.SIGINT)
            if checks:
                EndAtInterrupt().on_epoch_begin(1)
                pytest.fail("it was not raised")

    # Without a check, it comes at the end.
    for checks in (True, False):
        with pytest.raises(KeyboardInterrupt):
            train(checks)
        assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.usefixtures("interruptible")
@pytest.mark.parametrize("freed", [False, True])
def test_an_interrupt_while_garbage_is_collected_comes_soon_after(freed, monkeypatch):
    dropped = []
    monkeypatch.setattr(sys, "unraisablehook", dropped.append)

    def interrupt(phase="start", info=None):
        if phase == "start":
            os.kill(os.getpid(), signal.SIGINT)

    class Freed:
        def __del__(self):
            interrupt()

    def train():
        # An exception in either would be dropped, with a traceback on standard error.
        if freed:
            Freed()
        else:
            gc.callbacks.append(interrupt)
            try:
                gc.collect()
            finally:
                gc.callbacks.remove(interrupt)
        time.sleep(300)

    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), Interrupts():
        train()
    assert time.monotonic() - start < 300
    assert not dropped


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_sent_twice_does_not_end_the_writing_of_the_record(monkeypatch):
    recorded = []

    def train(seconds):
        with Interrupts():
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt:
                monkeypatch.setattr("kmodels.interrupts.SAME_INTERRUPT", seconds)
                os.kill(os.getpid(), signal.SIGINT)
                recorded.append(seconds)
                raise

    for seconds in (60, 0):
        with pytest.raises(KeyboardInterrupt):
            train(seconds)
        monkeypatch.undo()
    # One that comes later is another one.
    assert recorded == [60]


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_that_becomes_another_error_is_still_an_interrupt():
    def train(inner):
        with Interrupts(), inner:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except KeyboardInterrupt as interrupt:
                raise ImportError("initialization failed") from interrupt

    for inner in (contextlib.nullcontext(), Interrupts()):
        with pytest.raises(KeyboardInterrupt, match="ImportError: initialization failed"):
            train(inner)
    # What fails without one stays as it is, also after an earlier one.
    with pytest.raises(ImportError), Interrupts():
        raise ImportError


@pytest.mark.usefixtures("interruptible")
def test_a_held_interrupt_comes_at_the_end():
    done = []

    def train(context):
        with Interrupts(), context:
            os.kill(os.getpid(), signal.SIGINT)
            done.append(context)

    held = Interrupts.held()
    for context in (held, contextlib.nullcontext()):
        with pytest.raises(KeyboardInterrupt):
            train(context)
    assert done == [held]


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_leaves_no_frame_of_the_training_behind():
    @interruptible
    def train():
        network = np.zeros(1)
        kept.append(weakref.ref(network))
        raise KeyboardInterrupt("resume=True continues")

    kept = []
    with pytest.raises(KeyboardInterrupt, match="resume=True") as caught:
        train()
    assert kept[0]() is None
    assert caught.value.__context__ is None


def test_an_interrupt_handler_of_the_users_own_stays():
    def own(*arguments):
        pass

    before = signal.signal(signal.SIGINT, own)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGINT) is own
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_time_limit_ends_training_with_a_checkpoint(tiny, tmp_path, capsys, monkeypatch):
    class TimerAfterCheckpoint(threading.Timer):
        """How long the imports and the first epoch take depends on the machine."""

        def run(self):
            end = time.monotonic() + 300
            while not list(tmp_path.rglob("*.checkpoint")) and time.monotonic() < end:
                time.sleep(0.05)
            super().run()

    long = replace(tiny, epochs=100_000, patience=None)
    with monkeypatch.context() as patch:
        patch.setattr(threading, "Timer", TimerAfterCheckpoint)
        with time_limit(0.1 / 3600):
            list(sweep([long], (0,), tmp_path, verbose=0))
    said = capsys.readouterr().out
    assert "hours are over" in said
    assert re.search("continues from epoch|repeats epoch", said)
    (record,) = tmp_path.rglob("*-interrupted.json")
    assert 0 < len(read_record(record).history["loss"]) < 100_000
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer) and not thread.daemon]


def test_a_time_limit_ends_nothing_else():
    with pytest.raises(KeyboardInterrupt), time_limit(1):
        raise KeyboardInterrupt
    with time_limit(None):
        pass
    for hours in (0, float("nan"), float("inf"), 1e10):
        with pytest.raises(InputError, match="above 0"), time_limit(hours):
            pass


def test_a_time_limit_holds_in_the_background_of_a_script():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        start = time.perf_counter()
        with time_limit(0.05 / 3600):
            time.sleep(30)
        assert time.perf_counter() - start < 20
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
