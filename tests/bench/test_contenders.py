"""Every contender trains the steps that it says it trained."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from kmodels.bench import callbacks, ours, plain
from kmodels.bench.contenders import CONTENDERS, HELPERS
from kmodels.bench.settings import Job

JOB = Job(model="model1", batch_size=4, image_size=8, epoch_steps=2, program_steps=3, block_seconds=1e-3)


def function_of(name):
    module, function = {**CONTENDERS, **HELPERS}[name].build.split(":")
    return getattr(import_module(module), function)


@pytest.mark.parametrize("name", ["ours", "jax", "stock-fit", "torch", "input"])
def test_a_block_has_the_steps_asked_for_in_whole_epochs(name):
    for package in {**CONTENDERS, **HELPERS}[name].needs:
        pytest.importorskip(package)
    block = function_of(name)(JOB)
    assert block(1).steps == 1
    steps, seconds = block(3)
    assert steps == 4
    assert seconds > 0


@pytest.mark.parametrize("name", ["ours-epoch", "jax-epoch"])
def test_an_epoch_program_trains_whole_epochs(name, backend):
    if name == "ours-epoch" and backend != "jax":
        pytest.skip("an epoch as one program is JAX's")
    steps, seconds = function_of(name)(JOB)(4)
    assert (steps, seconds > 0) == (6, True)


def test_ours_takes_as_many_steps_as_it_says(monkeypatch):
    trainers = []

    def remembered(*arguments):
        trainers.append(build_trainer(*arguments))
        return trainers[-1]

    build_trainer = ours.build_trainer
    monkeypatch.setattr(ours, "build_trainer", remembered)
    block = ours.ours(JOB)
    assert block(3).steps + block(2).steps == int(trainers[0].optimizer.iterations) == 6


def test_callbacks_are_measured_on_the_epoch_program_where_a_run_would_use_it(monkeypatch, backend):
    if backend != "jax":
        pytest.skip("an epoch as one program is JAX's")
    monkeypatch.setattr(ours, "on_gpu_with_jax", lambda: True)
    assert ours.validated(JOB)(4).steps == 6
    compared = callbacks.compare(JOB, print, repeats=2)
    assert [len(result["images_per_second"]) for result in compared.values()] == [2, 2]


def test_precision_reaches_the_network_and_the_product(monkeypatch):
    half = replace(JOB, precision="bfloat16")
    assert ours.build_network(half).get_layer("conv1").compute_dtype == "bfloat16"
    assert plain.step_blocks(half)(2).steps == 2
    monkeypatch.setattr(plain, "matmul_side", lambda job: 32)
    assert plain.matmul_blocks(half)(2).steps == 2


def test_operations_fall_back_to_a_count_by_hand(monkeypatch):
    counted = plain.count_flops(JOB, print)
    monkeypatch.setattr(plain, "training_flops", lambda *arguments: None)
    by_hand = plain.count_flops(JOB, print)
    assert "XLA" in counted["counted"]
    assert "by hand" in by_hand["counted"]
    np.testing.assert_allclose(counted["per_image"], by_hand["per_image"], rtol=0.5)
