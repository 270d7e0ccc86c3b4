"""MixUp and CutMix in training: the loss weighs the labels as the images were mixed, and only while training."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from kmodels import run, run_seeds
from kmodels.augment import build_augmentation
from kmodels.augment.mixing import MixUp, mixing_layer
from kmodels.training.optimizers import build_optimizer
from kmodels.training.trainer import build_trainer

policies = pytest.mark.parametrize("policy", ["mixup", "cutmix"])


@pytest.fixture
def jax_only(backend):
    if backend != "jax":
        pytest.skip("JAX only")


def cross_entropy(logits, labels, smoothing):
    """Of each image, in double precision."""
    logits = logits.astype(np.float64)
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = (1 - smoothing) * np.eye(logits.shape[1])[labels] + smoothing / logits.shape[1]
    return -(targets * log_probabilities).sum(axis=1)


@policies
def test_steps_have_the_loss_of_the_mixed_images_and_evaluation_that_of_the_images(policy):
    # Logits of some size, so that losses differ.
    dense = keras.layers.Dense(5, kernel_initializer=keras.initializers.RandomNormal(stddev=0.5, seed=0))
    network = keras.Sequential(
        [keras.Input((16, 16, 3)), keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), dense]
    )
    optimizer = build_optimizer("sgd", 0.001)
    trainer = build_trainer(network, optimizer, augmentation=policy, seed=3, label_smoothing=0.1)
    twin = build_augmentation(policy, (16, 16, 3), seed=3)
    rng = np.random.default_rng(0)
    # The last batch of an epoch is smaller.
    for size in (12, 12, 5):
        images, labels = rng.integers(0, 256, (size, 16, 16, 3), np.uint8), rng.integers(0, 5, size)
        mixed = twin(images, training=True)
        share = keras.ops.convert_to_numpy(mixing_layer(twin).take_share())
        logits = keras.ops.convert_to_numpy(network(mixed))
        own, others = (cross_entropy(logits, of, 0.1) for of in (labels, np.roll(labels, 1)))
        before = [weights.copy() for weights in network.get_weights()]
        trainer.reset_metrics()
        loss = trainer.train_on_batch(images, labels)[0]
        assert loss == pytest.approx(np.mean(share * own + (1 - share) * others), rel=1e-4)
        assert loss != pytest.approx(np.mean(own), rel=1e-3)
        assert all((new != old).any() for new, old in zip(network.get_weights(), before, strict=True))
        (augment,) = (layer for layer in trainer.layers if layer.name == f"augment_{policy}")
        assert mixing_layer(augment).take_share() is None
        logits = keras.ops.convert_to_numpy(network(images))
        trainer.reset_metrics()
        loss = trainer.test_on_batch(images, labels)[0]
        assert loss == pytest.approx(np.mean(cross_entropy(logits, labels, 0.1)), rel=1e-4)


def test_a_given_layer_that_mixes_weighs_the_labels_as_its_policy_does():
    losses = []
    for augmentation in ("mixup", ["flip_crop", MixUp(seed=9)]):
        keras.utils.set_random_seed(0)
        network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(5)])
        trainer = build_trainer(network, build_optimizer("sgd", 0.001), augmentation=augmentation, seed=3)
        images = np.random.default_rng(0).integers(0, 256, (12, 16, 16, 3), np.uint8)
        losses.append(trainer.train_on_batch(images, np.arange(12) % 5)[0])
    assert losses[0] == losses[1]


def test_a_run_completes(tiny, tmp_path):
    record = run(replace(tiny, model="mlp", augmentation="mixup"), 0, tmp_path, verbose=0)
    assert record.status == "completed"
    assert record.epochs_run == 2


@pytest.mark.usefixtures("jax_only")
@policies
def test_epochs_in_one_call_have_the_losses_of_single_steps(policy, tiny, tmp_path):
    experiment = replace(tiny, model="mlp", augmentation=policy)
    steps, epochs = (run(experiment, 0, tmp_path / str(one), verbose=0, on_device=one) for one in (False, True))
    for name in ("loss", "accuracy", "val_loss", "val_accuracy"):
        assert epochs.history[name] == pytest.approx(steps.history[name], rel=2e-4)


@pytest.mark.usefixtures("jax_only")
def test_seeds_trained_together_mix_as_alone(tiny, tmp_path):
    experiment = replace(tiny, model="mlp", augmentation="cutmix")
    together, alone = (
        run_seeds(experiment, [0, 1], tmp_path / str(one), verbose=0, together=one) for one in (True, False)
    )
    assert [record.seeds_at_once for record in together] == [2, 2]
    for ours, theirs in zip(together, alone, strict=True):
        assert ours.history["loss"] == pytest.approx(theirs.history["loss"], rel=2e-4)
