# SPDX-License-Identifier: Apache-2.0
"""Medians, bootstrap intervals and permutation tests, for samples of a dozen or so.

Intervals: the percentile bootstrap, with its levels widened for small samples (Hesterberg 2015, "What
teachers should know about the bootstrap": an interval of n samples takes the percentiles that a normal
distribution has at t(n-1) * sqrt(n/(n-1))). Without that, seven samples give a 95 % interval that holds
the true median in 88 % of cases; with it, in 95 % or more. tests/bench checks the coverage.

Tests: exact where the number of arrangements is small, else by random arrangements. Random numbers come
from a fixed seed, so that the same samples always give the same report.
"""
import functools
import itertools
import math
import random
from statistics import NormalDist

import numpy

RESAMPLES = 5000
ARRANGEMENTS_MAX = 20000
SEED = 20240229

# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom.
_T_95 = [12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281,
         2.2010, 2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860,
         2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423]


def t_95(degrees):
    """The two-sided 95 % quantile of Student's t."""
    if degrees < 1:
        raise ValueError("at least one degree of freedom is needed")
    if degrees <= len(_T_95):
        return _T_95[degrees - 1]
    z = 1.959964  # Cornish-Fisher, exact to four digits from 30 on
    return z + (z ** 3 + z) / (4 * degrees) + (5 * z ** 5 + 16 * z ** 3 + 3 * z) / (96 * degrees ** 2)


def percentile(values, fraction):
    """Linear interpolation between the order statistics; fraction from 0 to 1."""
    if not values:
        raise ValueError("no samples")
    ordered = sorted(values)
    place = fraction * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


def median(values):
    return percentile(values, 0.5)


def _levels(count):
    z = t_95(count - 1) * math.sqrt(count / (count - 1))
    low = NormalDist().cdf(-z)
    return low, 1 - low


def _order_statistic(values, fraction):
    """The value that `fraction` of all do not exceed: no interpolation, so intervals never shrink."""
    ordered = numpy.sort(values)
    place = min(len(ordered), max(1, math.ceil(fraction * len(ordered))))
    return float(ordered[place - 1])


@functools.lru_cache(maxsize=64)
def _draws(count, resamples, seed):
    return numpy.random.default_rng(seed).integers(0, count, (resamples, count))


def _medians(values, seed):
    """The medians of all resamples."""
    return numpy.median(numpy.asarray(values, float)[_draws(len(values), RESAMPLES, seed)], axis=1)


def bootstrap_interval(values, seed=SEED):
    """A 95 % interval of the median, as (low, high). One sample has no interval: (None, None)."""
    if len(values) < 2:
        return None, None
    replicas = _medians(values, seed)
    low, high = _levels(len(values))
    return _order_statistic(replicas, low), _order_statistic(replicas, high)


def summary(values):
    """What is shown of a sample."""
    low, high = bootstrap_interval(values)
    return {"n": len(values), "median": median(values), "low": low, "high": high,
            "min": min(values), "max": max(values)}


def sign_flip_test(differences, seed=SEED):
    """Two-sided p of paired differences: how often do random signs give a mean as large?"""
    count = len(differences)
    if not count:
        raise ValueError("no samples")
    target = abs(sum(differences)) * (1 - 1e-12)
    if 2 ** count <= ARRANGEMENTS_MAX:
        arrangements = itertools.product((1, -1), repeat=count)
        hits = [abs(sum(s * d for s, d in zip(signs, differences))) >= target
                for signs in arrangements]
        return sum(hits) / len(hits)
    generator = random.Random(seed)
    hits = sum(abs(sum(d if generator.random() < 0.5 else -d for d in differences)) >= target
               for _ in range(ARRANGEMENTS_MAX))
    return (hits + 1) / (ARRANGEMENTS_MAX + 1)


def permutation_test(first, second, seed=SEED):
    """Two-sided p of the difference of means of two independent samples."""
    pooled = list(first) + list(second)
    count, total = len(first), sum(pooled)

    def distance(part):
        return abs(part / count - (total - part) / len(second))

    if not first or not second:
        raise ValueError("no samples")
    target = distance(sum(first)) * (1 - 1e-12)
    if math.comb(len(pooled), count) <= ARRANGEMENTS_MAX:
        hits = [distance(sum(chosen)) >= target
                for chosen in itertools.combinations(pooled, count)]
        return sum(hits) / len(hits)
    generator = random.Random(seed)
    hits = 0
    for _ in range(ARRANGEMENTS_MAX):
        generator.shuffle(pooled)
        hits += distance(sum(pooled[:count])) >= target
    return (hits + 1) / (ARRANGEMENTS_MAX + 1)


def _comparable(*samples):
    return all(values and all(v > 0 for v in values) for values in samples)


def paired_ratio(first, second):
    """first/second of runs made as pairs: median of the pairs' ratios, interval, p. None where a
    value is zero or missing, so that there is no ratio."""
    if len(first) != len(second) or not _comparable(first, second):
        return None
    ratios = [a / b for a, b in zip(first, second)]
    low, high = bootstrap_interval(ratios)
    return {"n": len(ratios), "ratio": median(ratios), "low": low, "high": high,
            "p": sign_flip_test([math.log(r) for r in ratios])}


def unpaired_ratio(first, second, seed=SEED):
    """first/second of independent runs: ratio of medians, interval, p. None as above."""
    if not _comparable(first, second):
        return None
    estimate = median(first) / median(second)
    result = {"n": min(len(first), len(second)), "ratio": estimate, "low": None, "high": None,
              "p": permutation_test([math.log(v) for v in first], [math.log(v) for v in second])}
    if min(len(first), len(second)) < 2:
        return result
    replicas = _medians(first, seed) / _medians(second, seed + 1)
    low, high = _levels(min(len(first), len(second)))
    result["low"], result["high"] = _order_statistic(replicas, low), _order_statistic(replicas, high)
    return result
