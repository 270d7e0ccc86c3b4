"""What makes two runs the same run."""

from dataclasses import asdict

import numpy as np
import pytest

from kmodels.models.saving import load_network

# What tells when and how long, or of which commit, and not what came out.
TIMES = ("started", "compile_seconds", "train_seconds", "images_per_second", "commit")


@pytest.fixture
def outcome():
    """Returns all of a record that must not depend on how the run came about."""

    def outcome(record):
        content = {name: value for name, value in asdict(record).items() if name not in TIMES}
        content["history"] = {name: values for name, values in record.history.items() if name != "seconds"}
        return content

    return outcome


@pytest.fixture
def network_weights():
    """Returns the weights that lie beside a record."""
    return lambda record, out: load_network(out / f"{record.stem}.keras").get_weights()


@pytest.fixture
def same_weights(network_weights):
    """Tells whether the networks of two records, each with its results folder, are equal bit for bit."""

    def same_weights(record, out, other, other_out):
        pairs = zip(network_weights(record, out), network_weights(other, other_out), strict=True)
        return all(np.array_equal(a, b) for a, b in pairs)

    return same_weights
