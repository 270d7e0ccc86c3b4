"""Claims: confirmed, refuted or open, by the interval over the seeds; and in words that say on which images."""

import math
from dataclasses import replace

import pytest
from conftest import make_record
from scipy import stats
from test_markdown import FOLDER

from kmodels import Published
from kmodels.analysis.intervals import t_interval
from kmodels.report import claim_tables, claims
from kmodels.report.claims import Bound, Claim, beats, equals, gains
from kmodels.report.verdicts import CONFIRMED, NOT_RUN, OPEN, REFUTED, Finding, Verdict, count, judge

ONE = replace(make_record().experiment, name="report/one", published=Published(test_accuracy=0.6, train_accuracy=0.9))
TWO = replace(ONE, name="report/two", published=Published(test_accuracy=0.55), patience=7)


def runs(experiment, *accuracies, **changes):
    return [make_record(seed, accuracy, experiment=experiment, **changes) for seed, accuracy in enumerate(accuracies)]


def judged(*bounds, records):
    """The only Verdict on bounds for which there are runs: on the published images, or else elsewhere."""
    (verdict,) = judge([Claim("It is so.", bounds)], records)
    if verdict.outcome != NOT_RUN:
        assert not verdict.elsewhere
        return verdict
    return verdict.elsewhere[0] if verdict.elsewhere else verdict


def outcome(bound, *records):
    return judged(bound, records=records).outcome


@pytest.mark.parametrize(
    ("others", "expected"),
    [((0.50, 0.51, 0.52), CONFIRMED), ((0.70, 0.71, 0.72), REFUTED), ((0.58, 0.60, 0.62), OPEN), ((0.5,), OPEN)],
)
def test_a_difference_is_judged_by_its_interval_over_the_seeds(others, expected):
    assert outcome(beats(ONE, TWO), *runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, *others)) == expected


def test_backends_are_named_where_they_differ():
    """A difference of settings may be one of backends."""
    ours, theirs = runs(ONE, 0.6, 0.61, 0.59), runs(TWO, 0.5, 0.51, 0.52, backend="torch")
    for records, words in ((theirs, "3 (jax against torch)"), (runs(TWO, 0.5, 0.51, 0.52), "3")):
        (row,) = claim_tables.rows([judged(beats(ONE, TWO), records=[*ours, *records])])
        assert row.seeds == (words,)


def test_a_difference_must_be_as_large_as_claimed():
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.56, 0.55, 0.57))
    assert outcome(beats(ONE, TWO, by=1), *records) == CONFIRMED
    assert outcome(beats(ONE, TWO, by=8), *records) == REFUTED
    assert outcome(beats(ONE, TWO, by=4), *records) == OPEN


def test_equal_means_that_the_whole_interval_is_near():
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.60, 0.61, 0.60))
    assert outcome(equals(ONE, TWO, within=4), *records) == CONFIRMED
    assert outcome(equals(ONE, TWO, within=1), *records) == OPEN


def test_a_number_of_one_experiment_is_judged_too():
    assert outcome(Bound(of=ONE, most=30), *runs(ONE, 0.2, 0.21, 0.2)) == CONFIRMED
    assert outcome(Bound(of=ONE, least=30), *runs(ONE, 0.2, 0.21, 0.2)) == REFUTED


def test_two_seeds_decide_nothing():
    records = (*runs(ONE, 0.60, 0.601), *runs(TWO, 0.10, 0.101))
    verdict = judged(beats(ONE, TWO), records=records)
    assert (verdict.outcome, verdict.seeds_needed) == (OPEN, 3)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_numbers_without_spread_decide_nothing_however_many_they_are(seeds):
    one, two = runs(ONE, *seeds * (0.3,)), runs(TWO, *seeds * (0.2,))
    for bound in (Bound(of=ONE, most=40), Bound(of=ONE, least=40), beats(ONE, TWO), beats(TWO, ONE)):
        verdict = judged(bound, records=[*one, *two])
        assert (verdict.outcome, verdict.seeds_needed, verdict.findings[0].low) == (OPEN, None, None)
        assert "every seed gives the same number" in claim_tables.reason(verdict)
    # One side with spread is enough.
    assert outcome(beats(ONE, TWO), *runs(ONE, 0.3, 0.3, 0.3), *runs(TWO, 0.2, 0.21, 0.2)) == CONFIRMED
    # The same for every seed, by its nature.
    assert outcome(Bound(of=ONE, measure=claims.PARAMETERS, most=1), *runs(ONE, 0.2)) == CONFIRMED


# Test accuracies whose mean is 60.0 and 10.0 %, with a standard deviation of 0.1 percentage points.
NARROW_ONE, NARROW_TWO = (0.599, 0.600, 0.601), (0.099, 0.100, 0.101)


@pytest.mark.parametrize(
    ("about", "accuracies", "expected", "why"),
    [
        (5, (0.549, 0.550, 0.551), CONFIRMED, ""),
        (5, (0.545, 0.546, 0.547), CONFIRMED, ""),
        ((2, 5), (0.565, 0.566, 0.567), CONFIRMED, ""),
        # The report's difference is one of single runs: it may be off by more than our mean is.
        (5, (0.544, 0.547, 0.550), CONFIRMED, ""),
        # Half of what was claimed: there is a gain, but not the one that was claimed.
        (5, (0.569, 0.570, 0.571), REFUTED, "a gain is confirmed, its size is smaller than claimed"),
        ((2, 5), (0.499, 0.500, 0.501), REFUTED, "a gain is confirmed, its size is larger than claimed"),
        (5, (0.599, 0.600, 0.601), REFUTED, "a gain is open, its size is smaller than claimed"),
        (5, (0.629, 0.630, 0.631), REFUTED, "a loss, no gain"),
        # Both 0 and the size are possible.
        (5, (0.50, 0.56, 0.62), OPEN, "more than 100 seeds would decide"),
    ],
)
def test_a_gain_is_judged_by_its_direction_and_its_size(about, accuracies, expected, why):
    if expected == OPEN:
        why = None
    verdict = judged(gains(ONE, TWO, about=about), records=(*runs(ONE, *NARROW_ONE), *runs(TWO, *accuracies)))
    assert verdict.outcome == expected
    assert why is None or claim_tables.reason(verdict) == why


def test_what_a_printed_size_stands_for():
    assert [claims.rounded_to(printed) for printed in (5, 3.2, 10)] == [(4.5, 5.5), (3.15, 3.25), (9.5, 10.5)]
    bound = gains(ONE, TWO, about=5.7)
    assert (bound.least, bound.most) == (5.65, 5.75)
    # In an interval of [+5.69, +5.70], whatever the rounding of floats.
    assert bound.holds(5.69, 5.70)


def test_a_verdict_is_provisional_until_all_planned_seeds_are_there():
    high, low = (0.60, 0.61, 0.59, 0.6, 0.61), (0.30, 0.31, 0.29, 0.3, 0.31)

    def judged_with(seeds, *bounds):
        return judged(*bounds, records=(*runs(ONE, *high[:seeds]), *runs(TWO, *low[:seeds])))

    up, down, size = beats(ONE, TWO), beats(TWO, ONE), Bound(of=ONE, measure=claims.PARAMETERS, most=1)
    early = [judged_with(3, up), judged_with(4, down), judged_with(3, up, size)]
    assert [claim_tables.word(one) for one in early] == [
        "confirmed so far (3 of 5 seeds)", "refuted so far (4 of 5 seeds)", "confirmed so far (3 of 5 seeds)",
    ]  # fmt: skip
    final = [judged_with(5, up), judged_with(5, down), judged_with(1, size)]
    assert [claim_tables.word(one) for one in final] == ["confirmed", "refuted", "confirmed"]
    # One comparison is enough to refute, and that one is final.
    never = replace(ONE, name="report/never", patience=8)
    records = (*runs(ONE, *high), *runs(TWO, *low), *runs(never, *low[:3]))
    assert claim_tables.word(judged(down, beats(never, ONE), records=records)) == "refuted"
    assert claim_tables.counts_text(final) == "Claims: 2 confirmed, 1 refuted, 0 open, 0 not run."
    expected = "Claims: 4 confirmed (2 provisional), 2 refuted (1 provisional), 1 open, 0 not run."
    assert claim_tables.counts_text([*early, *final, judged_with(2, up)]) == expected


def test_a_p_value_is_that_of_the_nearest_limit_and_1_inside():
    numbers = (59.0, 61.0, 60.5)
    records = runs(ONE, *(number / 100 for number in numbers))

    def p_of(**limits):
        return judged(Bound(of=ONE, **limits), records=records).findings[0].p

    assert p_of(least=59, most=61) == 1
    assert p_of(least=10, most=59) == pytest.approx(stats.ttest_1samp(numbers, 59).pvalue)
    assert p_of(least=10) is None
    # The same for every seed: there is no chance in it.
    assert p_of(least=1, measure=claims.PARAMETERS) == 0


def test_one_of_many_bounds_must_be_refuted_the_more_surely():
    # Refuted by itself, with p = 0.03; not as one of eight.
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.625, 0.63, 0.62))
    alone = beats(ONE, TWO)
    assert outcome(alone, *records) == REFUTED
    verdict = judged(alone, *7 * (Bound(of=ONE, least=1),), records=records)
    assert (verdict.findings[0].outcome, verdict.outcome) == (OPEN, OPEN)
    # Those that were not run count too.
    never = replace(TWO, name="report/never", patience=8)
    assert judged(alone, *7 * (beats(ONE, never),), records=records).findings[0].outcome == OPEN


def test_holm_rejects_what_bonferroni_does_not():
    # The second p-value is compared with 0.05 once the first is below 0.05 / 2.
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.625, 0.63, 0.62))
    p = judged(beats(ONE, TWO), records=records).findings[0].p
    assert 0.05 / 2 < p < 0.05
    with_surely = judged(Bound(of=ONE, least=90), beats(ONE, TWO), records=records).findings
    assert [finding.outcome for finding in with_surely] == [REFUTED, REFUTED]
    with_kept = judged(Bound(of=ONE, least=1), beats(ONE, TWO), records=records).findings
    assert [finding.outcome for finding in with_kept] == [CONFIRMED, OPEN]


def test_confirmed_bounds_need_no_correction():
    # Each alone can prevent the claim: of eight as of one.
    records = (*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.575, 0.58, 0.57))
    assert outcome(beats(ONE, TWO), *records) == CONFIRMED
    assert judged(*8 * (beats(ONE, TWO),), records=records).outcome == CONFIRMED


def test_an_open_verdict_says_how_many_seeds_would_decide():
    records = (*runs(ONE, 0.60, 0.62), *runs(TWO, 0.58, 0.60))
    verdict = judged(beats(ONE, TWO), records=records)
    assert (verdict.outcome, verdict.seeds) == (OPEN, 2)
    needed = verdict.seeds_needed

    def above_zero(seeds):
        # As many with the same means and standard deviations (1.414): half of them above, half below.
        sides = [[mean + sign * 2**0.5 * (1 - 1 / seeds) ** 0.5 for sign in seeds // 2 * (1, -1)] for mean in (61, 59)]
        return t_interval(sides)[0] > 0

    even = needed + needed % 2
    assert above_zero(even)
    assert not above_zero(even - 2)
    assert claim_tables.word(verdict) == "open at 2 seeds"
    assert claim_tables.reason(verdict) == f"about {needed} seeds would decide"


def test_how_many_seeds_would_decide_cannot_always_be_said():
    one_seed = judged(beats(ONE, TWO), records=(*runs(ONE, 0.60), *runs(TWO, 0.58)))
    assert (claim_tables.word(one_seed), one_seed.seeds_needed) == ("open at 1 seed", None)
    assert claim_tables.reason(one_seed) == "one seed: the number of seeds needed is unknown"
    edge = judged(beats(ONE, TWO), records=(*runs(ONE, 0.5, 0.75), *runs(TWO, 0.75, 0.5)))
    assert (edge.seeds_needed, "edge" in claim_tables.reason(edge)) == (None, True)
    many = judged(beats(ONE, TWO), records=(*runs(ONE, 0.5, 0.6), *runs(TWO, 0.6, 0.499)))
    assert (many.seeds_needed, "more than 100" in claim_tables.reason(many)) == (math.inf, True)
    never = replace(TWO, name="report/never", patience=8)
    part = judged(beats(ONE, TWO), beats(ONE, never), records=(*runs(ONE, 0.60, 0.62), *runs(TWO, 0.58, 0.60)))
    assert (part.seeds_needed, claim_tables.reason(part)) == (None, "1 of 2 comparisons not run")


def test_what_is_the_same_for_every_seed_is_refuted_by_one():
    assert outcome(Bound(of=ONE, measure=claims.PARAMETERS, least=1), *runs(ONE, 0.2)) == REFUTED


def test_a_training_that_is_claimed_to_fail_fails_where_it_diverges():
    lost = [make_record(seed, experiment=ONE, status="diverged", test=None) for seed in range(3)]
    # Guessing between two classes.
    fails = Bound(of=ONE, measure=claims.TEST_ACCURACY_OR_GUESSING, most=51)
    verdict = judged(fails, records=lost)
    assert (verdict.outcome, verdict.findings[0].value, verdict.seeds) == (CONFIRMED, 50, 3)
    assert outcome(Bound(of=ONE, most=51), *lost) == OPEN
    assert outcome(replace(fails, most=49), *lost) == REFUTED
    assert outcome(fails, *lost[:2]) == OPEN
    # A network that always says the same class guesses too; one that does not is no more certain than elsewhere.
    assert outcome(fails, *lost[:2], make_record(2, 0.5, experiment=ONE)) == CONFIRMED
    assert outcome(fails, *runs(ONE, 0.4, 0.4, 0.4)) == OPEN


def test_only_the_published_images_confirm_and_the_rest_is_listed_apart():
    claim = Claim("One beats two.", (beats(ONE, TWO),))
    elsewhere = (*runs(ONE, 0.3, 0.31, 0.3, source=FOLDER), *runs(TWO, 0.6, 0.61, 0.6, source=FOLDER))
    (verdict,) = judge([claim], elsewhere)
    assert (verdict.outcome, verdict.findings, verdict.as_published) == (NOT_RUN, (), True)
    assert [one.outcome for one in verdict.elsewhere] == [REFUTED]
    (verdict,) = judge([claim], [*elsewhere, *runs(ONE, 0.60, 0.61, 0.6), *runs(TWO, 0.30, 0.31, 0.3)])
    assert (verdict.outcome, len(verdict.elsewhere)) == (CONFIRMED, 1)
    assert [row.verdict for row in claim_tables.rows([verdict])] == [
        "confirmed so far (3 of 5 seeds)",
        "does not hold there so far (3 of 5 seeds)",
    ]
    top, below = claim_tables.text(claim_tables.rows([verdict])).split(claim_tables.OTHER_IMAGES)
    assert ("confirmed" in top, "does not hold there" in below) == (True, True)
    assert count([verdict]) == (1, 0, 0, 0)


def test_of_two_copies_of_the_published_images_the_one_with_more_runs_counts():
    source = {**make_record().source, "sha256": "cd" * 32, "missing": {"train": 97}}
    records = [*runs(ONE, 0.6, 0.61, 0.6, source=source), *runs(ONE, 0.3, 0.31)]
    (verdict,) = judge([Claim("So.", (Bound(of=ONE, least=50),))], records)
    assert (verdict.outcome, verdict.seeds, len(verdict.elsewhere)) == (CONFIRMED, 3, 1)
    assert not verdict.elsewhere[0].as_published


def test_a_run_without_an_outcome_leaves_it_open_and_is_counted():
    lost = make_record(2, experiment=ONE, status="diverged", test=None)
    records = (*runs(ONE, 0.60, 0.61), lost, *runs(TWO, 0.30, 0.31))
    verdict = judged(beats(ONE, TWO), records=records)
    assert (verdict.outcome, verdict.findings[0].diverged) == (OPEN, 1)
    (row,) = claim_tables.rows([verdict])
    assert (row.seeds, row.why) == (("2, 1 diverged",), "a run diverged")


def test_an_experiment_that_only_diverged_is_open_and_not_unmeasured():
    lost = [make_record(seed, experiment=ONE, status="diverged", test=None) for seed in (0, 1)]
    claim = Claim("So.", (beats(ONE, TWO),))
    (verdict,) = judge([claim], [*lost, *runs(TWO, 0.30, 0.31)])
    assert verdict.outcome == OPEN
    (row,) = claim_tables.rows([verdict])
    assert (row.measured, row.seeds) == (("one minus two: diverged",), ("0, 2 diverged",))


def test_a_completed_run_counts_before_a_newer_one_that_diverged():
    newer = make_record(0, experiment=ONE, status="diverged", test=None, started="2027-01-01T00:00:00+00:00")
    (verdict,) = judge([Claim("So.", (Bound(of=ONE, least=1),))], [*runs(ONE, 0.5), newer])
    assert (verdict.findings[0].seeds, verdict.findings[0].diverged) == (1, 0)


def test_experiments_with_equal_settings_share_their_runs():
    again, alone = replace(TWO, name="report/again"), replace(ONE, name="other/one", published=None)
    records = [*runs(alone, 0.6, 0.61, 0.6), *runs(TWO, 0.5, 0.51, 0.5)]
    assert outcome(beats(ONE, again), *records) == CONFIRMED


def test_runs_of_another_version_of_the_users_code_are_no_further_seeds():
    own = replace(ONE, model="mine:network")
    records = [
        *runs(own, 0.6, 0.61, code_sha256={"mine:network": "aa"}),
        make_record(2, 0.9, experiment=own, code_sha256={"mine:network": "bb"}),
    ]
    (verdict,) = judge([Claim("So.", (Bound(of=own, least=1),))], records)
    assert [one.seeds for one in (verdict, *verdict.elsewhere)] == [2, 1]


def test_a_run_with_a_callback_that_may_change_it_is_not_as_the_report_lists_it():
    bound = Bound(of=ONE, least=1)
    verdict = judged(bound, records=runs(ONE, 0.6, callbacks=("TensorBoard", "MyDecay")))
    assert not verdict.as_published
    assert verdict.images.endswith(", with MyDecay")
    assert judged(bound, records=runs(ONE, 0.6, callbacks=("TensorBoard",))).as_published


def test_a_seed_counts_once_by_its_first_run_whichever_backend():
    later = make_record(0, 0.1, experiment=ONE, backend="torch", started="2027-01-01T00:00:00+00:00")
    (verdict,) = judge([Claim("So.", (Bound(of=ONE, least=1),))], [*runs(ONE, 0.5), later])
    assert (verdict.findings[0].seeds, verdict.findings[0].value) == (1, 50)


@pytest.mark.parametrize(
    "changes",
    [{"image_size": 16}, {"dataset": "cifar100"}, {"epochs": 3}, {"subset": 100}],
    ids=lambda changes: next(iter(changes)),
)
def test_only_the_reports_own_images_and_settings_are_as_published(changes):
    source = {**make_record().source, "subset": 100} if "subset" in changes else make_record().source
    records = [make_record(0, 0.5, experiment=replace(ONE, **changes), source=source)]
    verdict = judged(Bound(of=ONE, least=1), records=records)
    assert verdict.findings
    assert not verdict.as_published


def test_options_of_the_network_are_compared_one_by_one():
    dropped = replace(TWO, model_options={"dropout": 0.3})
    both = {"hidden": (64,)}
    runs_of = [runs(replace(one, model_options={**one.model_options, **both}), 0.5) for one in (dropped, ONE)]
    verdict = judged(beats(dropped, ONE), records=[*runs_of[0], *runs_of[1]])
    assert verdict.images.endswith("hidden=(64,)")
    # Made equal in what the claim is about.
    same = [runs(replace(one, model_options={"dropout": 0.1}), 0.5) for one in (dropped, ONE)]
    assert judged(beats(dropped, ONE), records=[*same[0], *same[1]]).outcome == NOT_RUN


def test_what_a_network_started_from_belongs_to_the_images():
    start = {"network": "jax-12345678-cd-seed0.keras", "taken": (), "drawn": ()}
    tuned = replace(ONE, init_from="report/two")
    verdict = judged(Bound(of=tuned, least=1), records=runs(tuned, 0.5, started_from=start))
    assert verdict.images.endswith("from a network without a record")
    assert not verdict.as_published
    (parent,) = runs(TWO, 0.5, source=FOLDER)
    start = {**start, "network": f"{parent.stem.split('/')[-1]}.keras"}
    verdict = judged(Bound(of=tuned, least=1), records=[parent, *runs(tuned, 0.5, started_from=start)])
    assert verdict.images.endswith("from report/two on cifar10 (image folder, JPEG), 8x8 pixels")
    assert not verdict.as_published
    # Settings of that network are told apart from those of the run.
    shorter = replace(parent, experiment=replace(TWO, epochs=9))
    start = {**start, "network": f"{shorter.stem.split('/')[-1]}.keras"}
    claims = [Claim(f"{one.name} is so.", (Bound(of=one, least=1),)) for one in (tuned, TWO)]
    verdict, _ = judge(claims, [shorter, *runs(tuned, 0.5, started_from=start)])
    assert verdict.elsewhere[0].images.endswith(
        ", from report/two (epochs=9, on cifar10 (image folder, JPEG), 8x8 pixels)"
    )


def test_experiments_that_were_made_equal_say_nothing():
    longer = replace(TWO, epochs=80)
    cut = [replace(experiment, epochs=5) for experiment in (ONE, longer)]
    records = [*runs(cut[0], 0.5, 0.51), *runs(cut[1], 0.6, 0.61)]
    assert judged(beats(longer, ONE), records=records).outcome == NOT_RUN
    assert judged(Bound(of=ONE, measure=claims.BEST_EPOCH, most=9), records=runs(cut[0], 0.5)).outcome == NOT_RUN


def test_a_claim_is_confirmed_where_all_of_it_is_and_refuted_where_a_part_is():
    records = (*runs(ONE, 0.60, 0.61, 0.6), *runs(TWO, 0.30, 0.31, 0.3))
    kept, broken = beats(ONE, TWO), Bound(of=ONE, most=10)
    missing = beats(ONE, replace(TWO, name="report/three", patience=9))

    def of(*bounds):
        verdict = judged(*bounds, records=records)
        return verdict.outcome, len(verdict.findings)

    assert of(kept) == (CONFIRMED, 1)
    assert of(kept, broken) == (REFUTED, 2)
    assert of(kept, missing) == (OPEN, 1)
    assert of(missing) == (NOT_RUN, 0)


def test_only_runs_on_the_same_images_and_changed_alike_are_compared():
    short = [replace(experiment, epochs=3) for experiment in (ONE, TWO)]
    records = (
        *runs(ONE, 0.6),
        *runs(TWO, 0.5, source=FOLDER),
        *runs(short[0], 0.2, source=FOLDER),
        *runs(short[1], 0.3, source=FOLDER),
    )
    verdict = judged(beats(ONE, TWO), records=records)
    assert verdict.images == "cifar10 (image folder, JPEG), 8x8 pixels, epochs=3"
    assert not verdict.as_published
    assert verdict.findings[0].value == pytest.approx(-10)


def test_a_head_is_compared_with_the_network_of_its_features():
    parent = replace(ONE, epochs=3)
    head = replace(ONE, name="report/head", head="svm", init_from="report/one")
    base = runs(parent, 0.5)[0]
    record = runs(head, 0.6, started_from={"network": f"{base.stem.split('/')[-1]}.keras", "taken": (), "drawn": ()})
    verdict = judged(beats(head, ONE), records=[base, *record])
    assert "epochs=3" in verdict.images
    assert verdict.findings[0].value == pytest.approx(10)


def test_a_head_and_its_network_are_compared_seed_by_seed():
    head = replace(ONE, name="report/head", head="svm", init_from="report/one")
    networks, heads = (0.50, 0.60, 0.70), (0.51, 0.612, 0.711)

    def outcome_of(base):
        records = []
        for seed, (network, accuracy) in enumerate(zip(networks, heads, strict=True)):
            parent = make_record(seed, network, experiment=base)
            start = {"network": f"{parent.stem.split('/')[-1]}.keras", "taken": (), "drawn": ()}
            records += [parent, make_record(seed, accuracy, experiment=head, started_from=start)]
        return judged(beats(head, base), records=records)

    verdict = outcome_of(ONE)
    assert (verdict.outcome, verdict.findings[0].seeds) == (CONFIRMED, 3)
    assert verdict.findings[0].value == pytest.approx(1.1)
    # Between runs that share nothing the same numbers show nothing.
    assert judged(beats(ONE, TWO), records=(*runs(ONE, *heads), *runs(TWO, *networks))).outcome == OPEN


HEAD = replace(ONE, name="report/head", head="svm", init_from="report/one")
# Two digests of weights.
OLD, NEW = "aa" * 32, "bb" * 32


def head_on(parent, accuracy, head=HEAD, **changes):
    """A Record of a head on the network of a run."""
    start = {"network": f"{parent.stem.split('/')[-1]}.keras", "taken": (), "drawn": ()}
    changes = {"weights_sha256": parent.network_sha256, **changes}
    return make_record(parent.seed, accuracy, experiment=head, started_from=start, **changes)


def test_a_head_belongs_to_the_network_with_the_weights_that_it_started_from():
    # The networks were trained again, which replaced their records and files.
    later = "2026-02-02T00:00:00+00:00"
    networks = runs(ONE, 0.80, 0.81, 0.82, network_sha256=NEW, started=later)
    stale = [head_on(network, 0.52, weights_sha256=OLD) for network in networks]
    heads = [head_on(network, 0.83 + 0.011 * seed, started=later) for seed, network in enumerate(networks)]
    (verdict,) = judge([Claim("So.", (beats(HEAD, ONE),))], [*networks, *stale])
    assert verdict.outcome == NOT_RUN
    (verdict,) = judge([Claim("So.", (Bound(of=HEAD, least=60),))], [*networks, *stale, *heads])
    assert (verdict.outcome, verdict.findings[0].value) == (CONFIRMED, pytest.approx(84.1))
    assert [one.images.split(", ")[-1] for one in verdict.elsewhere] == ["from a network without a record"]
    (verdict,) = judge([Claim("So.", (beats(HEAD, ONE),))], [*networks, *stale, *heads])
    assert (verdict.outcome, verdict.findings[0].value) == (CONFIRMED, pytest.approx(3.1))
    # A network of older records, without a digest, is known by its name.
    old = [replace(network, network_sha256=None) for network in networks]
    assert judged(beats(HEAD, ONE), records=[*old, *heads]).outcome == CONFIRMED


def test_a_head_is_paired_with_its_own_network_though_another_backend_had_the_seed_first():
    networks = runs(ONE, 0.50, 0.60, 0.70)
    repeat = make_record(2, 0.72, experiment=ONE, backend="torch", started="2026-02-02T00:00:00+00:00")
    pairs = [(networks[0], 0.51), (networks[1], 0.612), (repeat, 0.731)]
    records = [*networks, repeat, *(head_on(network, accuracy) for network, accuracy in pairs)]
    for bound, sign in ((beats(HEAD, ONE), 1), (beats(ONE, HEAD), -1)):
        (finding,) = judged(bound, records=records).findings
        assert (finding.value, finding.paired, finding.seeds) == (pytest.approx(sign * 1.1), True, 3)
    # Alone, the first run of a seed counts.
    assert judged(Bound(of=ONE, least=1), records=records).findings[0].value == pytest.approx(60)
    # Two heads on two networks of one seed are no pair: it is said how they are compared.
    mean = replace(HEAD, name="report/mean", head="nearest_mean", kernel=None)
    others = [head_on(network, accuracy, mean) for network, accuracy in zip(networks, (0.4, 0.5, 0.6), strict=True)]
    verdict = judged(beats(HEAD, mean), records=[*records, *others])
    assert "] (Welch)" in claim_tables.rows([verdict])[0].measured[0]
    others[2] = head_on(repeat, 0.6, mean)
    verdict = judged(beats(HEAD, mean), records=[*records, *others])
    assert "] (paired)" in claim_tables.rows([verdict])[0].measured[0]


def test_measures_of_a_run():
    history = {"val_loss": (1.0, 0.5, 0.7, None), "val_accuracy": (0.2, 0.5, 0.7, 0.71)}
    record = make_record(history=history, best_epoch=2)
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
    alone = replace(TWO, name="report/never", patience=8)
    asked = [Claim("One beats two.", (beats(ONE, TWO, by=2.5),)), Claim("Nobody knows.", (Bound(of=alone, most=1),))]
    rows = claim_tables.rows(judge(asked, [*runs(ONE, 0.60, 0.61, 0.59), *runs(TWO, 0.50, 0.51, 0.49)]))
    assert claim_tables.text(rows).splitlines() == [
        "One beats two.",
        "  confirmed so far (3 of 5 seeds): cifar10 (tfds), 8x8 pixels",
        "    one minus two: +10.00 [+7.73, +12.27] (Welch); expected: above +2.5 (published +5.00); seeds: 3",
        "Nobody knows.",
        "  not run",
    ]
    assert claim_tables.markdown(rows).splitlines()[-1] == "| Nobody knows. | not run |  |  |  |  |  |"


@pytest.mark.parametrize(
    ("bound", "expected"),
    [
        (beats(ONE, TWO), "above 0 (published +5.00)"),
        (equals(ONE, TWO, within=1), "-1 to +1 (published +5.00)"),
        (gains(ONE, TWO, about=(2, 5)), "a gain, of +2 to +5 (published +5.00)"),
        (Bound(of=ONE, most=65), "below 65 (published 60.00)"),
        (Bound(of=ONE, measure=claims.GENERALISATION_GAP, least=3), "above 3 (published 30.00)"),
        (Bound(of=ONE, over=TWO, measure=claims.GENERALISATION_GAP, most=0), "below 0"),
    ],
)
def test_what_is_expected_in_words(bound, expected):
    finding = Finding(bound, 1, 0, 0.0, None, None, OPEN)
    (row,) = claim_tables.rows([Verdict(Claim("So.", (bound,)), OPEN, (finding,), "images", False)])
    assert row.expected == (expected,)
    assert row.verdict == "undecided there"


def test_a_table_for_each_report_is_written(tmp_path):
    records = [*runs(ONE, 0.60, 0.61, 0.6), *runs(TWO, 0.30, 0.31, 0.3)]
    of_two = [
        Claim("One beats two.", (beats(ONE, TWO),)),
        Claim("So.", (beats(replace(ONE, name="x/y", patience=9), TWO),)),
    ]
    written = claim_tables.write_claims(of_two, [ONE, TWO], records, tmp_path, only=["report"])
    assert list(written) == ["report", "x"]
    assert not (tmp_path / "x").exists()
    text = (tmp_path / "report" / "claims.md").read_text()
    assert "| One beats two. | confirmed so far (3 of 5 seeds) |" in text
    assert "| one | 60.00 | 60.33 ± 0.58 (n=3) | +0.33 |" in text
    assert "1 confirmed (1 provisional), 0 refuted, 0 open, 1 not run" in (tmp_path / "claims.md").read_text()
