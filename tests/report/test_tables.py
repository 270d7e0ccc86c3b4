"""Tables: published beside measured, a record, its classes."""

from dataclasses import replace
from pathlib import Path

from conftest import make_record

from kmodels import Published
from kmodels.records import write_record
from kmodels.report import tables


def test_a_part_of_the_published_data_is_not_the_published_data():
    part = {**make_record().source, "subset": 5000}
    row = tables.published_against_measured([make_record(source=part)]).splitlines()[2]
    assert row.split()[3:5] == ["(n=1)", "-"]


def test_the_backend_is_named_where_rows_differ_in_it():
    runs = [make_record(0, 0.6), make_record(0, 0.6, backend="torch", status="diverged")]
    for table in (tables.measured, tables.published_against_measured):
        first, second = table(runs).splitlines()[2:]
        assert "one (jax) " in first
        assert "one (torch) " in second
        assert "(jax)" not in table(runs[:1])


def test_changed_settings_are_named_and_not_compared_with_the_published_number():
    listed = make_record().experiment
    changed = make_record(experiment=replace(listed, epochs=3, learning_rate=0.1))
    row = tables.published_against_measured([changed], [listed]).splitlines()[2]
    assert row.split()[:5] == ["one", "60.00", "50.00", "(n=1)", "-"]
    assert row.endswith(", learning_rate=0.1, epochs=3")
    assert "-10.00" in tables.published_against_measured([make_record()], [listed])


def test_a_head_on_a_network_with_changed_settings_is_not_compared(tmp_path):
    network = replace(make_record().experiment, name="report/network")
    head = replace(network, name="report/head", head="tau_norm", init_from=network.name)
    for trained, expected in ((network, "-10.00"), (replace(network, epochs=3), "epochs=3")):
        parent = make_record(experiment=trained)
        start = {"network": f"{Path(parent.stem).name}.keras", "taken": [], "drawn": []}
        child = make_record(experiment=head, started_from=start)
        write_record(parent, tmp_path)
        for records, out in (([parent, child], None), ([child], tmp_path)):
            row = tables.published_against_measured(records, [network, head], out).splitlines()[-1]
            assert row.startswith("head ")
            assert expected in row
            assert ("-10.00" in row) == (trained == network)


def test_published_and_measured_stand_side_by_side():
    text = tables.published_against_measured([make_record(0, 0.5), make_record(1, 0.7)])
    head, _, row = text.splitlines()
    assert "published test %" in head
    assert row.split()[:6] == ["one", "60.00", "60.00", "±", "14.14", "(n=2)"]
    assert "+0.00" in row


def test_a_diverged_run_has_no_difference_and_an_experiment_of_ones_own_no_published_number():
    diverged = make_record(status="diverged", test=None)
    row = tables.published_against_measured([diverged]).splitlines()[2]
    assert row.split()[:5] == ["one", "60.00", "diverged", "(1)", "-"]
    own = replace(make_record().experiment, published=None)
    assert tables.published_against_measured([make_record(experiment=own)]).splitlines()[2].split()[1] == "-"


def test_runs_of_other_backends_and_precisions_have_rows_of_their_own():
    jax = make_record(history={"loss": (1.0, 0.5)})
    torch = replace(jax, backend="torch", status="interrupted", test=None, history={"loss": (1.0,)})
    half = replace(jax, precision="bfloat16", history={"loss": (1.0, 0.5, 0.4)})
    rows = tables.published_against_measured([jax, torch, half]).splitlines()[2:]
    pairs = [("2", "completed"), ("1", "interrupted"), ("3", "completed")]
    assert all(set(pair) <= set(row.split()) for row, pair in zip(rows, pairs, strict=True))
    assert not any("," in row.split("cifar10")[0] for row in rows)


def test_a_published_zero_is_a_number():
    zero = replace(make_record().experiment, published=Published(test_accuracy=0.0))
    row = tables.published_against_measured([make_record(experiment=zero)]).splitlines()[2]
    assert row.split()[1] == "0.00"
    assert "+50.00" in row


def test_classes_are_listed_as_the_report_lists_them():
    matrix = ((487, 513, 0), (0, 0, 0), (1, 0, 999))
    test = replace(make_record().test, confusion_matrix=matrix, examples=2000)
    assert tables.class_listing(make_record(test=test, class_names=("cat", "dog", "ship"))).splitlines() == [
        "Test Accuracy of cat: 48% (487/1000)",
        "Test Accuracy of dog: no image",
        "Test Accuracy of ship: 99% (999/1000)",
        "Test Accuracy (Overall): 74% (1486/2000)",
    ]


def test_a_record_lists_its_classes_in_percent_or_as_its_report_prints_them():
    own = make_record()
    *_, cat, dog = tables.record_text(own).splitlines()
    assert (cat.split(), dog.split()) == (["a", "4", "50.00"], ["b", "0", "-"])
    published = Published(per_class_accuracy=(0.5, 0.6))
    of_report = replace(own, experiment=replace(own.experiment, published=published))
    assert tables.record_text(of_report).endswith(tables.class_listing(own))


def test_a_record_as_text_shows_published_beside_measured():
    text = tables.record_text(make_record())
    assert text.startswith("report/one, seed 0: completed\nmodel4, adam 0.001")
    row = next(line for line in text.splitlines() if line.startswith("test "))
    assert row.split() == ["test", "4", "0.7000", "50.00", "60.00", "-"]
    published = Published(train_accuracy=0.9, val_accuracy=0.8, test_accuracy=0.6)
    text = tables.record_text(make_record(experiment=replace(make_record().experiment, published=published)))
    # The training accuracy that a report prints is another one than ours.
    rows = [line.split() for line in text.splitlines() if line.startswith(("train ", "val ", "test "))]
    assert [row[4] for row in rows] == ["-", "80.00", "60.00"]
    failed = tables.record_text(make_record(status="failed", error="MemoryError: no", train=None, val=None, test=None))
    assert failed.endswith("MemoryError: no")
