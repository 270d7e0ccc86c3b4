"""Medians, ratios within a round, tables."""

import json

import pytest

from kmodels import InputError
from kmodels.bench import readme, summary, tables


def result(*rates, error=None):
    started = {} if error else {"steps": 3, "first_step_seconds": 2.0, "second_step_seconds": 0.5}
    return {"images_per_second": list(rates), "error": error, **started}


@pytest.fixture
def row():
    contenders = {"jax": result(50, 200, 110), "ours": result(100, 100, 100), "torch": result(error="Error: no")}
    flops = {"per_image": 2e6, "counted": "XLA, of the hand-written JAX step", "matmul": 1}
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


def test_a_warm_start_is_compared_with_a_cold_one():
    starts = {
        "cold": [{"process_seconds": 8.0, "compile_seconds": 4.0}],
        "warm": [{"process_seconds": 4.0, "compile_seconds": 0.5}],
    }
    row = {"model": "m", "batch_size": 8, "error": None, **starts}
    assert tables.text({"sections": {"startup": [row]}}).splitlines()[-1].split() == [
        "warm",
        "/",
        "cold",
        "0.50",
        "0.12",
        *3 * "-",
    ]


def test_the_table_shows_numbers_and_failures(row):
    lines = tables.text({"sections": {"throughput": [row]}}).splitlines()
    assert lines[0] == "throughput: model4, batch 8"
    assert lines[3].split()[:8] == ["jax", "110", "50", "200", "0.91", "0", "22.0", "1.5"]
    assert lines[5].endswith("failed: Error: no")
    assert lines[6].startswith(
        "2 MFLOP to train on an image, counted by XLA, of the hand-written JAX step; peak: 1 GFL"
    )


def test_where_all_failed_the_table_says_why():
    row = {"model": "m", "batch_size": 8, "contenders": {"ours": result(error="no")}, "flops": None, "matmul": []}
    assert "failed: no" in tables.text({"sections": {"throughput": [row]}})


def test_pairs_starts_and_memory_are_shown():
    pair = {"with callbacks": result(90, 99), "without callbacks": result(100, 100)}
    starts = {"cold": [{"process_seconds": 9.0, "compile_seconds": 4.0}], "warm": [], "error": "E: no"}
    watched = {"framework_bytes": 2**29, "epoch_bytes": 6 * [2**30], "peak_bytes": 2**30, "data_bytes": 2**20}
    found = tables.text(
        {
            "sections": {
                "callbacks": [{"model": "m", "batch_size": 8, "contenders": pair}],
                "startup": [{"model": "m", "batch_size": 8, **starts}],
                "memory": [
                    {"model": "m", "batch_size": 8, "watched": watched, "error": None},
                    {"model": "n", "batch_size": 8, "watched": None, "error": "E: gone"},
                ],
            }
        }
    )
    assert "with callbacks / without callbacks, within a round: 0.945 (0.900 to 0.990)" in found
    assert [line.split() for line in found.splitlines() if line.startswith(("cold", "warm"))] == [
        ["cold", "9.00", "4.00", "-", "-", "-"],
        ["warm", "-", "-", "-", "-", "-"],
        ["warm", "/", "cold", "-", "-", "-", "-", "-"],
    ]
    sizes = [line.rsplit(maxsplit=1) for line in found.splitlines()]
    assert ["more after 6 epochs", "512"] in sizes
    assert ["growth an epoch, over the second half", "0.00"] in sizes
    assert found.endswith("memory: n, batch 8\nfailed: E: gone")


def test_the_readme_shows_the_last_measurement_of_each(row, tmp_path):
    settings = {"precision": "float32"}
    files = [("b", "2026-01-02", row), ("a", "2026-01-01", {**row, "contenders": {"ours": result(1)}})]
    for name, started, measured in files:
        content = {
            "started": started,
            "environment": {"device": "gpu"},
            "settings": settings,
            "sections": {"throughput": [measured]},
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert readme.markdown(readme.read_benchmarks(tmp_path)).splitlines() == [
        "| device | precision | network | batch | `ours` | `jax` | `torch` |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: |",
        "| gpu | float32 | `model4` | 8 | **100** | 110 (0.91) | - |",
    ]
    assert readme.markdown([]) == "No benchmark yet."


def test_the_readme_says_what_else_was_measured():
    watched = {"framework_bytes": 2**29, "epoch_bytes": 8 * [2**30], "peak_bytes": 2**30, "data_bytes": 2**20}
    parts = [
        {"part": "conv1", "kind": "Conv2D", "direction": "forward", "seconds": 0.3},
        {"part": "pool1", "kind": "MaxPooling2D", "direction": "backward", "seconds": 0.1},
    ]
    stages = {"tracing_seconds": 0.25, "lowering_seconds": 0.125, "machine_code_seconds": 0.125}
    start = {"cold": [{"process_seconds": 8.0, "compile_seconds": 4.0, **stages}], "error": None}
    rows = {
        "callbacks": {"contenders": {"with callbacks": result(90, 99), "without callbacks": result(100, 100)}},
        "startup": {**start, "warm": [{"process_seconds": 4.0, "compile_seconds": 0.5, **stages}]},
        "memory": {"watched": watched, "error": None},
        "profile": {"taken": {"steps": 10, "seconds": 1.0, "busy_seconds": 0.75, "parts": parts}, "error": None},
    }
    results = {
        "environment": {"device": "cpu"},
        "settings": {"precision": "float32"},
        "sections": {name: [{"model": "m", "batch_size": 8, **row}] for name, row in rows.items()},
    }
    lines = readme.markdown([results]).splitlines()
    assert lines[0] == "| what | device | precision | network | batch | measured |"
    said = {line.split(" | ")[0].strip("| "): line.split(" | ")[-1].strip("| ") for line in lines[2:]}
    assert said == {
        "callbacks": "with callbacks: 0.945 times as fast as without callbacks (0.900 to 0.990)",
        "memory": "512 MiB above the libraries' 512, 1 of them the images; growth over the second half of 8 "
        "epochs: 0.00 MiB an epoch",
        "profile": "Conv2D 75 %, MaxPooling2D 25 %; the device is at work in 75 % of the time",
        "startup": "compiling takes 4.0 s; in a second process 0.5 s, of it 0.2 s tracing and 0.1 s reading machine "
        "code; from the start of a process to the end of the first step 8.0 s and 4.0 s",
    }
    results["sections"]["startup"] = [{"model": "m", "batch_size": 8, **start, "warm": []}]
    results["sections"] = {"startup": results["sections"]["startup"]}
    assert readme.markdown([results]) == "No benchmark yet."


def test_a_file_that_is_no_benchmark_is_named(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"cannot read the benchmarks in .*TypeError"):
        readme.read_benchmarks(tmp_path)
