"""Medians, ratios within a round, and how they are shown."""

import json

import pytest

from kmodels import InputError
from kmodels.bench import readme, summary, tables
from kmodels.bench.chart import chart
from kmodels.bench.gpu_target import PROGRAMS


def result(*rates, error=None):
    started = {} if error else {"steps": 3, "first_step_seconds": 2.0, "second_step_seconds": 0.5}
    return {"images_per_second": list(rates), "error": error, **started}


def shown(section, *rows):
    rows = [{"model": "m", "batch_size": 8, "error": None, **row} for row in rows]
    return tables.text({"sections": {section: rows}}).splitlines()


@pytest.fixture
def row():
    contenders = {"jax": result(50, 200, 110), "ours": result(100, 100, 100), "torch": result(error="Error: no")}
    flops = {"per_image": 2e6, "counted": "hand", "matmul": 1}
    return {"model": "model4", "batch_size": 8, "contenders": contenders, "flops": flops, "matmul": [9e8, 1e9]}


def test_a_ratio_is_taken_within_each_round(row):
    assert summary.ratios(row["contenders"]["ours"], row["contenders"]["jax"]) == [2, 0.5, 100 / 110]
    assert summary.ratios(row["contenders"]["ours"], row["contenders"]["torch"]) == []


def test_the_reference_is_the_faster_of_ours_where_measured(row):
    assert summary.reference_of(row["contenders"]) == "ours"
    assert summary.reference_of({**row["contenders"], "ours-epoch": result(101)}) == "ours-epoch"
    assert summary.reference_of({**row["contenders"], "ours-epoch": result(error="no")}) == "ours"
    row["contenders"]["ours"]["images_per_second"] = []
    assert summary.reference_of(row["contenders"]) == "jax"
    assert summary.reference_of({"torch": result(error="no")}) is None


def test_achieved_operations_are_a_share_of_the_best_product(row):
    assert summary.achieved(row, "jax") == (pytest.approx(2.2e8), pytest.approx(0.22))
    assert summary.achieved(row, "torch") == (None, None)


def test_growth_is_that_of_the_least_and_not_of_peaks():
    assert summary.growth([1, 5, 9, 9, 10, 14, 19, 10]) == 0
    assert summary.growth([0, 0, 10, 11, 12, 13, 14, 15]) == 1
    assert summary.growth([9, 9, 10, 9]) == -1


def test_the_table_shows_numbers_and_failures(row):
    lines = shown("throughput", row)
    assert lines[3].split()[:8] == ["jax", "110", "50", "200", "0.91", "0", "22.0", "1.5"]
    assert lines[5].endswith("failed: Error: no")
    assert lines[6] == "2 MFLOP to train on an image, counted by hand; peak: 1 GFLOP/s in a product of matrices"
    failed = {"contenders": {"ours": result(error="no")}, "flops": None, "matmul": []}
    assert shown("throughput", failed)[-1].endswith("failed: no")


def test_a_profile_adds_up_kinds_of_layers():
    parts = [
        {"part": "conv1", "kind": "Conv2D", "direction": "forward", "seconds": 0.3},
        {"part": "conv2", "kind": "Conv2D", "direction": "forward", "seconds": 0.1},
        {"part": "conv2", "kind": "Conv2D", "direction": "backward", "seconds": 0.2},
        {"part": "loss", "kind": "loss", "direction": "backward", "seconds": 0.2},
    ]
    taken = {"steps": 10, "seconds": 1.0, "busy_seconds": 0.75, "parts": parts}
    lines = shown("profile", {"taken": taken}, {"taken": None, "error": "E: gone"})
    assert lines[3].split() == ["Conv2D", "40.0", "20.0", "75.0"]
    assert lines[4].split() == ["loss", "-", "20.0", "25.0"]
    assert lines[5].startswith("a step takes 100.0 ms; the device is busy in 75.0 % of it")
    assert lines[-1] == "failed: E: gone"
    line = summary.sentence("profile", {"taken": taken})
    assert line == "Conv2D 75 %, loss 25 %; the device is at work in 75 % of the time"


def test_pairs_starts_and_memory_are_a_sentence_each_or_why_there_is_none():
    pair = {"with callbacks": result(90, 99), "without callbacks": result(100, 100)}
    stages = {"tracing_seconds": 0.25, "lowering_seconds": 0.125, "machine_code_seconds": 0.125}
    cold = [{"process_seconds": 8.0, "compile_seconds": 4.0, **stages}]
    warm = [{"process_seconds": 4.0, "compile_seconds": 0.5, **stages}]
    watched = {"framework_bytes": 2**29, "epoch_bytes": 8 * [2**30], "peak_bytes": 2**30, "data_bytes": 2**20}
    expected = {
        "callbacks": "with callbacks: 0.945 times as fast as without callbacks (0.900 to 0.990)",
        "memory": "512 MiB above the libraries' 512, 1 of them the images; growth over the second half of 8 "
        "epochs: 0.00 MiB an epoch",
        "startup": "compiling takes 4.0 s; in a second process 0.5 s, of it 0.2 s tracing and 0.1 s reading machine "
        "code; from the start of a process to the end of the first step 8.0 s and 4.0 s",
    }
    rows = {"callbacks": {"contenders": pair}, "memory": {"watched": watched}, "startup": {"cold": cold, "warm": warm}}
    for section, row in rows.items():
        assert summary.sentence(section, row) == expected[section]
        assert shown(section, row)[1:] == [expected[section]]
    failed = {"cold": cold, "warm": [], "error": "E: no"}
    assert summary.sentence("startup", failed) == summary.sentence("memory", {"watched": None}) == ""
    assert shown("startup", failed)[1:] == ["failed: E: no"]


def test_the_readme_shows_the_last_measurement_of_each(row, tmp_path):
    counted = {"kernels": 1200, "bytes": 3 * 2**20, "library_calls": 5, "library_bytes": 2**20}
    programs = {name: {"error": "RuntimeError: no"} for name in PROGRAMS}
    programs["ours-epoch"] = {**counted, "temporary_bytes": 2**21, "error": None}
    kernels = {"model": "m", "batch_size": 8, "gpu": "G", "programs": programs}
    lines = shown("kernels", kernels)
    assert lines[3].split() == ["ours-epoch", "1,200", "5", "3", "1", "2"]
    assert lines[4].split() == ["jax-epoch", *"-----", "failed:", "RuntimeError:", "no"]
    memory = {"model": "m", "batch_size": 8, "watched": None}
    for name, day, measured in (("b", 2, row), ("a", 1, {**row, "contenders": {"ours": result(1)}})):
        content = {
            "started": f"2026-01-0{day}",
            "environment": {"device": "gpu"},
            "settings": {"precision": "float32"},
            "sections": {"throughput": [measured], "kernels": [kernels], "memory": [memory]},
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert readme.markdown(readme.read_benchmarks(tmp_path)).splitlines() == [
        "| device | precision | network | batch | `ours` | `jax` | `torch` |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        "| gpu | float32 | `model4` | 8 | **100** | 110 (0.91) | - |",
        "",
        "| compiled for, not run on | precision | network | batch | `ours-epoch` | `jax-epoch` | `stock-fit` "
        "| `deterministic` |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| G | float32 | `m` | 8 | 1,200; 3 MiB | - | - | - |",
    ]
    assert readme.markdown([]) == "No benchmark yet."


def test_a_file_that_is_no_benchmark_is_named(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"cannot read the benchmarks in .*TypeError"):
        readme.read_benchmarks(tmp_path)


def test_in_the_chart_contenders_are_bars_and_the_input_is_a_note():
    contenders = {"ours": result(90, 100, 120), "jax": result(200, 210, 260), "torch": result(), "input": result(9e5)}
    results = {
        "environment": {"device": "cpu (2 cores)"},
        "settings": {"image_size": 32, "precision": "float32", "optimizer": "adam", "repeats": 3},
        "sections": {"throughput": [{"model": "model4", "batch_size": 128, "contenders": contenders}]},
    }
    (axes,) = chart(results).axes
    assert [text.get_text() for text in axes.texts] == ["100", "210   ours / it 0.46"]
    assert axes.get_title() == "model4, batch 128"
    assert axes.get_xlabel() == "images/s (our input pipeline alone: 900,000)"
    results["sections"]["throughput"][0]["contenders"] = {"torch": result()}
    assert chart(results) is None
