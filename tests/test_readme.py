"""What the README shows works as it stands."""

import re

from conftest import ROOT

README = (ROOT / "README.md").read_text()


def test_the_python_example_runs(tmp_path, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert "epochs=10" in code
    assert "seeds=[0, 1, 2]" in code
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(code.replace("epochs=10", "epochs=1").replace("seeds=[0, 1, 2]", "seeds=[5]"), names)
    assert names["heat_maps"].shape == (8, 32, 32)
    assert [record.seed for record in names["records"]] == [5]


def test_every_file_it_names_is_there():
    named = re.findall(r"`((?:kmodels|experiments|results)/[\w./]*)`|\]\((results/[^)#]+)", README)
    paths = [path for pair in named for path in pair if path]
    assert len(paths) > 10
    for path in paths:
        assert (ROOT / path).exists(), path
