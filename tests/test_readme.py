"""Every Python example of the guides runs as it stands there, on whichever backend is set; the README is short."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds

from kmodels import read_records

ROOT = Path(__file__).parents[1]
GUIDES = [f"{name}README.md" for name in ("", "kmodels/", "experiments/", "experiments/photographs/", "results/bench/")]
README, GUIDE = ((folder / "README.md").read_text() for folder in (ROOT, ROOT / "kmodels"))
# Named by their first lines; each ends with the accuracy of a record.
EXAMPLES = dict(re.findall(r"```python\n# (\w+\.py)[^\n]*\n(.*?)```", GUIDE, re.DOTALL))
(FIRST,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


class Beans(tfds.core.GeneratorBasedBuilder):
    """A set of the same name, version and form as that of tfds, a few images large."""

    name = "beans"
    VERSION = tfds.core.Version("0.1.0")

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(500, 500, 3)),
                "label": tfds.features.ClassLabel(names=["angular_leaf_spot", "bean_rust", "healthy"]),
            }
        )
        return tfds.core.DatasetInfo(builder=self, features=features, supervised_keys=("image", "label"))

    def _split_generators(self, dl_manager):
        sizes = {"train": 60, "validation": 15, "test": 15}
        return {name: self._generate_examples(size) for name, size in sizes.items()}

    def _generate_examples(self, number):
        rng = np.random.default_rng(number)
        for i in range(number):
            yield i, {"image": np.full((500, 500, 3), rng.integers(0, 256, 3), np.uint8), "label": i % 3}


@pytest.fixture(scope="module")
def environment(tmp_path_factory):
    """The environment of a user who has tfds' beans already."""
    folder = tmp_path_factory.mktemp("tfds")
    Beans(data_dir=folder).download_and_prepare()
    return {"TFDS_DATA_DIR": str(folder)}


def run(source, folder, **environment):
    (folder / "example.py").write_text(source)
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_readme_is_short_and_its_links_lead_somewhere():
    assert len(README.split()) <= 1500
    for path in (ROOT / name for name in GUIDES):
        for link in re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text()):
            assert "://" in link or (path.parent / link).exists(), f"{path}: {link}"


def test_the_first_example_trains_a_network_of_your_own(tmp_path):
    assert FIRST.count("\n") <= 11
    *_, accuracy, shape = run(FIRST, tmp_path)
    assert float(accuracy.split()[1]) > 0.9
    assert shape == "(8, 16, 16)"


def test_the_examples_are_there_and_short():
    assert {"network.py", "arrays.py", "tfds_set.py", "augmentation.py", "lion.py", "logs.py"} <= set(EXAMPLES)
    assert max(source.count("\n") for source in EXAMPLES.values()) < 25


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_of_the_guide_runs(name, tmp_path, environment):
    if name == "logs.py":
        pytest.importorskip("tensorboard")
    printed = run(EXAMPLES[name], tmp_path, **environment)
    (record,) = read_records(tmp_path / "results").values()
    assert record.status == "completed"
    # Both ways ended with an accuracy, and the last line has that of the record.
    assert printed[-1].endswith(f"{record.test.accuracy:.3f}")
