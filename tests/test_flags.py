"""Values of settings as words of a command line, and back."""

import pytest

from kmodels import flags


def test_options_of_a_network_are_read_as_what_they_are():
    texts = [
        "dropout=0.3",
        "batch_norm=true",
        "hidden=128,64",
        "weights=imagenet",
        "depth=3",
        "rate=1e-3",
        "small=None",
    ]
    assert flags.parse_options(texts) == {
        "dropout": 0.3,
        "batch_norm": True,
        "hidden": (128, 64),
        "weights": "imagenet",
        "depth": 3,
        "rate": 0.001,
        "small": None,
    }
    assert flags.parse_options(["hidden=(64,)"]) == {"hidden": (64,)}


@pytest.mark.parametrize(
    "options",
    [
        {"hidden": (128,), "rate": 1e-3, "batch_norm": True, "weights": "imagenet"},
        {"hidden": (128, 64), "widths": (0.5,), "dropout": None, "factorised": False},
    ],
)
def test_options_are_read_back_from_the_words_that_they_are_written_as(options):
    flag, *words = flags.flag_words("model_options", options)
    assert flag == "--model-options"
    assert flags.parse_options(words) == options
