"""An epoch in one call: the same steps, the same callbacks, nothing left out, nothing compiled twice."""

from dataclasses import replace

import keras
import numpy as np
import pytest

from kmodels import InputError, load_dataset, run
from kmodels.data.batches import ArrayBatches
from kmodels.training.compilation import compile_seconds


@pytest.fixture
def jax_only(backend):
    if backend != "jax":
        pytest.skip("the epoch program is JAX's")


@pytest.mark.usefixtures("jax_only")
@pytest.mark.parametrize("model", ["mlp", "model4"])
def test_losses_and_logits_are_those_of_single_steps(tiny, tmp_path, model):
    # 40 images in steps of 16: the last has 8.
    experiment = replace(tiny, model=model, learning_rate=1e-3, label_smoothing=0.1)
    steps = run(experiment, 0, tmp_path / "steps", verbose=0, on_device=False)
    epochs = run(experiment, 0, tmp_path / "epochs", verbose=0, on_device=True)
    for name in ("loss", "accuracy", "val_loss", "val_accuracy", "learning_rate"):
        assert epochs.history[name] == pytest.approx(steps.history[name], rel=2e-4)
    for split in ("train", "val", "test"):
        ours, theirs = getattr(epochs, split), getattr(steps, split)
        assert ours.examples == theirs.examples
        assert ours.loss == pytest.approx(theirs.loss, rel=1e-3)


@pytest.mark.usefixtures("jax_only")
@pytest.mark.parametrize("batch_size", [16, 13])
@pytest.mark.parametrize("chunk_steps", [1, 2, 1000])
def test_chunks_hold_the_batches_of_the_arrays_in_their_order(chunk_steps, batch_size):
    from kmodels.training.epoch_program import DeviceBatches

    split = load_dataset("synthetic", 16).train
    arrays = ArrayBatches(split, batch_size, seed=3)
    on_device = DeviceBatches(split, batch_size, seed=3, chunk_steps=chunk_steps)
    for epoch in (0, 4):
        arrays.start_epoch(epoch)
        on_device.start_epoch(epoch)
        batches = []
        for i in range(len(on_device)):
            chunk, labels = on_device[i]
            steps = [*chunk["steps"], *([chunk["rest"]] if "rest" in chunk else [])]
            batches += [(chunk["images"][step], labels[step]) for step in steps]
        assert len(batches) == len(arrays) == 3
        for i, (images, labels) in enumerate(batches):
            np.testing.assert_array_equal(images, arrays[i][0])
            np.testing.assert_array_equal(labels, arrays[i][1])


@pytest.mark.usefixtures("jax_only")
def test_nothing_is_compiled_after_the_first_epoch(tiny, tmp_path, monkeypatch):
    from kmodels.training.callbacks import Clock

    seen, end = [], Clock.on_epoch_end

    def note(self, epoch, logs=None):
        end(self, epoch, logs)
        seen.append(compile_seconds())

    monkeypatch.setattr(Clock, "on_epoch_end", note)
    run(replace(tiny, model="mlp", epochs=4), 0, tmp_path, verbose=0, on_device=True)
    assert len(seen) == 4
    # Reading a variable of another shape for the first time is a compilation too, of milliseconds.
    assert seen[-1] == pytest.approx(seen[1], abs=0.02)


@pytest.mark.usefixtures("jax_only")
def test_on_a_cpu_images_are_not_held_on_the_device(backend):
    import jax

    from kmodels.training.epoch_program import fits_on_device

    if jax.devices()[0].platform != "cpu":
        pytest.skip("this is no CPU")
    assert not fits_on_device(load_dataset("synthetic", 16))


@pytest.mark.usefixtures("jax_only")
@pytest.mark.parametrize(("free", "fits"), [(400_000, True), (300_000, False)])
def test_a_gpu_holds_what_takes_a_quarter_of_its_free_memory(monkeypatch, free, fits):
    from types import SimpleNamespace

    from kmodels.training import epoch_program

    dataset = load_dataset("synthetic", 16)
    assert sum(split.images.nbytes for split in (dataset.train, dataset.val, dataset.test)) == 120 * 16 * 16 * 3
    stats = {"bytes_limit": free + 1000, "bytes_in_use": 1000}
    gpu = SimpleNamespace(platform="gpu", memory_stats=lambda: stats)
    monkeypatch.setattr(epoch_program.jax, "local_devices", lambda: [gpu])
    assert epoch_program.fits_on_device(dataset) == fits


def test_images_on_the_device_are_for_jax_and_arrays(tiny, tmp_path):
    if keras.backend.backend() == "jax":
        tiny = replace(tiny, dataset="cifar10", image_size=None, data_loader="stream")
    with pytest.raises(InputError, match="on_device must be None or False except on JAX"):
        run(tiny, 0, tmp_path, on_device=True)
