"""Progress in a cell of a notebook, updated in place. Nothing here needs IPython, unless there is a kernel."""

import contextlib
import io
import sys
import time


def in_kernel():
    """Whether this is the process of a Jupyter kernel."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    return getattr(shell, "kernel", None) is not None


# Whether this is a worker of a kernel's, whose output is shown in the cell.
in_worker_of_kernel = False


def epoch_output():
    """A context with the file to write a line for each epoch to; None outside notebooks, where Keras prints."""
    if in_kernel():
        return InPlace()
    return _whole_lines() if in_worker_of_kernel else None


@contextlib.contextmanager
def _whole_lines():
    try:
        yield sys.stdout
    finally:
        # What comes next does not follow the step of an epoch that did not end.
        sys.stdout.write("\r")


class InPlace(io.TextIOBase):
    """A file whose text is shown in the cell and updated in place: a carriage return overwrites its line.

    It is one output, which is displayed again when it changes: without widgets, and so that a notebook that is executed
    without a browser holds the last state only.

    Args:
        lines: how many of the last ones are shown.
        interval: seconds between updates; what is written in between is shown with the next one or `close`.
    """

    encoding = "utf-8"

    def __init__(self, lines=20, interval=0.1):
        self._lines, self._most, self._interval = [""], lines, interval
        self._shown, self._handle, self._time = "", None, 0.0

    def write(self, text):
        first, *more = text.split("\n")
        self._lines[-1] = overwritten(self._lines[-1], first)
        self._lines += [overwritten("", line) for line in more]
        if time.monotonic() - self._time >= self._interval:
            self._show()
        return len(text)

    def close(self):
        if not self.closed:
            self._show()
        super().close()

    def _show(self):
        lines = [line.rstrip() for line in self._lines if line.strip()]
        earlier = [f"({len(lines) - self._most} earlier lines)"] if len(lines) > self._most else []
        text = "\n".join([*earlier, *lines[-self._most :]])
        if text == self._shown:
            return
        self._shown, self._time = text, time.monotonic()
        self._display(text)

    def _display(self, text):
        content = {"text/plain": text}
        if self._handle:
            self._handle.update(content, raw=True)
        else:
            from IPython.display import display

            self._handle = display(content, raw=True, display_id=True)


def overwritten(line, text):
    """A line of a terminal after more text, in which a carriage return overwrites what is there."""
    return text.rpartition("\r")[2] if "\r" in text else line + text
