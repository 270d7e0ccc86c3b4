"""A disk that is full costs no result."""

import os
from dataclasses import replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from conftest import small_disk

from kmodels import InputError, read_record, run
from kmodels.models.saving import load_network, weights_checksum

jobs = import_module("kmodels.training.job")


@pytest.fixture
def full(monkeypatch):
    """Refuses to write networks into a folder while `blocked` says so."""
    save = jobs.save_network

    def full(folder, blocked):
        def refuse(network, path, about=None):
            if Path(path).is_relative_to(folder) and blocked():
                raise InputError(f"cannot write {path}: No space left on device")
            return save(network, path)

        monkeypatch.setattr(jobs, "save_network", refuse)

    return full


def test_the_network_takes_the_space_of_the_checkpoint(tiny, tmp_path, full, capsys):
    out = tmp_path / "out"
    full(out, lambda: list(out.rglob("*.checkpoint")))
    record = run(tiny, 0, out, verbose=0)
    network = out / f"{record.stem}.keras"
    assert read_record(out / f"{record.stem}.json") == record
    assert record.network_sha256 == weights_checksum(network)
    assert list(out.rglob("*.checkpoint")) == []
    assert "No space left" in capsys.readouterr().out


def test_a_network_that_fits_nowhere_in_the_results_is_elsewhere_and_that_is_said(tiny, tmp_path, full, capsys):
    out = tmp_path / "out"
    full(out, lambda: True)
    record = run(tiny, 0, out, verbose=0)
    assert read_record(out / f"{record.stem}.json") == record
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("the network is in ")]
    spare = Path(line.removeprefix("the network is in "))
    assert load_network(spare).count_params() == record.parameters
    assert record.network_sha256 == weights_checksum(spare)
    spare.unlink()


# The network of this run takes about 150 KiB, its record 5, a checkpoint three times the network.
@pytest.mark.slow
@pytest.mark.parametrize("kibibytes", [16, 100, 250, 500, 700])
def test_on_a_small_disk_record_and_network_are_somewhere(tiny, tmp_path, kibibytes, capsys):
    whole = run(tiny, 0, tmp_path / "whole", verbose=0)
    with small_disk(tmp_path / "small", kibibytes) as out:
        record = run(tiny, 0, out, verbose=0)
        printed = capsys.readouterr().out
        assert record.status == "completed"
        assert record.history["loss"] == whole.history["loss"]
        places = [
            out / record.stem,
            *(Path(line.split(" is in ")[1]) for line in printed.splitlines() if " is in " in line),
        ]
        records = [place.with_suffix(".json") for place in places if place.with_suffix(".json").is_file()]
        networks = [place.with_suffix(".keras") for place in places if place.with_suffix(".keras").is_file()]
        assert [read_record(path).test for path in records] == [record.test]
        assert len(networks) == 1
        expected = load_network(tmp_path / "whole" / f"{whole.stem}.keras").get_weights()
        for one, other in zip(load_network(networks[0]).get_weights(), expected, strict=True):
            assert np.array_equal(one, other)
        # What could not be written leaves nothing behind.
        left = {path.suffix for path in out.rglob("*") if path.is_file()}
        assert left <= {".json", ".keras", ".npz"}
        for path in [*records, *networks]:
            if not path.is_relative_to(out):
                path.unlink()


def test_an_interrupted_run_on_a_full_disk_still_says_where_its_epochs_are(tiny, tmp_path, monkeypatch, capsys):
    from kmodels.data.batches import EpochOrder

    def interrupt(self, epoch, logs=None):
        if epoch:
            raise KeyboardInterrupt

    write = jobs.write_record

    def refuse(record, out):
        if Path(out) == tmp_path:
            raise InputError("cannot write: No space left on device")
        return write(record, out)

    monkeypatch.setattr(EpochOrder, "on_epoch_begin", interrupt)
    monkeypatch.setattr(jobs, "write_record", refuse)
    with pytest.raises(KeyboardInterrupt, match="the finished epoch is in") as raised:
        run(replace(tiny, epochs=3), 0, tmp_path, verbose=0)
    path = Path(str(raised.value).split(" is in ")[1].split(";")[0])
    assert read_record(path).epochs_run == 1
    os.unlink(path)


def test_an_interrupt_between_record_and_network_leaves_both_and_says_where(tiny, tmp_path, full, capsys, monkeypatch):
    def interrupt(job, training):
        raise KeyboardInterrupt

    full(tmp_path, lambda: True)
    monkeypatch.setattr(jobs.Job, "clean_up", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run(tiny, 0, tmp_path, verbose=0)
    (path,) = tmp_path.rglob("*-seed0.json")
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("the network is in ")]
    spare = Path(line.removeprefix("the network is in "))
    assert read_record(path).network_sha256 == weights_checksum(spare)
    spare.unlink()
