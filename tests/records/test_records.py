"""Records: refused when they are not whole, averaged over seeds."""

import json
from dataclasses import replace

import pytest
from conftest import make_record

from kmodels import InputError, Published, read_record, read_records
from kmodels.analysis import calibration
from kmodels.records import SCHEMA, with_published, write_record
from kmodels.records.summaries import class_accuracies, summarise


def test_it_reads_back_equal_and_a_repeat_replaces_it(tmp_path):
    path = write_record(make_record(), tmp_path)
    assert read_record(path) == make_record()
    assert write_record(make_record(accuracy=0.75), tmp_path) == path
    assert read_record(path).test.accuracy == 0.75


def test_calibration_and_published_tables_read_back_equal(tmp_path):
    published = Published(per_class_accuracy=(0.5, 0.75), confusion_matrix=((1, 1), (1, 3)))
    experiment = replace(make_record().experiment, published=published, class_fractions=(1, 0.5))
    evaluation = replace(make_record().test, calibration=calibration([0.9, 0.2], [True, False]))
    record = make_record(experiment=experiment, test=evaluation)
    assert read_record(write_record(record, tmp_path)) == record


def test_the_file_is_strict_json(tmp_path):
    text = write_record(make_record(), tmp_path).read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(name))["epochs_run"] == 2


def test_lists_of_numbers_have_a_line_each(tmp_path):
    note = "a text with [\n 1,\n 2\n] in it"
    text = write_record(make_record(source={**make_record().source, "notes": [note]}), tmp_path).read_text()
    assert '\n  "confusion_matrix": [\n   [2,2],\n   [0,0]\n  ]' in text
    assert json.loads(text)["source"]["notes"] == [note]


def test_what_differs_has_another_file():
    base = make_record()
    others = [
        make_record(seed=1),
        make_record(backend="torch"),
        make_record(experiment=replace(base.experiment, epochs=3)),
        make_record(source={**base.source, "sha256": "cd" * 32}),
    ]
    assert len({record.stem for record in [base, *others]}) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot read the record"),
        ("[]", f"not a record of schema {SCHEMA}. Received schema: None"),
        ('{"schema": 99}', "Received schema: 99"),
        (f'{{"schema": {SCHEMA}}}', "is not a whole record: KeyError: 'experiment'"),
        (100_000 * "[", "cannot read the record"),
    ],
)
def test_what_is_no_record_is_named(tmp_path, content, message):
    path = tmp_path / "bad-seed0.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        read_record(path)


def test_an_unknown_status_and_a_missing_folder_are_refused(tmp_path):
    with pytest.raises(InputError, match="status must be one of completed, diverged, interrupted, failed"):
        make_record(status="finished")
    with pytest.raises(InputError, match="the results folder"):
        read_records(tmp_path / "none")


def test_backends_are_not_averaged_together():
    assert len(summarise([make_record(), make_record(backend="torch")])) == 2


def test_seeds_are_averaged_with_their_spread():
    (summary,) = summarise([make_record(0, 0.5), make_record(1, 0.7), make_record(2, status="diverged", test=None)])
    assert summary.mean == pytest.approx(0.6)
    assert summary.spread == pytest.approx(0.1414, abs=1e-4)
    assert len(summary.records) == 2


def test_a_summary_shows_completed_runs_or_else_those_that_diverged():
    lost = [make_record(seed, status="diverged", test=None) for seed in (2, 3)]
    interrupted = make_record(4, status="interrupted", test=None)
    (some,), (none,) = summarise([make_record(), *lost, interrupted]), summarise([*lost, interrupted])
    assert ([record.seed for record in some.runs], some.diverged) == ([0], 2)
    assert ([record.seed for record in none.runs], none.diverged) == ([2, 3], 2)


def test_the_accuracy_of_a_class_is_the_mean_over_the_completed_seeds():
    (summary,) = summarise([make_record(0, 0.5), make_record(1, 0.7), make_record(2, status="interrupted", test=None)])
    # The other class has no test image.
    assert class_accuracies(summary) == [pytest.approx(0.6), None]


def test_other_pixels_and_other_settings_are_other_groups():
    base = make_record()
    other_pixels = make_record(source={**base.source, "sha256": "cd" * 32})
    other_settings = make_record(experiment=replace(base.experiment, epochs=3))
    assert len(summarise([base, other_pixels, other_settings])) == 3


def test_of_a_seed_the_run_counts_whose_network_still_has_a_record():
    network = make_record(network_sha256="bb" * 32)
    head = replace(network.experiment, name="report/head", head="svm", init_from="report/one")
    start = {"network": f"{network.stem.split('/')[-1]}.keras", "taken": (), "drawn": ()}
    current, replaced = (
        make_record(0, accuracy, experiment=head, started_from=start, weights_sha256=digest, started=f"{year}-01-01")
        for accuracy, digest, year in ((0.7, "bb" * 32, 2026), (0.6, "aa" * 32, 2027))
    )
    for records in ([current, replaced], [replaced, current]):
        assert [summary.mean for summary in summarise([network, *records])] == [0.5, 0.7]
        # The newest, where nothing is known of the network.
        assert summarise(records)[0].mean == 0.6


def test_nothing_completed_is_none_and_one_record_has_no_spread():
    (nothing,) = summarise([make_record(status="interrupted", test=None)])
    assert (nothing.mean, nothing.spread, nothing.records) == (None, None, ())
    (one,) = summarise([make_record()])
    assert (one.mean, one.spread) == (0.5, None)


@pytest.mark.parametrize("change", [{"history": None}, {"source": {}}, {"parameters": "x"}, {"val": None}])
def test_a_record_with_a_part_that_cannot_be_is_refused(tmp_path, change):
    path = write_record(make_record(), tmp_path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match="is not a whole record: "):
        read_record(path)


@pytest.mark.parametrize("change", [{"pixels_sha256": "x"}, {"copy": 1}, {"missing": {"train/ship": "many"}}])
def test_a_record_whose_source_cannot_be_is_refused(tmp_path, change):
    path = write_record(make_record(), tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "source": {**content["source"], **change}}))
    with pytest.raises(InputError, match=f"source's {next(iter(change))} must be"):
        read_record(path)


def test_other_first_weights_are_another_file():
    stems = {make_record(weights_sha256=digest).stem for digest in (None, "ab" * 32, "cd" * 32)}
    assert len(stems) == 3


def test_a_network_given_as_a_record_is_told_apart(tmp_path):
    path = tmp_path / "network.keras"
    path.write_bytes(b"PK\x03\x04\xff\xfe")
    with pytest.raises(InputError, match=r"not text.*\.json file"):
        read_record(path)


def test_the_published_numbers_of_today_count_and_settings_stay_those_of_the_run():
    one = make_record().experiment
    run, other = make_record(experiment=replace(one, epochs=3)), make_record(experiment=replace(one, name="mine/one"))
    listed = replace(one, published=Published(test_accuracy=0.9))
    found, left = with_published([run, other], [listed])
    assert found.experiment.published.test_accuracy == 0.9
    assert (found.experiment.epochs, found.stem, found.test) == (3, run.stem, run.test)
    assert left == other
    assert with_published([run], [replace(one, published=None)])[0].experiment.published is None
    # Settings that were allowed once are still those of a record.
    object.__setattr__(run.experiment, "epochs", -1)
    assert with_published([run], [listed])[0].experiment.epochs == -1
