"""Medians, ratios within a round, and how they are shown."""

import json

import pytest

from kmodels import InputError
from kmodels.bench import tables
from kmodels.bench.contenders import CONTENDERS


def result(*rates, error=None):
    started = {} if error else {"first_step_seconds": 2.0, "second_step_seconds": 0.5}
    return {"images_per_second": list(rates), "error": error, **started}


def shown(section, **row):
    """Lines of the terminal below the heading."""
    results = {"sections": {section: [{"model": "m", "batch_size": 8, **row}]}}
    heading, *lines = tables.text(results).splitlines()
    assert heading == f"{section}: m, batch 8"
    return lines


@pytest.fixture
def contenders():
    return {"jax": result(50, 200, 110), "ours": result(100, 100, 100), "torch": result(error="Error: no")}


def test_a_ratio_is_taken_within_each_round():
    contenders = {"jax": result(50, 50, 400), "ours": result(100, 10, 200)}
    # 2, 0.2 and 0.5. The ratio of the medians is 2.
    assert tables.ratio(contenders, "ours", "jax") == 0.5


def test_the_reference_is_the_faster_of_ours_where_measured(contenders):
    assert tables.reference_of(contenders) == "ours"
    assert tables.reference_of({**contenders, "ours-epoch": result(101)}) == "ours-epoch"
    assert tables.reference_of({**contenders, "ours-epoch": result(error="no")}) == "ours"
    contenders["ours"] = result(error="no")
    assert tables.reference_of(contenders) == "jax"
    assert tables.reference_of({"torch": result(error="no")}) is None


def test_the_table_shows_numbers_and_failures(contenders):
    lines = shown("throughput", contenders=contenders)
    assert lines[2].split()[:6] == ["jax", "110", "50", "200", "0.91", "1.5"]
    assert lines[4].split()[:6] == ["torch", *"-----"]
    assert lines[4].endswith("failed: Error: no")
    # Ours has nothing to be compared with: Keras' own fit was not measured.
    assert len(lines) == 5
    assert shown("throughput", contenders={"ours": result(error="no")})[-1].endswith("failed: no")


def test_ours_is_compared_with_stock_fit_on_each_backend_that_has_both(contenders):
    measured = {
        **contenders,
        "stock-fit": result(100, 50, 25),
        "keras-tensorflow": result(30, 30, 90),
        "stock-fit-tensorflow": result(10, 20, 30),
        "keras-torch": result(10, 20),
        "stock-fit-torch": result(error="no"),
    }
    assert shown("throughput", contenders=measured)[-1] == "ours / stock fit: JAX 2.00, TensorFlow 3.00"
    # Of two on JAX the faster counts.
    both = {"ours": result(1, 1), "ours-epoch": result(6, 8), "stock-fit": result(2, 2)}
    assert shown("throughput", contenders=both)[-1] == "ours / stock fit: JAX 3.50"
    torch = {"keras-torch": result(4), "stock-fit-torch": result(5)}
    assert shown("throughput", contenders=torch)[-1] == "ours / stock fit: PyTorch 0.80"


def test_photographs_have_a_row_for_each_backend(tmp_path):
    rates = {"files": [80, 90], "keras": [40, 30], "memory": [100, 100], "decoding": [400, 400]}
    measured = {"predict": rates, "first": [2.0], "head": {"images": 2000, "seconds": 30.4, "pass_seconds": 25}}
    row = {"model": "m", "batch_size": 8, "backends": {"jax": measured, "tensorflow": measured}}
    environment, settings = {"device": "cpu"}, {"precision": "float32"}
    content = {"started": "1", "environment": environment, "settings": settings, "sections": {"photographs": [row]}}
    (tmp_path / "a.json").write_text(json.dumps(content))
    head, _, *rows = tables.markdown(tables.read_benchmarks(tmp_path)).splitlines()
    assert head.startswith("| device | precision | network | batch | backend | files, images/s |")
    ends = "| 85.0 | 2.50 | 0.85 | 0.80 | 400 | 2.0 | 2,000 | 30 | 25 |"
    assert rows == [f"| cpu | float32 | `m` | 8 | {backend} {ends}" for backend in ("jax", "tensorflow")]


def test_other_sections_are_a_sentence_or_why_there_is_none():
    cold = [{"process_seconds": 8.0, "compile_seconds": 4.0}]
    warm = [{"process_seconds": 4.0, "compile_seconds": 0.5}]
    assert shown("startup", cold=cold, warm=warm) == [
        "compiling takes 4.0 s, in a second process 0.5 s; from the start of a process to the end of the first step "
        "8.0 s and 4.0 s"
    ]
    programs = {name: {"kernels": 1200, "bytes": 3 * 2**20} for name in ("ours-epoch", "jax-epoch", "stock-fit")}
    (line,) = shown("kernels", gpu="G", programs=programs)
    assert line.startswith("a step, compiled and not run: ours-epoch 1,200 kernels, 3 MiB; jax-epoch 1,200")
    assert shown("startup", error="E: no") == ["failed: E: no"]


def test_the_readme_shows_the_last_measurement_of_each(contenders, tmp_path):
    programs = {name: {"kernels": 12, "bytes": 2**20} for name in ("ours-epoch", "jax-epoch", "stock-fit")}
    kernels = {"model": "m", "batch_size": 8, "gpu": "G", "programs": programs}
    failed = {"model": "m", "batch_size": 8, "error": "E: no"}
    contenders["stock-fit"] = result(50, 40, 100)
    for name, day, measured in (("b", 2, contenders), ("a", 1, {"ours": result(1)})):
        content = {
            "started": f"2026-01-0{day}",
            "environment": {"device": "gpu"},
            "settings": {"precision": "float32"},
            "sections": {
                "kernels": [kernels],
                "throughput": [{"model": "m", "batch_size": 8, "contenders": measured}],
                "startup": [failed],
                "a section of before": [{"model": "m", "batch_size": 8, "taken": None}],
            },
        }
        (tmp_path / f"{name}.json").write_text(json.dumps(content))
    assert tables.markdown(tables.read_benchmarks(tmp_path)).splitlines() == [
        "| device | precision | network | batch | `ours` | `jax` | `stock-fit` | `torch` |",
        "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |",
        "| gpu | float32 | `m` | 8 | 100 | **110** (0.91) | 50 (2.00) | - |",
        "",
        *(f"- `{name}`: {CONTENDERS[name].what}" for name in ("ours", "jax", "stock-fit", "torch")),
        "",
        "| section | device | precision | network | batch | measured |",
        "| --- | --- | --- | --- | ---: | --- |",
        "| throughput | gpu | float32 | `m` | 8 | ours / stock fit: JAX 2.00 |",
        "| kernels | G | float32 | `m` | 8 | a step, compiled and not run: ours-epoch 12 kernels, 1 MiB; jax-epoch 12 "
        "kernels, 1 MiB; stock-fit 12 kernels, 1 MiB |",
    ]
    assert tables.markdown([]) == "No benchmark yet."


def test_a_file_that_is_no_benchmark_is_named(tmp_path):
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match=r"cannot read the benchmarks in .*TypeError"):
        tables.read_benchmarks(tmp_path)
