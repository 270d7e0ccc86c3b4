"""What is compiled is kept for the next process."""

import os
import subprocess
import sys

import pytest

from kmodels.backend import XLA_DETERMINISTIC

SCRIPT = """
import sys
from kmodels import Experiment, run
experiment = Experiment(
    name="tests/compiled", dataset="synthetic", image_size=16, model="mlp", epochs=1, batch_size=16
)
print(run(experiment, 0, sys.argv[1], verbose=0, again=True).compile_seconds)
"""


KEPT = """
import jax
from kmodels.backend import keep_compiled
keep_compiled()
print(jax.config.jax_persistent_cache_enable_xla_caches)
"""


@pytest.mark.parametrize("chosen", [False, True])
def test_where_results_are_to_repeat_no_choice_of_algorithms_is_taken_from_earlier_runs(tmp_path, backend, chosen):
    if backend != "jax":
        pytest.skip("the cache is JAX's")
    environment = {**os.environ, "KMODELS_CACHE": str(tmp_path), "XLA_FLAGS": XLA_DETERMINISTIC}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    if chosen:
        environment["JAX_COMPILATION_CACHE_DIR"] = str(tmp_path / "users")
    done = subprocess.run([sys.executable, "-c", KEPT], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "none"


@pytest.mark.parametrize("chosen", [False, True])
def test_a_second_process_compiles_nothing_again(tmp_path, backend, chosen):
    if backend != "jax":
        pytest.skip("the cache is JAX's")
    environment = {**os.environ, "KMODELS_CACHE": str(tmp_path / "cache")}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    folder = tmp_path / "cache" / "compiled"
    if chosen:
        folder = tmp_path / "users"
        environment |= {
            "JAX_COMPILATION_CACHE_DIR": str(folder),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }

    def programs():
        subprocess.run([sys.executable, "-c", SCRIPT, str(tmp_path)], env=environment, check=True)
        return sorted(path.name for path in folder.glob("*-cache"))

    first = programs()
    assert any("train_step" in name for name in first)
    if not chosen:
        assert programs() == first
    assert (tmp_path / "cache" / "compiled").exists() != chosen
