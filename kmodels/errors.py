"""Errors that a user can mend: they say what was received and what is allowed."""

import difflib
import numbers
import textwrap
import threading

from kmodels.text import printable

# What a timer of Python can wait for.
MOST_HOURS = int(threading.TIMEOUT_MAX // 3600)


class InputError(ValueError):
    """A mistake in what the user gave; commands print it, without a traceback.

    Args:
        *lines: the message, usually in one line. Names in it may be of anything: what would break the line or change
            the terminal is shown as escapes.

    Example:
        raise InputError(f"cannot read {path}: {reason}")
    """

    def __str__(self):
        return "\n".join(map(printable, self.args))


def unknown(kind, received, known, alternative=""):
    """The InputError for a name that is not one of `known`; offers the nearest ones.

    Args:
        kind: what the name is of, "model" for instance.
        received: the name.
        known: the names that are allowed.
        alternative: what else is allowed, in words, at the end of the message.
    """
    known = [str(name) for name in known]
    near = difflib.get_close_matches(str(received), known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return InputError(
        # A large network has hundreds of layers.
        f"unknown {kind} {received!r}; {hint}known: {shorten(known, 40)}{alternative and f'; {alternative}'}"
    )


def shorten(names, limit=5):
    """The names joined by commas; of more than `limit` only the first ones, and how many more there are."""
    names = list(names)
    return ", ".join(names[:limit]) + (f" and {len(names) - limit} more" if len(names) > limit else "")


def describe_error(error):
    """An error in words: a user's mistake as it is, any other with its type."""
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"


def not_copied(kind, item, error):
    """The InputError for an object of Keras whose class cannot make it again from its configuration.

    Args:
        kind: what it is, "optimizer" for instance.
        item: the object.
        error: what get_config or from_config raised.
    """
    reason = textwrap.shorten(str(error), 200)
    return InputError(
        f"{kind} {type(item).__name__} cannot be copied from its configuration ({type(error).__name__}: {reason}); its "
        "class needs a get_config that returns all arguments of its __init__"
    )


def require(condition, rule, received):
    """Raises InputError("<rule>. Received: ...") unless the condition holds."""
    if not condition:
        raise InputError(f"{rule}. Received: {received!r}")


def require_whole(name, received, least):
    """Raises InputError unless `received` is an integer, Python's or NumPy's, of at least `least`."""
    whole = isinstance(received, numbers.Integral) and not isinstance(received, bool) and received >= least
    require(whole, f"{name} must be an integer of at least {least}", received)


def require_seeds(name, received):
    """Raises InputError unless `received` is seeds: a sequence of one or more integers of at least 0."""
    whole = all(isinstance(seed, numbers.Integral) and not isinstance(seed, bool) for seed in received)
    require(whole and len(received) and min(received) >= 0, f"{name} needs one or more numbers from 0 up", received)


def require_hours(name, received):
    """Raises InputError unless `received` is a time limit: None or a number of hours that a timer can wait for."""
    fits = received is None or 0 < received <= MOST_HOURS
    require(fits, f"{name} must be above 0 and at most {MOST_HOURS:,}", received)
