"""The sections beside throughput, and the whole from settings to files."""

import json
from dataclasses import replace

import keras
import pytest

from kmodels.bench import callbacks, deterministic, memory, startup
from kmodels.bench.run import bench
from kmodels.bench.settings import Job, Settings
from kmodels.data import synthetic

TINY = Settings(models=("model1",), batch_sizes=(4,), image_size=8, repeats=1, block_seconds=1e-3)


def test_callbacks_are_measured_with_and_without_in_one_process():
    (row,) = callbacks.measure(TINY, False, lambda line: None)
    assert list(row["contenders"]) == ["with callbacks", "without callbacks"]
    for result in row["contenders"].values():
        assert result["error"] is None
        assert len(result["images_per_second"]) == 1
        assert result["images_per_second"][0] > 0


def test_a_processor_is_deterministic_already():
    said = []
    assert list(deterministic.measure(TINY, False, said.append)) == []
    assert "changes nothing on a processor" in said[0]


def test_the_second_process_finds_what_the_first_compiled():
    (row,) = startup.measure(TINY, False, lambda line: None)
    assert row["error"] is None
    (cold,), (warm,) = row["cold"], row["warm"]
    assert cold["process_seconds"] > cold["compile_seconds"] > 0
    assert warm["compile_seconds"] < cold["compile_seconds"]
    assert warm["machine_code_seconds"] < cold["machine_code_seconds"]
    assert 0 < warm["tracing_seconds"] < warm["compile_seconds"]


def test_memory_is_watched_at_the_end_of_every_epoch(monkeypatch):
    # What the worker changes in its process is put back in this one.
    monkeypatch.setattr(keras.Model, "fit", keras.Model.fit)
    monkeypatch.setattr(synthetic, "load", synthetic.load)
    job = replace(Job(model="model1", batch_size=4, image_size=8), epochs=3)
    examples = {"train": 12, "val": 8, "test": 8}
    said = []
    watched = memory.run_and_watch(job, said.append, examples)
    assert len(watched["epoch_bytes"]) == 3
    # The system counts the peak a little otherwise than what is resident now.
    assert watched["peak_bytes"] > 0.9 * watched["framework_bytes"] > 50 * memory.MEBIBYTE
    assert watched["data_bytes"] == 28 * 8 * 8 * 3
    assert "epoch 3 of 3" in said[-1]


def test_a_benchmark_leaves_numbers_and_a_chart(tmp_path):
    said = []
    settings = replace(TINY, contenders=("jax",))
    numbers, picture = bench(settings, tmp_path, said.append)
    assert picture.stat().st_size > 5_000
    written = json.loads(numbers.read_text())
    assert written["settings"]["contenders"] == ["jax"]
    assert written["environment"]["versions"]["jax"]
    (row,) = written["sections"]["throughput"]
    assert len(row["contenders"]["jax"]["images_per_second"]) == 1
    assert row["flops"]["counted"] == "XLA, of the hand-written JAX step"
    assert row["matmul"][0] > 1e8
    assert "\nthroughput: model1, batch 4\ncontender" in said[-1]


@pytest.mark.gpu
def test_on_a_gpu_every_usual_contender_trains_in_both_precisions(tmp_path):
    for precision in ("float32", "bfloat16"):
        settings = replace(TINY, batch_sizes=(512,), precision=precision, sections=("throughput", "deterministic"))
        numbers, _ = bench(settings, tmp_path)
        (row,) = json.loads(numbers.read_text())["sections"]["throughput"]
        assert {"ours", "ours-epoch", "jax", "jax-epoch"} <= set(row["contenders"])
        assert {name: result["error"] for name, result in row["contenders"].items() if result["error"]} == {}
