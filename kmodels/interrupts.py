"""Signals and time limits: work ends as by an exception, so that what is finished is recorded, and cleared up."""

import _thread
import contextlib
import functools
import gc
import signal
import threading
import time
import weakref

from kmodels.errors import describe_error, require_hours

# Interrupts within so many seconds are one: terminals and notebooks send it to every process of a group, a sweep sends
# it on to its workers, and the second one would end the writing of the record that the first one began.
SAME_INTERRUPT = 1.0
# After so many seconds an interrupt comes again where it could not be raised.
SOON = 0.05
# Where the functions are that remove what has been freed from weak dictionaries and sets.
WEAK_REFERENCES = {kind.__init__.__code__.co_filename for kind in (weakref.WeakKeyDictionary, weakref.WeakSet)}


class Interrupts:
    """As a context around work, makes sure that Ctrl-C and SIGTERM end it as exceptions, and so can be recorded.

    Ctrl-C is a KeyboardInterrupt. SIGTERM, which Slurm, Kaggle and `docker stop` send, is a SystemExit with status 143;
    a second one ends the process at once. Contexts may lie in one another.

    Python drops an exception that is raised while it collects garbage or frees an object, and JAX has it call back
    there: one interrupt in three was lost that way in short runs. A signal that comes then is raised soon after. Where
    an interrupt is dropped elsewhere, `check` raises it, at the latest the end of the outermost context. Where it
    leaves other code in a state that this does not expect, or a library wraps it, another error takes its place; a
    context that such an error leaves raises the interrupt instead.

    Args:
        first: called when a signal comes, before the exception is raised.
    """

    # Of all contexts that are open: the outermost one handles the signals.
    _depth, _held, _postponed, _received, _time, _before, _first = 0, False, False, None, 0.0, {}, ()

    def __init__(self, first=None):
        self.first = first

    def __enter__(self):
        shared = Interrupts
        if not shared._depth:
            shared._received, shared._postponed, shared._before, shared._first = None, False, {}, ()
            if threading.current_thread() is threading.main_thread():
                # Another program's handler, or none (a worker in the background), stays as it is.
                usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
                shared._before = {number: own for number, own in usual.items() if signal.getsignal(number) is own}
            for number in shared._before:
                signal.signal(number, shared._receive)
        if self.first:
            shared._first = (*shared._first, self.first)
        shared._depth += 1
        return self

    def __exit__(self, *raised):
        shared = Interrupts
        shared._depth -= 1
        shared._first = tuple(one for one in shared._first if one is not self.first)
        if not shared._depth:
            shared._postponed = False
            for number, handler in shared._before.items():
                signal.signal(number, handler)
        if isinstance(raised[1], Exception):
            self.check(describe_error(raised[1]))
        elif raised[1] is None and not shared._depth:
            self.check()

    @classmethod
    @contextlib.contextmanager
    def held(cls):
        """A context, one at a time, that no signal interrupts: it is raised at its end."""
        cls._held = True
        try:
            yield
        finally:
            cls._held = False
        if cls._depth:
            cls.check()

    @classmethod
    def check(cls, *message):
        """Raises what was received and not raised, or dropped; at a place where that does no harm."""
        if cls._received == signal.SIGTERM:
            raise SystemExit(128 + signal.SIGTERM)
        if cls._received is not None:
            raise KeyboardInterrupt(*message)

    @classmethod
    def forget(cls):
        """The interrupt was meant, and has ended what it was to end."""
        cls._received = None

    @staticmethod
    def _receive(number, frame):
        shared = Interrupts
        if not shared._postponed:
            if number == signal.SIGINT == shared._received and time.monotonic() - shared._time < SAME_INTERRUPT:
                return
            if number == signal.SIGTERM == shared._received:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)
            shared._received, shared._time = number, time.monotonic()
            for first in shared._first:
                first()
        shared._postponed = _drops_exceptions(frame)
        if shared._postponed:
            # No Thread, whose locks the interrupted code may hold.
            _thread.start_new_thread(_send_soon, (number,))
        elif not shared._held:
            shared.check()


def _send_soon(number):
    time.sleep(SOON)
    # The context may have ended meanwhile.
    if Interrupts._postponed:
        _send(number)


def _send(number):
    """Sends a signal to the main thread, from another one."""
    if hasattr(signal, "pthread_kill"):
        # Wakes it also where it waits for other processes.
        signal.pthread_kill(threading.main_thread().ident, number)
    else:
        signal.raise_signal(number)


def interruptible(function):
    """Decorates a function that trains: an interrupt leaves it with a sentence, and leaves nothing behind.

    A notebook keeps the last exception, and with it whatever its traceback refers to: the network, the optimizer and
    the images on the device, and the threads of Keras' callbacks.
    """

    @functools.wraps(function)
    def call(*arguments, **options):
        try:
            return function(*arguments, **options)
        except KeyboardInterrupt as error:
            stopped = error
        stopped.args = stopped.args or (
            "interrupted; the same call with resume=True (--resume) continues from the checkpoint, if there is one",
        )
        # Not within the handler, which would make it refer to itself with its whole traceback.
        stopped.__context__ = None
        stopped = stopped.with_traceback(None)
        # Networks and optimizers refer to each other.
        gc.collect()
        raise stopped

    return call


def _drops_exceptions(frame):
    """Whether Python drops what is raised here: in a function that it calls to collect garbage or free an object."""
    callbacks = {getattr(callback, "__code__", None) for callback in gc.callbacks}
    while frame is not None:
        code = frame.f_code
        if code in callbacks or code.co_name == "__del__" or code.co_filename in WEAK_REFERENCES:
            return True
        frame = frame.f_back
    return False


@contextlib.contextmanager
def time_limit(hours):
    """A context that ends after so many hours, as by Ctrl-C: what runs in it is recorded and can be resumed.

    Args:
        hours: above 0; None: never.

    Raises:
        InputError: for a number that no timer can wait for.
    """
    require_hours("max_hours", hours)
    over = threading.Event()

    def end():
        over.set()
        _send(signal.SIGINT)

    timer = threading.Timer(0 if hours is None else 3600 * hours, end)
    timer.daemon = True
    # A shell starts what a script puts into the background with this signal ignored.
    in_main = threading.current_thread() is threading.main_thread()
    ignored = hours is not None and in_main and signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    if ignored:
        signal.signal(signal.SIGINT, Interrupts._receive if Interrupts._depth else signal.default_int_handler)
    if hours is not None:
        timer.start()
    try:
        yield
    except KeyboardInterrupt as interrupt:
        if not over.is_set():
            raise
        Interrupts.forget()
        print(f"{hours:g} hours are over: {str(interrupt) or 'no run was under way'}", flush=True)
    finally:
        timer.cancel()
        if ignored:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
