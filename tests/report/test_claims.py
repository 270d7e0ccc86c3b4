"""Claims: kept, broken or open, by the interval over the seeds; and in words that say on which images."""

from dataclasses import replace

import pytest
from test_markdown import FOLDER
from test_records import make

from kmodels import Published
from kmodels.report import claim_tables, claims
from kmodels.report.claims import BROKEN, KEPT, OPEN, Bound, Claim, beats, equals, judge

ONE = replace(make().experiment, name="report/one", published=Published(test_accuracy=0.6, train_accuracy=0.9))
TWO = replace(ONE, name="report/two", published=Published(test_accuracy=0.55))


def runs(experiment, *accuracies, **changes):
    return [make(seed, accuracy, experiment=experiment, **changes) for seed, accuracy in enumerate(accuracies)]


def outcome(bound, *records):
    (verdict,) = judge([Claim("It is so.", (bound,))], records)
    return verdict.outcome


@pytest.mark.parametrize(
    ("others", "expected"),
    [((0.50, 0.51, 0.52), KEPT), ((0.70, 0.71, 0.72), BROKEN), ((0.58, 0.60, 0.62), OPEN), ((0.5,), OPEN)],
)
def test_a_difference_is_judged_by_its_interval_over_the_seeds(others, expected):
    assert outcome(beats(ONE, TWO), *runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, *others)) == expected


def test_a_difference_must_be_as_large_as_claimed():
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.56, 0.55, 0.57))
    assert outcome(beats(ONE, TWO, by=1), *records) == KEPT
    assert outcome(beats(ONE, TWO, by=8), *records) == BROKEN
    assert outcome(beats(ONE, TWO, by=4), *records) == OPEN


def test_equal_means_that_the_whole_interval_is_near():
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.60, 0.61, 0.60))
    assert outcome(equals(ONE, TWO, within=4), *records) == KEPT
    assert outcome(equals(ONE, TWO, within=1), *records) == OPEN


def test_a_number_of_one_experiment_is_judged_too():
    assert outcome(Bound(of=ONE, most=30), *runs(ONE, 0.2, 0.21)) == KEPT
    assert outcome(Bound(of=ONE, least=30), *runs(ONE, 0.2, 0.21)) == BROKEN
    # The same every time: the interval is that number.
    assert outcome(Bound(of=ONE, most=20), *runs(ONE, 0.2, 0.2)) == KEPT


def test_a_claim_is_kept_where_all_of_it_is_and_broken_where_a_part_is():
    records = (*runs(ONE, 0.60, 0.61), *runs(TWO, 0.30, 0.31))
    kept, broken = beats(ONE, TWO), Bound(of=ONE, most=10)
    missing = beats(ONE, replace(TWO, name="report/three"))

    def of(*bounds):
        (verdict,) = judge([Claim("So.", bounds)], records)
        return verdict.outcome, len(verdict.findings)

    assert of(kept) == (KEPT, 1)
    assert of(kept, broken) == (BROKEN, 2)
    assert of(kept, missing) == (OPEN, 1)
    assert judge([Claim("So.", (missing,))], records) == []


def test_only_runs_on_the_same_images_and_changed_alike_are_compared():
    claim = Claim("It is so.", (beats(ONE, TWO),))
    short = [replace(experiment, epochs=3) for experiment in (ONE, TWO)]
    records = (
        *runs(ONE, 0.6),
        *runs(TWO, 0.5, source=FOLDER),
        *runs(short[0], 0.2, source=FOLDER),
        *runs(short[1], 0.3, source=FOLDER),
    )
    (verdict,) = judge([claim], records)
    assert verdict.images == "cifar10 (image folder, JPEG), 8x8 pixels, epochs=3"
    assert not verdict.as_published
    assert verdict.findings[0].value == pytest.approx(-10)


def test_a_head_is_compared_with_the_network_of_its_features():
    parent = replace(ONE, epochs=3)
    head = replace(ONE, name="report/head", head="svm", init_from="report/one")
    base = runs(parent, 0.5)[0]
    record = runs(head, 0.6, started_from={"network": f"{base.stem.split('/')[-1]}.keras", "taken": (), "drawn": ()})
    (verdict,) = judge([Claim("It is so.", (beats(head, ONE),))], [base, *record])
    assert "epochs=3" in verdict.images
    assert verdict.findings[0].value == pytest.approx(10)


def test_measures_of_a_run():
    history = {"val_loss": (1.0, 0.5, 0.7, None), "val_accuracy": (0.2, 0.5, 0.7, 0.71)}
    record = make(history=history, best_epoch=2)
    assert claims.UNREST.of(record) == pytest.approx(0.35)
    assert claims.epochs_to(0.9).of(record) == 3
    assert claims.BEST_EPOCH.of(record) == 2
    assert claims.PARAMETERS.of(record) == pytest.approx(7e-6)
    trained = replace(record.train, accuracy=0.9)
    assert claims.GENERALISATION_GAP.of(replace(record, train=trained)) == pytest.approx(40)
    classes = replace(record.test, per_class_accuracy=(0.5, 0.4, 0.8))
    harder = claims.lead_of_others("a", "b")
    assert harder.of(replace(record, test=classes, class_names=("a", "b", "c"))) == pytest.approx(30)


def test_words_say_what_was_measured_expected_and_published():
    claim, other = Claim("One beats two.", (beats(ONE, TWO, by=2.5),)), Claim("Nobody knows.", (Bound(of=TWO, most=1),))
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.50, 0.51, 0.49))
    alone = replace(TWO, name="report/never")
    asked = [claim, other._replace(bounds=(Bound(of=alone, most=1),))]
    rows = claim_tables.rows(asked, judge(asked, records))
    assert claim_tables.text(rows).splitlines() == [
        "One beats two.",
        "  confirmed: cifar10 (tfds), 8x8 pixels",
        "    one minus two: +10.00 [+7.73, +12.27]; expected: at least +2.5 (published +5.00); seeds: 3",
        "Nobody knows.",
        "  not measured",
    ]
    assert claim_tables.markdown(rows).splitlines()[-1] == "| Nobody knows. | not measured |  |  |  |  |"


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (beats(ONE, TWO), "at least 0 (published +5.00)"),
        (equals(ONE, TWO, within=1), "-1 to +1 (published +5.00)"),
        (Bound(of=ONE, most=65), "at most 65 (published 60.00)"),
        (Bound(of=ONE, measure=claims.GENERALISATION_GAP, least=3), "at least 3 (published 30.00)"),
        (Bound(of=ONE, over=TWO, measure=claims.GENERALISATION_GAP, most=0), "at most 0"),
    ],
)
def test_what_is_expected_in_words(bound, expected):
    finding = claims.Finding(bound, 1, 0.0, None, None, OPEN)
    verdict = claims.Verdict(Claim("So.", (bound,)), "images", False, (finding,), OPEN)
    (row,) = claim_tables.rows([verdict.claim], [verdict])
    assert row.expected == (expected,)
    assert row.verdict == "open there"


def test_a_table_for_each_report_is_written_and_shown_with_its_results(tmp_path):
    from kmodels.report.markdown import results_page

    records = [*runs(ONE, 0.60, 0.61), *runs(TWO, 0.30, 0.31)]
    judged = claim_tables.write_claims([Claim("One beats two.", (beats(ONE, TWO),))], records, tmp_path)
    assert list(judged) == ["report"]
    assert "| One beats two. | confirmed |" in (tmp_path / "report" / "claims.md").read_text()
    assert "| One beats two. | confirmed |" in results_page(records, tmp_path)
