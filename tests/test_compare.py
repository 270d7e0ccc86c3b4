"""Two experiments compared: over seeds, image by image, and what may not be concluded."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from conftest import make_record
from scipy import stats

import kmodels
from kmodels import InputError, compare
from kmodels.analysis import evaluate_predictions, intervals
from kmodels.records import write_record
from kmodels.records.predictions import Predictions, write_predictions

BASE = make_record().experiment
OTHER = replace(BASE, name="report/other", learning_rate=0.01)
DATA = make_record().source
OTHER_DATA = {**DATA, "sha256": "cd" * 32}


def seeds(experiment, *accuracies, **changes):
    return [make_record(seed, accuracy, experiment=experiment, **changes) for seed, accuracy in enumerate(accuracies)]


def heads(*accuracies):
    """Records of a head on the networks of the runs of BASE."""
    head = replace(BASE, name="report/head", head="svm", init_from=BASE.name)
    networks = [f"{record.stem.split('/')[-1]}.keras" for record in seeds(BASE, *accuracies)]
    return [
        make_record(seed, accuracy, experiment=head, started_from={"network": networks[seed], "taken": (), "drawn": ()})
        for seed, accuracy in enumerate(accuracies)
    ]


def on_images(out, experiment, right, index=None, seed=0, predictions=True, folder=None, **changes):
    """Writes a record whose network is right on these test images of two classes, and its predictions."""
    right = np.asarray(right, bool)
    labels = np.arange(len(right)) % 2
    predicted = np.where(right, labels, 1 - labels)
    evaluation = evaluate_predictions(labels, predicted, 2)
    changes = {"train": evaluation, "val": evaluation, "test": evaluation, **changes}
    path = write_record(make_record(seed, experiment=experiment, **changes), out)
    if predictions:
        index = np.arange(len(right)) if index is None else index
        files = np.array([b"%d.png" % i for i in index]) if folder else None
        of_split = Predictions(index=index, labels=labels, predicted=predicted, files=files, folder=folder)
        write_predictions(path, {"val": of_split, "test": of_split})
    return path


def table(both, only_a, only_b, neither):
    """Which images each of two networks has right."""
    counts = (both, only_a, only_b, neither)
    return np.repeat([True, True, False, False], counts), np.repeat([True, False, True, False], counts)


def test_a_head_and_its_network_are_paired_by_seed():
    a, b = [0.60, 0.65, 0.62], [0.63, 0.67, 0.66]
    found = compare(seeds(BASE, *a), heads(*b))
    expected = stats.ttest_rel(b, a).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.difference == pytest.approx(0.03)
    assert found.shown
    assert "3 pairs of runs that share a network" in found.method
    assert "b is better than a" in str(found)
    swapped = compare(heads(*b), seeds(BASE, *a))
    assert (swapped.low, swapped.high) == pytest.approx((-found.high, -found.low))
    assert "a is better than b" in str(swapped)
    # Of other seeds there is no pair: the difference is that of the pairs.
    more = compare([*seeds(BASE, *a), make_record(3, 0.1, experiment=BASE)], heads(*b))
    assert (more.difference, more.low) == (found.difference, found.low)


def test_the_networks_of_other_runs_are_no_pairs():
    a, b = seeds(replace(BASE, epochs=3), 0.60, 0.65, 0.62), heads(0.63, 0.67, 0.66)
    assert "Welch" in compare(a, b).method


@pytest.mark.parametrize("changes", [{}, {"source": OTHER_DATA}], ids=["the same data", "other data"])
def test_different_networks_are_compared_by_welch_whatever_their_seeds(changes):
    a, b = [0.60, 0.65, 0.62], [0.63, 0.67, 0.66]
    found = compare(seeds(BASE, *a), seeds(OTHER, *b, **changes))
    expected = stats.ttest_ind(b, a, equal_var=False).confidence_interval()
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert "Welch" in found.method
    assert ("sha256" in str(found)) == bool(changes)


def test_a_difference_that_is_not_shown_is_not_called_equal_and_says_how_many_seeds_would_show_it():
    a, b = [0.60, 0.65, 0.62], [0.63, 0.62, 0.66]
    found = compare(seeds(BASE, *a), heads(*b))
    assert not found.shown
    assert "no difference shown" in str(found)
    assert f"about {found.needed} seeds of each" in str(found)
    # By the non-central t, so many pairs have a power of 80 % and one fewer has not, or nearly so.
    differences = np.subtract(b, a)

    def power(n):
        shift = differences.mean() / differences.std(ddof=1) * n**0.5
        return stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, shift)

    assert power(found.needed) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        (seeds(BASE, 0.5, 0.5), seeds(OTHER, 0.6, 0.6)),
        (seeds(BASE, 0.5, 0.5, 0.5), seeds(OTHER, 0.6, 0.6, 0.6)),
        # Pairs: 0.3 - 0.1 and 0.4 - 0.2 differ by rounding.
        (seeds(BASE, 0.1, 0.2, 0.5), heads(0.3, 0.4, 0.7)),
    ],
    ids=["two seeds", "three seeds", "pairs"],
)
def test_seeds_that_give_the_same_difference_say_no_more_than_one_of_them(a, b):
    found, one = compare(a, b), compare(a[0], b[0])
    assert not found.over_seeds
    assert (found.difference, found.low, found.high, found.method) == (one.difference, one.low, one.high, one.method)
    assert found.low < found.difference < found.high
    assert "Every seed gives the same difference" in str(found)
    assert "run both with several seeds" not in str(found)
    assert "run both with several seeds" in str(one)


def test_one_side_with_spread_is_enough_for_an_interval_over_seeds():
    found = compare(seeds(BASE, 0.5, 0.5, 0.5), seeds(OTHER, 0.6, 0.61, 0.62))
    assert found.over_seeds
    assert found.low < 0.11 < found.high


def test_repeated_runs_without_randomness_are_compared_image_by_image(tmp_path):
    right_a, right_b = table(20, 12, 2, 16)
    for seed in (0, 1, 2):
        on_images(tmp_path, BASE, right_a, seed=seed)
        on_images(tmp_path, OTHER, right_b, seed=seed)
    found = compare(tmp_path / "report" / "one", tmp_path / "report" / "other")
    assert (found.pairs, found.p_value) == ((20, 12, 2, 16), pytest.approx(0.0129, abs=5e-5))
    assert found.shown
    assert "a is better than b, of these two networks" in str(found)


def test_a_head_of_an_earlier_network_is_no_pair_of_the_one_that_replaced_it():
    def of(digest):
        return [replace(head, weights_sha256=digest * 32) for head in heads(0.63, 0.67, 0.66)]

    networks = [replace(record, network_sha256="cd" * 32) for record in seeds(BASE, 0.60, 0.65, 0.62)]
    assert "pairs" in compare(networks, of("cd")).method
    assert "Welch" in compare(networks, of("ab")).method
    # Two heads are paired on the same network, and not on two that had one name.
    linear = of("ab")
    rbf = [
        replace(record, experiment=replace(record.experiment, name="report/rbf", kernel="rbf"), test=test)
        for record, test in zip(linear, [one.test for one in seeds(BASE, 0.5, 0.6, 0.65)], strict=True)
    ]
    assert "pairs" in compare(linear, rbf).method
    assert "Welch" in compare(of("cd"), rbf).method


def test_one_seed_each_is_compared_image_by_image(tmp_path):
    # Armitage and Berry, Statistical Methods in Medical Research, 1994, page 127: p = 0.0129.
    right_a, right_b = table(20, 12, 2, 16)
    a = on_images(tmp_path, BASE, right_a)
    b = on_images(tmp_path, OTHER, right_b)
    found = compare(a, b)
    assert found.pairs == (20, 12, 2, 16)
    assert found.p_value == pytest.approx(0.0129, abs=5e-5)
    assert found.difference == pytest.approx(-0.2)
    assert found.shown
    assert "only a 12, only b 2" in str(found)
    # It says that the networks differ, and not that the settings do.
    assert "two networks" in str(found)
    assert "several seeds" in str(found)
    in_memory = compare(kmodels.read_record(a), kmodels.read_record(b), out=tmp_path)
    assert in_memory == found


def test_the_same_files_in_another_size_are_the_same_images(tmp_path):
    right_a, right_b = table(20, 12, 2, 16)
    a = on_images(tmp_path, BASE, right_a, folder="/pets")
    assert compare(a, on_images(tmp_path, OTHER, right_b, folder="/pets", source=OTHER_DATA)).pairs is not None
    assert compare(a, on_images(tmp_path, OTHER, right_b, folder="/cars", source=OTHER_DATA)).pairs is None


def test_the_same_images_in_another_order_are_not_paired(tmp_path):
    right_a, right_b = table(20, 12, 2, 16)
    a = on_images(tmp_path, BASE, right_a)
    found = compare(a, on_images(tmp_path, OTHER, right_b, index=np.arange(50)[::-1]))
    assert found.pairs is None


@pytest.mark.parametrize(
    ("changes", "words"), [({"predictions": False}, "no predictions"), ({"source": OTHER_DATA}, "sha256")]
)
def test_without_the_same_images_two_accuracies_are_compared(tmp_path, changes, words):
    # Newcombe 1998, table II: 56 of 70 and 48 of 80.
    evaluated = {"source": {**DATA, "counts": {"train": 4}}}
    a = on_images(tmp_path, BASE, np.arange(80) < 48, **evaluated)
    b = on_images(tmp_path, OTHER, np.arange(70) < 56, **{**evaluated, **changes})
    found = compare(a, b)
    assert (found.low, found.high) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert (found.pairs, found.p_value) == (None, None)
    assert words in str(found)


@pytest.mark.parametrize(
    ("pairs", "low", "high"),
    [
        # Newcombe 1998; the last: Fagerland and others, Statistical Analysis of Contingency Tables, 2017, chapter 8.
        ((36, 12, 2, 0), 0.0569, 0.3404),
        ((18, 12, 2, 18), 0.0562, 0.3290),
        ((53, 0, 0, 1), -0.0729, 0.0729),
        ((59, 6, 16, 80), -0.1186, -0.0046),
    ],
)
def test_the_interval_of_a_paired_difference_is_newcombes(pairs, low, high):
    # The published differences are of the first and the second.
    found = intervals.paired_interval(intervals.Pairs(*pairs))
    assert (-found[1], -found[0]) == pytest.approx((low, high), abs=5e-5)


def test_the_number_of_images_needed_has_the_power_that_it_promises():
    pairs = intervals.Pairs(700, 100, 130, 70)
    needed = intervals.images_needed(pairs)
    drawn = np.random.default_rng(0).multinomial(needed, np.array(pairs) / 1000, 2000)
    shown = (drawn[:, 2] - drawn[:, 1]) / np.sqrt(drawn[:, 1] + drawn[:, 2]) > 1.96
    assert shown.mean() == pytest.approx(0.8, abs=0.03)
    a, b = 0.6, 0.65
    needed = intervals.unpaired_images_needed((600, 1000), (650, 1000))
    drawn = np.random.default_rng(0).binomial(needed, (a, b), (2000, 2))
    shares = drawn / needed
    spread = np.sqrt((shares * (1 - shares)).sum(axis=1) / needed)
    assert ((shares[:, 1] - shares[:, 0]) / spread > 1.96).mean() == pytest.approx(0.8, abs=0.03)
    assert intervals.images_needed(intervals.Pairs(5, 1, 1, 5)) is None
    assert intervals.unpaired_images_needed((5, 10), (4, 8)) is None
    assert intervals.runs_needed([[0.0, 0.0, 0.0]]) is None


def test_of_few_images_those_needed_show_the_difference_and_are_more_than_have_not_shown_it():
    # Of five images that only one has right, p is 2 / 2**5, of six half of it.
    assert intervals.images_needed(intervals.Pairs(0, 0, 5, 0)) == 6
    assert intervals.images_needed(intervals.Pairs(0, 1, 0, 0)) == 6
    needed = intervals.unpaired_images_needed((0, 1), (1, 1))
    assert intervals.unpaired_interval((0, needed), (needed, needed))[0] > 0
    assert intervals.unpaired_interval((0, needed - 1), (needed - 1, needed - 1))[0] <= 0
    rng = np.random.default_rng(0)
    for largest in (2, 5, 12, 40):
        for _ in range(20):
            pairs = intervals.Pairs(*map(int, rng.integers(0, largest, 4)))
            if pairs.only_a != pairs.only_b:
                shown = intervals.shows_difference(intervals.paired_interval(pairs), intervals.mcnemar(pairs))
                assert shown or intervals.images_needed(pairs) > sum(pairs), pairs
            a, b = ((int(rng.integers(0, largest + 1)), largest) for _ in range(2))
            if a != b:
                shown = intervals.shows_difference(intervals.unpaired_interval(a, b))
                assert shown or intervals.unpaired_images_needed(a, b) > largest, (a, b)


def test_the_images_needed_are_rounded_up_in_words(tmp_path):
    right = np.arange(103)
    found = compare(on_images(tmp_path, BASE, right < 26), on_images(tmp_path, OTHER, right < 25))
    assert (found.shown, found.needed > 103) == (False, True)
    (number,) = re.findall(r"about ([\d,]+) test images would show it", str(found))
    assert found.needed <= int(number.replace(",", "")) <= 1.1 * found.needed


def test_networks_that_say_the_same_are_not_shown_to_differ(tmp_path):
    right = np.arange(50) < 40
    found = compare(on_images(tmp_path, BASE, right), on_images(tmp_path, OTHER, right))
    assert (found.p_value, found.shown, found.needed) == (1, False, None)
    assert found.low < 0 < found.high


def test_one_seed_against_several_is_compared_on_the_seed_that_both_have(tmp_path):
    right_a, right_b = table(20, 12, 2, 16)
    a = on_images(tmp_path, BASE, right_a, seed=1)
    for seed in (0, 1, 2):
        on_images(tmp_path, OTHER, right_b, seed=seed)
    found = compare(a, tmp_path / "report" / "other")
    assert [record.seed for record in (*found.a.records, *found.b.records)] == [1, 1]
    assert found.pairs is not None
    assert "run a with more seeds" in str(found)


def test_seeds_without_an_accuracy_are_named():
    lost = [make_record(2, experiment=OTHER, status="diverged", test=None)]
    found = compare(seeds(BASE, 0.6, 0.65), [*seeds(OTHER, 0.7, 0.72), *lost])
    assert "seed 2 diverged" in str(found)
    with pytest.raises(InputError, match=r"must have a completed run.*1 diverged"):
        compare(seeds(BASE, 0.6, 0.65), lost)


def test_what_else_differs_than_one_setting_is_said():
    several = replace(OTHER, batch_size=7)
    text = str(compare(seeds(BASE, 0.6, 0.65), seeds(several, 0.7, 0.72, backend="torch", precision="bfloat16")))
    assert "learning_rate 0.001 -> 0.01" in text
    for words in ("2 settings differ", "backend (jax and torch)", "precision (float32 and bfloat16)", "best of many"):
        assert words in text
    plain = str(compare(seeds(BASE, 0.6, 0.65), seeds(OTHER, 0.7, 0.72)))
    assert "settings differ:" not in plain
    assert "Not only" not in plain


# A network, and a head on its features that was described by itself.
TRAINED = replace(BASE, augmentation="flips_rotate_sharpness_crop", sampler="oversample", optimizer="sgd", momentum=0.9)
SVM = replace(make_record().experiment, name="report/svm", head="svm", init_from=BASE.name)


@pytest.mark.parametrize(
    ("one", "other", "count"),
    [
        # Only an SVM has a kernel, and every head has a network to start from.
        (SVM, replace(SVM, head="tau_norm", kernel=None), 1),
        (SVM, BASE, 1),
        # What the network was trained with is nothing that an SVM could have.
        (SVM, TRAINED, 1),
        (SVM, replace(SVM, kernel="rbf", class_weight="balanced"), 2),
        (BASE, replace(SVM, class_weight="balanced"), 2),
        # A head that is fitted in one go reads no learning rate, one that is trained does.
        (SVM, replace(SVM, learning_rate=0.5, head="nearest_mean", kernel=None), 1),
        (BASE, replace(SVM, head="crt", kernel=None, learning_rate=0.5), 2),
        (BASE, replace(BASE, optimizer="sgd", momentum=0.9), 1),
        (BASE, replace(BASE, optimizer="sgd", momentum=0.9, learning_rate=0.1), 2),
        (replace(BASE, model="two_layer_net", model_options={"hidden": (8,)}), replace(BASE, model="conv_net"), 1),
        (replace(BASE, model="alexnet", model_options={"dropout": 0.3}), replace(BASE, model="alexnet"), 1),
    ],
)
def test_a_setting_that_another_change_brings_with_it_is_no_further_change(one, other, count):
    one, other = (replace(side, name=f"report/{name}") for side, name in ((one, "a"), (other, "b")))
    for a, b in ((one, other), (other, one)):
        text = str(compare(seeds(a, 0.6, 0.65), seeds(b, 0.7, 0.72)))
        assert (f"{count} settings differ" in text) == (count > 1)
        assert text.count("settings differ:") == (count > 1)


def test_of_runs_on_several_data_those_are_compared_that_agree(tmp_path):
    for record in [*seeds(BASE, 0.1, 0.2, source=OTHER_DATA), *seeds(BASE, 0.6, 0.65), *seeds(OTHER, 0.7, 0.72)]:
        write_record(record, tmp_path)
    a, b = tmp_path / "report" / "one", tmp_path / "report" / "other"
    found = compare(a, b)
    assert found.a.mean == pytest.approx(0.625)
    assert "left out" in str(found)
    for record in seeds(OTHER, 0.3, 0.4, source=OTHER_DATA):
        write_record(record, tmp_path)
    with pytest.raises(InputError, match=r"a \(report/one\) must be runs with the same .*-seed\*\.json") as raised:
        compare(a, b)
    patterns = [word.strip(",") for word in str(raised.value).split() if word.strip(",").endswith("-seed*.json")]
    assert {round(compare(pattern, seeds(OTHER, 0.7, 0.72)).a.mean, 3) for pattern in patterns} == {0.15, 0.625}


def test_what_cannot_be_compared_is_refused(tmp_path):
    one = seeds(BASE, 0.6, 0.65)
    with pytest.raises(InputError, match="a and b must be different runs"):
        compare(one, one)
    with pytest.raises(InputError, match="different classes"):
        compare(one, seeds(OTHER, 0.6, 0.7, class_names=("a", "c")))
    with pytest.raises(InputError, match=r"b must be one experiment.*report/one, report/other"):
        compare(seeds(BASE, 0.1), [*one, *seeds(OTHER, 0.6)])
    for strange in ([], 3, ["x"], None):
        with pytest.raises(InputError, match="a Record, a list of Records or a path"):
            compare(one, strange)
    with pytest.raises(InputError, match="no such record"):
        compare(one, tmp_path / "none.json")
    with pytest.raises(InputError, match="folder must have records"):
        compare(one, tmp_path)


def test_the_command_prints_json(tmp_path, kmodels_command):
    for record in [*seeds(BASE, 0.60, 0.65, 0.62), *seeds(OTHER, 0.63, 0.67, 0.66)]:
        write_record(record, tmp_path)
    folders = tmp_path / "report" / "one", tmp_path / "report" / "other"
    found = json.loads(kmodels_command("compare", *folders, "--format", "json")[1])
    assert found["b"] == {
        "experiment": "report/other",
        "seeds": [0, 1, 2],
        "test_accuracy": pytest.approx(0.6533, abs=1e-4),
    }
    assert (found["difference"], found["low"]) == pytest.approx((0.03, -0.0231), abs=1e-4)
    assert (found["shown"], found["pairs"]) == (False, None)
    single = [next(folder.glob("*seed0.json")) for folder in folders]
    found = json.loads(kmodels_command("compare", *single, "--format", "json")[1])
    assert found["b"]["seeds"] == [0]
    assert found["notes"]


def test_the_command_prints_it_or_one_line_of_error(tmp_path, kmodels_command):
    for record in [*seeds(BASE, 0.60, 0.65, 0.62), *seeds(OTHER, 0.63, 0.67, 0.66)]:
        write_record(record, tmp_path)
    status, out, err = kmodels_command("compare", tmp_path / "report" / "one", tmp_path / "report" / "other")
    assert (status, err) == (0, "")
    assert "62.33 ± 2.52 (n=3)" in out
    assert "+3.00 percentage points, 95 % interval -2.31 to +8.31" in out
    status, out, err = kmodels_command("compare", tmp_path / "report" / "one", tmp_path / "nothing")
    assert status == 2
    assert "nothing" in err
    assert len(err.splitlines()) == 1


def test_the_function_stays_one_after_it_was_used():
    # A module of the same name would take its place.
    code = "import kmodels; kmodels.compare; import kmodels.comparison; assert callable(kmodels.compare)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
