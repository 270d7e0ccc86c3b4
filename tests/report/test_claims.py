"""Claims: kept, broken or open, by the interval over the seeds; and in words that say on which images."""

from dataclasses import replace

import pytest
from scipy import stats
from test_markdown import FOLDER
from test_records import make

from kmodels import Published
from kmodels.report import claim_tables, claims, verdicts
from kmodels.report.claims import Bound, Claim, beats, equals
from kmodels.report.verdicts import BROKEN, KEPT, OPEN, judge

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


def test_numbers_without_spread_need_three_runs_and_a_tie_beats_nobody():
    assert outcome(Bound(of=ONE, most=30), *runs(ONE, 0.2, 0.2)) == OPEN
    assert outcome(Bound(of=ONE, most=30), *runs(ONE, 0.2, 0.2, 0.2)) == KEPT
    tied = (*runs(ONE, 0.2, 0.2, 0.2), *runs(TWO, 0.2, 0.2, 0.2))
    assert outcome(beats(ONE, TWO), *tied) == OPEN
    assert outcome(beats(ONE, TWO), *runs(ONE, 0.3, 0.3, 0.3), *runs(TWO, 0.2, 0.21, 0.2)) == KEPT
    # The same for every seed, by its nature.
    assert outcome(Bound(of=ONE, measure=claims.PARAMETERS, most=1), *runs(ONE, 0.2)) == KEPT


def test_the_interval_is_welchs():
    # Unequal numbers and variances, where Student's pooled one is another: scipy.stats.ttest_ind(equal_var=False).
    numbers = [[60.0, 61.0, 59.0, 60.5], [50.0, 58.0]]
    low, high = verdicts._interval(numbers, 0.95, exact=False)
    reference = stats.ttest_ind(*numbers, equal_var=False).confidence_interval(0.95)
    assert (low, high) == pytest.approx((reference.low, reference.high))
    low, high = verdicts._interval(numbers[:1], 0.95, exact=False)
    reference = stats.ttest_1samp(numbers[0], 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((reference.low, reference.high))


def test_one_of_many_bounds_must_be_broken_the_more_surely():
    # Broken by itself, at 95 %; not at 99.4 %, as one of eight.
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.625, 0.63, 0.62))
    alone = beats(ONE, TWO)
    assert outcome(alone, *records) == BROKEN
    (verdict,) = judge([Claim("So.", (alone, *7 * (Bound(of=ONE, least=1),)))], records)
    assert verdict.findings[0].outcome == OPEN
    assert verdict.outcome == OPEN


def test_a_run_without_an_outcome_leaves_it_open_and_is_counted():
    lost = make(2, experiment=ONE, status="diverged", test=None)
    records = (*runs(ONE, 0.60, 0.61), lost, *runs(TWO, 0.30, 0.31))
    (verdict,) = judge([Claim("So.", (beats(ONE, TWO),))], records)
    assert (verdict.outcome, verdict.findings[0].diverged) == (OPEN, 1)
    assert claim_tables.rows([verdict.claim], [verdict])[0].seeds == ("2, 1 diverged",)


def test_an_experiment_that_only_diverged_is_open_and_not_unmeasured():
    lost = [make(seed, experiment=ONE, status="diverged", test=None) for seed in (0, 1)]
    claim = Claim("So.", (beats(ONE, TWO),))
    (verdict,) = judge([claim], [*lost, *runs(TWO, 0.30, 0.31)])
    assert verdict.outcome == OPEN
    (row,) = claim_tables.rows([claim], [verdict])
    assert (row.measured, row.seeds) == (("one minus two: diverged",), ("0, 2 diverged",))


def test_a_completed_run_counts_before_a_newer_one_that_diverged():
    newer = make(0, experiment=ONE, status="diverged", test=None, started="2027-01-01T00:00:00+00:00")
    (verdict,) = judge([Claim("So.", (Bound(of=ONE, least=1),))], [*runs(ONE, 0.5), newer])
    assert (verdict.findings[0].seeds, verdict.findings[0].diverged) == (1, 0)


def test_a_seed_counts_once_by_its_newest_run_whichever_backend():
    older = make(0, 0.1, experiment=ONE, backend="torch", started="2025-01-01T00:00:00+00:00")
    (verdict,) = judge([Claim("So.", (Bound(of=ONE, least=1),))], [*runs(ONE, 0.5), older])
    assert (verdict.findings[0].seeds, verdict.findings[0].value) == (1, 50)


@pytest.mark.parametrize(
    "changes",
    [{"image_size": 16}, {"dataset": "cifar100"}, {"epochs": 3}, {"subset": 100}],
    ids=lambda changes: next(iter(changes)),
)
def test_only_the_reports_own_images_and_settings_are_as_published(changes):
    source = {**make().source, "subset": 100} if "subset" in changes else make().source
    records = [make(0, 0.5, experiment=replace(ONE, **changes), source=source)]
    (verdict,) = judge([Claim("So.", (Bound(of=ONE, least=1),))], records)
    assert not verdict.as_published


def test_options_of_the_network_are_compared_one_by_one():
    dropped = replace(TWO, model_options={"dropout": 0.3})
    claim = Claim("So.", (beats(dropped, ONE),))
    both = {"hidden": (64,)}
    runs_of = [runs(replace(one, model_options={**one.model_options, **both}), 0.5) for one in (dropped, ONE)]
    (verdict,) = judge([claim], [*runs_of[0], *runs_of[1]])
    assert verdict.images.endswith("hidden=(64,)")
    # Made equal in what the claim is about.
    same = [runs(replace(one, model_options={"dropout": 0.1}), 0.5) for one in (dropped, ONE)]
    assert judge([claim], [*same[0], *same[1]]) == []


def test_what_a_network_started_from_belongs_to_the_images():
    start = {"network": "jax-12345678-cd-seed0.keras", "taken": (), "drawn": ()}
    tuned = replace(ONE, init_from="report/two")
    claim = Claim("So.", (Bound(of=tuned, least=1),))
    (verdict,) = judge([claim], runs(tuned, 0.5, started_from=start))
    assert verdict.images.endswith("from a network without a record")
    assert not verdict.as_published
    (parent,) = runs(TWO, 0.5, source=FOLDER)
    start = {**start, "network": f"{parent.stem.split('/')[-1]}.keras"}
    (verdict,) = judge([claim], [parent, *runs(tuned, 0.5, started_from=start)])
    assert verdict.images.endswith("from report/two on cifar10 (image folder, JPEG), 8x8 pixels")
    assert not verdict.as_published


def test_experiments_that_were_made_equal_say_nothing():
    longer = replace(TWO, epochs=80)
    claim = Claim("More epochs are better.", (beats(longer, ONE),))
    cut = [replace(experiment, epochs=5) for experiment in (ONE, longer)]
    assert judge([claim], [*runs(cut[0], 0.5, 0.51), *runs(cut[1], 0.6, 0.61)]) == []
    stops = Claim("It stops early.", (Bound(of=ONE, measure=claims.BEST_EPOCH, most=9),))
    assert judge([stops], runs(cut[0], 0.5)) == []


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
    # Whichever weights were kept.
    for best_epoch in (2, 4):
        assert claims.BEST_EPOCH.of(replace(record, best_epoch=best_epoch)) == 2
    for losses in ((None, None), ()):
        assert claims.BEST_EPOCH.of(replace(record, history={"val_loss": losses})) is None
    assert claims.PARAMETERS.of(record) == pytest.approx(7e-6)
    trained = replace(record.train, accuracy=0.9)
    assert claims.GENERALISATION_GAP.of(replace(record, train=trained)) == pytest.approx(40)
    classes = replace(record.test, per_class_accuracy=(0.5, 0.4, 0.8))
    harder = claims.lead_of_others("a", "b")
    named = replace(record, test=classes, class_names=("a", "b", "c"))
    assert harder.of(named) == pytest.approx(30)
    assert claims.lead_of_others("a", "z").of(named) is None
    assert harder.of(replace(named, test=replace(classes, per_class_accuracy=(0.5, 0.4, None)))) is None


def test_words_say_what_was_measured_expected_and_published():
    claim, other = Claim("One beats two.", (beats(ONE, TWO, by=2.5),)), Claim("Nobody knows.", (Bound(of=TWO, most=1),))
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.50, 0.51, 0.49))
    alone = replace(TWO, name="report/never")
    asked = [claim, other._replace(bounds=(Bound(of=alone, most=1),))]
    rows = claim_tables.rows(asked, judge(asked, records))
    assert claim_tables.text(rows).splitlines() == [
        "One beats two.",
        "  confirmed: cifar10 (tfds), 8x8 pixels",
        "    one minus two: +10.00 [+7.73, +12.27]; expected: above +2.5 (published +5.00); seeds: 3",
        "Nobody knows.",
        "  not measured",
    ]
    assert claim_tables.markdown(rows).splitlines()[-1] == "| Nobody knows. | not measured |  |  |  |  |"


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (beats(ONE, TWO), "above 0 (published +5.00)"),
        (equals(ONE, TWO, within=1), "-1 to +1 (published +5.00)"),
        (Bound(of=ONE, most=65), "below 65 (published 60.00)"),
        (Bound(of=ONE, measure=claims.GENERALISATION_GAP, least=3), "above 3 (published 30.00)"),
        (Bound(of=ONE, over=TWO, measure=claims.GENERALISATION_GAP, most=0), "below 0"),
    ],
)
def test_what_is_expected_in_words(bound, expected):
    finding = verdicts.Finding(bound, 1, 0, 0.0, None, None, OPEN)
    verdict = verdicts.Verdict(Claim("So.", (bound,)), "images", False, (finding,), OPEN)
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
