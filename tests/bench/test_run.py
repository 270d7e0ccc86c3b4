"""Every contender trains the steps that it says it trained, and every section measures."""

import json
from dataclasses import replace
from importlib import import_module

import keras
import pytest

from kmodels.bench import blocks, photographs, run
from kmodels.bench.contenders import CONTENDERS
from kmodels.bench.settings import Job, Settings
from kmodels.bench.workers import Session, WorkerError

JOB = Job(model="mlp", batch_size=4, image_size=8, epoch_steps=2, program_steps=3, repeats=2, block_seconds=1e-3)
TINY = Settings(models=("mlp",), batch_sizes=(4,), image_size=8, repeats=2, block_seconds=1e-3)


class WorkerInThisProcess:
    """Obeys without a process of its own, which takes seconds to start."""

    def __init__(self, contender, environment=None):
        self.session = Session(contender.build)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.close()

    def close(self):
        pass

    def ask(self, do, **order):
        try:
            return getattr(self.session, do)(**order)
        except Exception as error:
            raise WorkerError(str(error)) from error


@pytest.fixture
def lines(monkeypatch):
    """What a section says; its workers are in this process."""
    monkeypatch.setattr(run, "Worker", WorkerInThisProcess)
    monkeypatch.setattr(blocks, "LEAST_STEPS", 1)
    return []


@pytest.mark.parametrize(
    ("name", "steps"),
    [("ours", 4), ("ours-epoch", 3), ("jax", 4), ("jax-epoch", 3), ("stock-fit", 4), ("torch", 4), ("input", 4)],
)
def test_a_block_has_the_steps_asked_for_in_whole_epochs(name, steps):
    if CONTENDERS[name].backend == "torch":
        pytest.importorskip("torch")
    module, function = CONTENDERS[name].build.split(":")
    done, seconds = getattr(import_module(module), function)(JOB)(3)
    assert done == steps
    assert seconds > 0


def test_ours_takes_as_many_steps_as_it_says():
    from kmodels.bench.ours import fit_blocks, training_of

    training = training_of(replace(JOB, precision="bfloat16"), 2)
    block = fit_blocks(JOB, training)
    assert block(3)[0] + block(2)[0] == int(training.trainer.optimizer.iterations) == 6
    assert training.network.get_layer("dense1").compute_dtype == "bfloat16"


def test_throughput_is_measured_by_turns_and_a_contender_that_fails_stops_no_other(lines, monkeypatch):
    monkeypatch.setitem(CONTENDERS, "stock-fit", CONTENDERS["stock-fit"]._replace(build="builtins:print"))
    results = run.throughput(replace(JOB, contenders=("ours", "jax", "stock-fit")), lines.append)["contenders"]
    assert [len(results[name]["images_per_second"]) for name in ("ours", "jax", "stock-fit")] == [2, 2, 0]
    assert results["ours"]["error"] is None
    assert "not callable" in results["stock-fit"]["error"]
    assert "round 2 of 2, images/s: ours" in lines[-1]


def test_photographs_are_classified_from_files_and_memory_and_by_a_new_process(lines, monkeypatch):
    monkeypatch.setattr(photographs, "STARTS", 1)
    monkeypatch.setattr(photographs, "WIDTH", 64)
    job = replace(JOB, contenders=("ours", "torch"), image_size=16, images=40, num_classes=2)
    measured = run.photographs(job, lines.append)["backends"]["jax"]
    ways = ("files", "memory", "keras", "decoding")
    assert {name: len(rates) for name, rates in measured["predict"].items()} == dict.fromkeys(ways, 2)
    assert measured["head"]["images"] == 40
    assert measured["head"]["seconds"] > 0 < measured["head"]["pass_seconds"]
    assert 0 < measured["first"][0] < 60
    assert "Keras' predict, in memory" in lines[-1]


def net_without_twin(input_shape, num_classes):
    """What `test_a_network_without_a_twin_is_compared_with_stock_fit` measures."""
    image = keras.Input(input_shape)
    x = keras.layers.Softmax(name="unknown")(keras.layers.Flatten()(image))
    return keras.Model(image, keras.layers.Dense(num_classes)(x))


def test_a_network_without_a_twin_is_compared_with_stock_fit(lines):
    job = replace(JOB, model=f"{__name__}:net_without_twin", contenders=("ours", "jax", "stock-fit"))
    results = run.throughput(job, lines.append)["contenders"]
    assert [name for name, result in results.items() if result["images_per_second"]] == ["ours", "stock-fit"]
    assert "'unknown', a Softmax, is not one that the hand-written networks know" in results["jax"]["error"]
    assert any("jax failed: layer 'unknown', a Softmax" in line for line in lines)


def test_a_start_is_measured_with_an_empty_and_with_a_filled_cache(lines):
    found = run.startup(replace(JOB, repeats=1), lines.append)
    for (start,) in found.values():
        assert start["process_seconds"] > start["compile_seconds"] >= 0
    assert [line.split()[0] for line in lines] == ["cold", "warm"]


@pytest.mark.slow
def test_the_second_process_finds_what_the_first_compiled():
    found = run.startup(replace(JOB, model="model1", repeats=1), print)
    (cold,), (warm,) = found["cold"], found["warm"]
    assert 0 < warm["compile_seconds"] < cold["compile_seconds"]


def test_a_benchmark_leaves_numbers(tmp_path, lines):
    numbers = bench_tiny(tmp_path, lines, contenders=("jax",))
    assert numbers["settings"]["contenders"] == ["jax"]
    assert numbers["environment"]["versions"]["jax"]
    (row,) = numbers["sections"]["throughput"]
    assert len(row["contenders"]["jax"]["images_per_second"]) == 1
    assert "\nthroughput: mlp, batch 4\ncontender" in lines[-1]


def test_a_failed_worker_fails_its_section_only(tmp_path, lines):
    numbers = bench_tiny(tmp_path, lines, models=("alexnet",), sections=("startup", "throughput"), contenders=("jax",))
    (startup,), (throughput,) = numbers["sections"].values()
    assert "at least 63x63" in startup["error"]
    assert "at least 63x63" in throughput["contenders"]["jax"]["error"]
    assert "startup: alexnet, batch 4\nfailed: " in lines[-1]


def bench_tiny(folder, lines, **settings):
    return json.loads(run.bench(replace(TINY, repeats=1, **settings), folder, lines.append).read_text())


@pytest.mark.gpu
def test_on_a_gpu_every_usual_contender_trains_in_both_precisions(tmp_path):
    for precision in ("float32", "bfloat16"):
        settings = replace(TINY, models=("model1",), batch_sizes=(512,), precision=precision)
        (row,) = json.loads(run.bench(settings, tmp_path).read_text())["sections"]["throughput"]
        assert {"ours", "ours-epoch", "jax", "jax-epoch"} <= set(row["contenders"])
        assert {name: result["error"] for name, result in row["contenders"].items() if result["error"]} == {}


def test_calibration_finds_the_steps_of_a_block():
    asked = []

    def block(steps):
        asked.append(steps)
        return steps, 0.01 * steps

    assert blocks.calibrate(block, 2.0) == 200
    assert asked == [1, 8, 64, 256]


@pytest.mark.parametrize(("step_seconds", "steps"), [(0.01, 100), (0.5, 8), (1.2, 8), (5.0, 2), (60.0, 1)])
def test_slow_steps_are_not_timed_one_by_one(step_seconds, steps):
    assert blocks.calibrate(lambda asked: (asked, step_seconds * asked), 1.0) == steps


@pytest.mark.parametrize(("steps", "most", "expected"), [(1, 20, (1, 1)), (20, 20, (1, 20)), (21, 20, (2, 11))])
def test_epochs_hold_at_least_the_steps_asked_for(steps, most, expected):
    asked = []
    blocks.in_epochs(lambda *epochs_and_steps: asked.append(epochs_and_steps), most)(steps)
    assert asked == [expected]
