"""What every test shares: a cache of its own, so that no test reads or leaves anything in the user's."""

import os
import sys
from pathlib import Path

import pytest

import kmodels

ROOT = Path(__file__).parents[1]
# Experiment files and the tests that start them are run from the checkout, not from an installed package.
sys.path.insert(0, str(ROOT))


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("KMODELS_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path_factory.getbasetemp() / "tfds"))


@pytest.fixture(scope="session")
def backend():
    """The Keras backend under test."""
    import keras

    assert keras.backend.backend() == os.environ["KERAS_BACKEND"]
    return keras.backend.backend()


@pytest.fixture
def nan_loss(monkeypatch):
    """Makes every loss NaN. (A huge learning rate does not, on every backend: TensorFlow's ReLU turns NaN into 0.)"""
    from kmodels.training import trainer

    class NaN(trainer.CrossEntropy):
        def call(self, labels, logits):
            return super().call(labels, logits) * float("nan")

    monkeypatch.setattr(trainer, "CrossEntropy", NaN)


@pytest.fixture
def tiny():
    """An experiment that runs in a second or two."""
    return kmodels.Experiment(
        name="tests/tiny",
        dataset="made_up",
        image_size=16,
        model="model1",
        augmentation="rotate_flip",
        epochs=2,
        batch_size=16,
    )
