"""Values of settings as words of a command line, and back."""

import contextlib
from collections.abc import Mapping

from kmodels.errors import require


def parse_options(texts):
    """{name: value} of texts like "dropout=0.3", "batch_norm=true", "hidden=128,128" and "weights=imagenet".

    Args:
        texts: one for each option; "none" as value takes an option away.

    Raises:
        InputError: for a text without a name and "=".
    """
    options = {}
    for text in texts:
        name, equals, value = text.partition("=")
        require(equals and name.isidentifier(), "model options must be written as NAME=VALUE", text)
        options[name] = tuple(map(_value, value.strip("(),").split(","))) if "," in value else _value(value)
    return options


def flag_words(name, value):
    """The words of a command line that give a setting a value: what its flag, or `parse_options`, reads back.

    Args:
        name: of a field of Experiment.
        value: of this field; of `model_options`, those that are given.
    """
    flag = f"--{name.replace('_', '-')}"
    if isinstance(value, Mapping):
        return [flag, *(f"{option}={_option_text(one)}" for option, one in value.items())]
    return [flag, *(map(str, value) if isinstance(value, tuple) else [str(value)])]


def _option_text(value):
    # A comma alone tells one width of a hidden layer from a number.
    return ",".join(map(str, value)) + "," * (len(value) == 1) if isinstance(value, tuple) else str(value)


def _value(text):
    """Text as the number, truth value or None that it is, else as text."""
    words = {"true": True, "false": False, "none": None}
    if text.strip().lower() in words:
        return words[text.strip().lower()]
    for number in (int, float):
        with contextlib.suppress(ValueError):
            return number(text)
    return text
