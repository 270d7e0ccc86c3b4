"""Errors that a user can mend: they say what was received and what is allowed."""

import difflib


class InputError(ValueError):
    """A mistake in what the user gave; commands print it as one line, without a traceback."""


def unknown(kind, received, known):
    """The InputError for a name that is not one of `known`; offers the nearest ones."""
    known = [str(name) for name in known]
    near = difflib.get_close_matches(str(received), known, n=3, cutoff=0.6)
    hint = f"did you mean {' or '.join(near)}? " if near else ""
    return InputError(f"unknown {kind} {received!r}; {hint}known: {', '.join(known)}")


def few(names, most=5):
    """The first of the names, and how many more there are."""
    names = list(names)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def require(condition, rule, received):
    """Raises InputError("<rule>. Received: ...") unless the condition holds."""
    if not condition:
        raise InputError(f"{rule}. Received: {received!r}")
