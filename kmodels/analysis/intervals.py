"""Whether one accuracy is higher than another: intervals of differences, McNemar's test, and how much would be needed.

SciPy's statistics take half a second to import, so functions import them.
"""

import math
import statistics
import warnings
from typing import NamedTuple

import numpy as np

from kmodels.analysis.metrics import accuracy_interval
from kmodels.errors import require

CONFIDENCE = 0.95
# How often an experiment of the size that `runs_needed` and `images_needed` return would show the difference.
POWER = 0.8
# Of fewer images, the numbers needed are checked with the test and the interval that they are for.
FEW = 1000


def mean_difference(numbers):
    """mean(first) - mean(second) of two lists of floats, or the mean of one."""
    return statistics.fmean(numbers[0]) - (statistics.fmean(numbers[1]) if len(numbers) > 1 else 0)


def has_spread(numbers):
    """Whether there is a spread to compute an interval from.

    Equal numbers are rather one number repeated, of runs that do not depend on the seed, than a sample without spread.

    Args:
        numbers: one or two lists of floats.

    Returns:
        Whether each has two or more, and not all of them equal in every list.
    """
    return min(map(len, numbers)) > 1 and any(len(set(side)) > 1 for side in numbers)


def t_interval(numbers, confidence=CONFIDENCE):
    """The confidence interval of a mean (Student's t), or of the difference of two (Welch's).

    Args:
        numbers: one or two lists of floats; of two the interval is that of mean(first) - mean(second). For pairs, give
            one list of their differences.
        confidence: 0 to 1.

    Returns:
        (low, high); (None, None) where more numbers are needed, or have no spread: see `has_spread`.
    """
    if not has_spread(numbers):
        return None, None
    from scipy import stats

    with warnings.catch_warnings():
        # One of the two may have the same number for every seed.
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        test = stats.ttest_ind(*numbers, equal_var=False) if len(numbers) > 1 else stats.ttest_1samp(*numbers, 0)
    low, high = test.confidence_interval(confidence)
    return float(low), float(high)


def t_p_value(numbers, value):
    """The two-sided p-value of the test that goes with `t_interval`: that the mean, or the difference, is `value`.

    Args:
        numbers: as in `t_interval`, enough for an interval.
        value: the hypothesis.
    """
    from scipy import stats

    first, *others = numbers
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Precision loss", RuntimeWarning)
        if others:
            return float(stats.ttest_ind([x - value for x in first], *others, equal_var=False).pvalue)
        return float(stats.ttest_1samp(first, value).pvalue)


def holm(p_values):
    """Holm's adjusted p-values: the chance that any true hypothesis is rejected stays below the level.

    Args:
        p_values: floats, of all hypotheses that are tested together.

    Returns:
        A list in the same order; reject where it is below the level.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of Statistics 6, 1979.
    """
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        largest = max(largest, (len(p_values) - rank) * p_values[index])
        adjusted[index] = min(1.0, largest)
    return adjusted


def expected_interval(numbers, runs, confidence=CONFIDENCE, further=False):
    """The interval that so many runs on each side would give, if all is truly as measured.

    Args:
        numbers: one or two lists of floats, enough for an interval.
        runs: two or more.
        confidence: 0 to 1.
        further: whether it is that of `next_run_interval`, and not that of `t_interval`.

    Returns:
        (low, high).
    """
    value, variances = mean_difference(numbers), [statistics.variance(side) for side in numbers]
    from scipy.stats import t

    quantile = t.ppf((1 + confidence) / 2, (runs - 1) * _freedom(variances))
    half = float(quantile) * math.sqrt(sum(variances) * (1 / runs + further))
    return value - half, value + half


def next_run_interval(numbers, confidence=CONFIDENCE):
    """The prediction interval of one more run, or of the difference of one more run on each side.

    Args:
        numbers: one or two lists of floats, normally distributed, as in `t_interval`.
        confidence: 0 to 1; a further number, or difference, lies in the interval so often.

    Returns:
        (low, high); (None, None) where there are fewer than two on a side, or no spread, as in `t_interval`.

    Source: mean ± t s sqrt(1 + 1/n), in Hahn and Meeker, Statistical Intervals, 1991; of a difference with Welch's
    degrees of freedom.
    """
    if not has_spread(numbers):
        return None, None
    from scipy.stats import t

    value, (spread, freedom) = mean_difference(numbers), _next_spread(numbers)
    half = float(t.ppf((1 + confidence) / 2, freedom)) * spread
    return value - half, value + half


def next_run_p_value(numbers, value):
    """The two-sided p-value of the test that goes with `next_run_interval`: that a further number may be `value`.

    Args:
        numbers: as there, enough for an interval.
        value: the further number, or difference.
    """
    from scipy.stats import t

    distance, (spread, freedom) = abs(mean_difference(numbers) - value), _next_spread(numbers)
    return float(2 * t.sf(distance / spread, freedom))


def _next_spread(numbers):
    """The standard deviation of a further number about the mean, or difference, and its degrees of freedom."""
    variances = [statistics.variance(side) * (1 + 1 / len(side)) for side in numbers]
    parts = sum(v**2 / (len(side) - 1) for v, side in zip(variances, numbers, strict=True))
    return math.sqrt(sum(variances)), sum(variances) ** 2 / parts


def sign_test(differences):
    """The p-value of the exact sign test: that differences are as often above zero as below it; zeros do not count."""
    from scipy.stats import binomtest

    above, below = (sum(sign * number > 0 for number in differences) for sign in (1, -1))
    return float(binomtest(above, above + below).pvalue) if above + below else 1.0


def runs_needed(numbers):
    """About how many runs (on each side) would show a difference as large as the one measured.

    Args:
        numbers: one or two lists of at least two floats, as in `t_interval`.

    Returns:
        The smallest number with which the 95 % interval would leave out 0 in four of five repeats, if difference and
        spread are truly as measured; None where there is no difference or no spread.
    """
    from scipy.stats import t

    difference, variances = mean_difference(numbers), [statistics.variance(side) for side in numbers]
    if not difference or not sum(variances):
        return None
    freedom = _freedom(variances)
    ratio = sum(variances) / difference**2
    runs = max(2, math.ceil(_normal_quantiles() ** 2 * ratio))
    while runs < ratio * sum(t.ppf((_upper(), POWER), (runs - 1) * freedom)) ** 2:
        runs += 1
    return runs


class Pairs(NamedTuple):
    """On how many of the same images each of two classifiers is right.

    Attributes:
        both, only_a, only_b, neither: numbers of images.
    """

    both: int
    only_a: int
    only_b: int
    neither: int


def count_pairs(right_a, right_b):
    """The Pairs of two classifiers.

    Args:
        right_a, right_b: booleans (n,), whether each is right, for the same images in the same order.

    Raises:
        InputError: if the two differ in length or are empty.
    """
    a, b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    require(a.shape == b.shape and a.ndim == 1 and len(a), "both must be of the same images", (a.shape, b.shape))
    return Pairs(*(int(np.sum(these)) for these in (a & b, a & ~b, ~a & b, ~a & ~b)))


def mcnemar(pairs):
    """The p-value of McNemar's exact test: that the images that only one has right are as often a's as b's.

    Args:
        pairs: Pairs.
    """
    from scipy.stats import binomtest

    discordant = pairs.only_a + pairs.only_b
    return float(binomtest(pairs.only_b, discordant).pvalue) if discordant else 1.0


def paired_interval(pairs):
    """Newcombe's 95 % interval of accuracy(b) - accuracy(a) on the same images, fractions of 1.

    Args:
        pairs: Pairs.

    Source: Newcombe, Improved confidence intervals for the difference between binomial proportions based on paired
    data, Statistics in Medicine 17, 1998, method 10.
    """
    both, only_a, only_b, neither = pairs
    total = sum(pairs)
    a, b = both + only_a, both + only_b
    product, scale = both * neither - only_a * only_b, a * (total - a) * b * (total - b)
    # With the paper's correction for continuity, which makes the interval wider.
    product = max(product - total / 2, 0) if product > 0 else product
    return _newcombe((a, total), (b, total), product / math.sqrt(scale) if scale else 0)


def unpaired_interval(a, b):
    """Newcombe's 95 % interval of accuracy(b) - accuracy(a) on different images, fractions of 1.

    Args:
        a, b: (right, total), numbers of images.

    Source: Newcombe, Interval estimation for the difference between independent proportions, Statistics in Medicine
    17, 1998, method 10.
    """
    return _newcombe(a, b, 0)


def _newcombe(a, b, correlation):
    """From Wilson's interval of each accuracy, and the correlation of being right."""
    (low_a, high_a), (low_b, high_b) = accuracy_interval(*a), accuracy_interval(*b)
    accuracy_a, accuracy_b = a[0] / a[1], b[0] / b[1]

    def distance(of_a, of_b):
        return math.sqrt(max(0, of_a**2 - 2 * correlation * of_a * of_b + of_b**2))

    difference = accuracy_b - accuracy_a
    low = difference - distance(high_a - accuracy_a, accuracy_b - low_b)
    return low, difference + distance(accuracy_a - low_a, high_b - accuracy_b)


def shows_difference(interval, p_value=None):
    """Whether a difference is shown: 0 is outside the interval, and the p-value, if there is one, below 5 %.

    Args:
        interval: (low, high).
        p_value: of the test that goes with it.
    """
    low, high = interval
    return (low > 0 or high < 0) and (p_value is None or p_value < 1 - CONFIDENCE)


def images_needed(pairs):
    """About how many of the same images would show a difference as large as the one measured; as `runs_needed`.

    It is at least the number with which these shares show it, and more than the present one where they do not.

    Args:
        pairs: Pairs.

    Source: Connor, Sample size for testing differences in proportions for the paired-sample design, Biometrics 43,
    1987.
    """
    total = sum(pairs)
    difference, discordant = (pairs.only_b - pairs.only_a) / total, (pairs.only_a + pairs.only_b) / total
    if not difference:
        return None
    from scipy.stats import norm

    def shown(images):
        only = [round(count * images / total) for count in (pairs.both, pairs.only_a, pairs.only_b)]
        like = Pairs(*only, max(0, images - sum(only)))
        return shows_difference(paired_interval(like), mcnemar(like))

    spread = norm.ppf(_upper()) * math.sqrt(discordant) + norm.ppf(POWER) * math.sqrt(discordant - difference**2)
    return _first_shown(math.ceil((spread / difference) ** 2), total, shown)


def unpaired_images_needed(a, b):
    """As `images_needed`, for two sets of different images, of each of them.

    Args:
        a, b: (right, total), numbers of images.
    """
    accuracies = [right / total for right, total in (a, b)]
    if accuracies[0] == accuracies[1]:
        return None

    def shown(images):
        return shows_difference(unpaired_interval(*((round(share * images), images) for share in accuracies)))

    variances = sum(accuracy * (1 - accuracy) for accuracy in accuracies)
    images = math.ceil(variances * (_normal_quantiles() / (accuracies[1] - accuracies[0])) ** 2)
    return _first_shown(images, min(a[1], b[1]), shown)


def _first_shown(images, present, shown):
    """The first number of images, from the one given, with which a difference is shown; not the present one if not."""
    images = max(1, images)
    if images <= present and not shown(present):
        images = present + 1
    # The approximation is far off where there are few images; where there are many, the first number will do.
    while images < FEW and not shown(images):
        images += 1
    return images


def _freedom(variances):
    """Welch's degrees of freedom with as many runs on each side, for each run after the first."""
    return sum(variances) ** 2 / sum(variance**2 for variance in variances)


def _upper():
    return (1 + CONFIDENCE) / 2


def _normal_quantiles():
    from scipy.stats import norm

    return norm.ppf(_upper()) + norm.ppf(POWER)
