"""Published numbers beside measured ones: within the interval for one more run or not, and to which side they lie."""

from dataclasses import replace

import numpy as np
import pytest
from conftest import make_record
from scipy import stats
from test_claims import ONE, TWO, runs
from test_markdown import FOLDER

from kmodels import Published
from kmodels.analysis.intervals import holm, next_run_interval, sign_test, t_interval, t_p_value
from kmodels.report import claim_tables
from kmodels.report.agreement import agreements, summarise_agreement
from kmodels.report.tables import published_against_measured


def published(number, name="report/one"):
    return replace(ONE, name=name, published=Published(test_accuracy=number))


@pytest.mark.parametrize(
    ("number", "accuracies", "within"),
    [
        (0.6012, (0.599, 0.600, 0.601), True),
        (0.6112, (0.599, 0.600, 0.601), False),
        # Printed in whole per cent, it may have been 60.5.
        (0.61, (0.600, 0.601, 0.602), True),
        (0.6112, (0.5, 0.7), None),
        (0.6112, (0.5,), None),
    ],
)
def test_a_published_number_lies_within_the_spread_of_the_seeds_or_not(number, accuracies, within):
    one = published(number)
    (found,) = agreements([one], runs(one, *accuracies))
    assert found.within is within
    assert found.difference == pytest.approx(np.mean(accuracies) - number)
    assert (found.seeds, found.spread is None, found.low is None) == (len(accuracies), *2 * [len(accuracies) == 1])


def test_a_seed_that_diverged_leaves_it_unknown_and_is_counted():
    lost = make_record(3, experiment=ONE, status="diverged", test=None)
    (found,) = agreements([ONE], [*runs(ONE, 0.6, 0.6, 0.61), lost])
    assert (found.within, found.seeds, found.diverged) == (None, 3, 1)
    (found,) = agreements([ONE], [lost])
    assert (found.mean, found.difference, found.within) == (None, None, None)
    assert claim_tables.agreement_rows([found])[0][2:6] == ("- (n=0, 1 diverged)", "-", "-", "unknown")


def test_seeds_that_are_all_equal_leave_it_unknown():
    one = published(0.61)
    (found,) = agreements([one], runs(one, 0.6, 0.6, 0.6))
    assert (found.within, found.low, found.spread) == (None, None, 0)
    assert claim_tables.agreement_rows([found])[0][4:6] == ("-", "unknown")


def test_only_published_images_and_listed_settings_count_and_backends_are_pooled():
    incomplete = {**make_record().source, "missing": {"train": 97}}
    records = [
        *runs(ONE, 0.6, 0.61, source=incomplete),
        make_record(2, 0.62, experiment=ONE, source=incomplete, backend="torch"),
        *runs(replace(ONE, epochs=3), 0.1),
        *runs(ONE, 0.2, source=FOLDER),
    ]
    (found,) = agreements([ONE, TWO, replace(ONE, name="report/unpublished", published=None)], records)
    assert (found.experiment, found.seeds, found.missing) == (ONE, 3, 97)
    assert claim_tables.agreement_rows([found])[0][2].endswith("(n=3: jax 2, torch 1)")
    assert found.mean == pytest.approx(0.61)


def test_a_number_counts_under_either_name_of_its_experiment():
    again = replace(ONE, name="report/again")
    for run_as in (ONE, again):
        (found,) = agreements([ONE, again], runs(run_as, 0.6, 0.6, 0.61))
        assert (found.experiment, found.seeds) == (ONE, 3)


def test_a_number_of_images_that_the_report_does_not_name_is_not_judged():
    unknown = replace(ONE, published=Published(test_accuracy=0.6, same_images=False))
    assert agreements([unknown], runs(unknown, 0.6, 0.6, 0.61)) == []
    assert claim_tables.agreement_text(summarise_agreement([unknown], [])).startswith("It does not say which images")
    row = published_against_measured(runs(unknown, 0.6, 0.6, 0.61)).splitlines()[-1].split()
    assert (row[1], row[5], row[6]) == ("60.00", "(n=3)", "-")


def test_what_all_rows_come_to():
    names = [f"report/{letter}" for letter in "abcdefg"]
    experiments = [replace(published(0.61, name), epochs=10 + i) for i, name in enumerate(names)]
    records = [record for one in experiments[:6] for record in runs(one, 0.50, 0.51, 0.49)]
    summary = summarise_agreement(experiments, agreements(experiments, records))
    assert summary[:6] == (7, 6, 6, 0, 0, 6)
    # What is the same under another name counts once.
    again = [*experiments, replace(experiments[0], name="report/again")]
    assert summarise_agreement(again, agreements(again, records)) == summary
    # Six of six to one side.
    assert summary.p == pytest.approx(2 / 2**6)
    assert "Reproduced 0 of 6" in claim_tables.agreement_text(summary)
    assert "None of 7" in claim_tables.agreement_text(summarise_agreement(experiments, []))


def test_the_interval_is_welchs_and_its_test_agrees():
    # Unequal numbers and variances, where Student's pooled one is another: scipy.stats.ttest_ind(equal_var=False).
    numbers = [[60.0, 61.0, 59.0, 60.5], [50.0, 58.0, 57.0]]
    low, high = t_interval(numbers)
    reference = stats.ttest_ind(*numbers, equal_var=False).confidence_interval(0.95)
    assert (low, high) == pytest.approx((reference.low, reference.high))
    assert t_p_value(numbers, low) == pytest.approx(0.05)
    low, high = t_interval(numbers[:1])
    reference = stats.ttest_1samp(numbers[0], 0).confidence_interval(0.95)
    assert (low, high) == pytest.approx((reference.low, reference.high))
    assert t_p_value(numbers[:1], high) == pytest.approx(0.05)


@pytest.mark.parametrize("interval", [t_interval, next_run_interval])
def test_numbers_without_spread_have_no_interval_however_many_they_are(interval):
    for equal in ([[1.0] * 2], [[1.0] * 5], [[1.0] * 5, [2.0] * 5]):
        assert interval(equal) == (None, None)
    low, high = interval([[1.0] * 5, [2.0, 2.5, 3.0]])
    assert low < -1.5 < high


def test_holms_adjusted_p_values():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1, 1]


def test_the_interval_for_one_more_run_has_it_as_often_as_it_says():
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(2000, 5))
    hits = [low <= draw[-1] <= high for draw in draws for low, high in [next_run_interval([list(draw[:-1])])]]
    assert np.mean(hits) == pytest.approx(0.95, abs=0.015)
    assert next_run_interval([[1.0]]) == (None, None)


def test_the_sign_test_leaves_out_what_is_equal():
    assert sign_test([1, 2, 3, -1, 0]) == pytest.approx(0.625)
    assert sign_test([0, 0]) == 1
