# SPDX-License-Identifier: Apache-2.0
"""The statistics against answers that are known by other means."""
import math
import random
import unittest
from unittest import mock

import support  # noqa: F401 (sets the path)
from fastvmm_bench import stats


class Percentiles(unittest.TestCase):
    def test_known_values(self):
        values = [15, 20, 35, 40, 50]
        self.assertEqual(stats.percentile(values, 0), 15)
        self.assertEqual(stats.percentile(values, 1), 50)
        self.assertEqual(stats.percentile(values, 0.5), 35)
        self.assertAlmostEqual(stats.percentile(values, 0.4), 29)   # 20 + 0.6 * 15
        self.assertEqual(stats.percentile([7], 0.99), 7)

    def test_median_of_even_count_is_between(self):
        self.assertEqual(stats.median([4, 1, 3, 2]), 2.5)

    def test_order_does_not_matter_and_input_stays(self):
        values = [3, 1, 2]
        self.assertEqual(stats.median(values), 2)
        self.assertEqual(values, [3, 1, 2])

    def test_no_samples(self):
        with self.assertRaises(ValueError):
            stats.percentile([], 0.5)


class StudentT(unittest.TestCase):
    def test_published_quantiles(self):
        for degrees, value in ((1, 12.706), (6, 2.447), (30, 2.042), (40, 2.021), (60, 2.000),
                               (120, 1.980)):
            self.assertAlmostEqual(stats.t_95(degrees), value, delta=0.0006)


class Bootstrap(unittest.TestCase):
    def test_seven_samples_give_the_range(self):
        # For seven samples the widened levels reach the outermost order statistics, whose interval
        # holds the median in 1 - 2/2^7 = 98.4 % of cases; the next ones would in 87.5 % only.
        self.assertEqual(stats.bootstrap_interval([5, 1, 4, 2, 7, 3, 6]), (1, 7))

    def test_deterministic(self):
        values = [1.0, 1.5, 0.7, 1.1, 1.9, 1.2, 1.4, 1.3, 0.9]
        self.assertEqual(stats.bootstrap_interval(values), stats.bootstrap_interval(values))

    def test_equal_samples_have_no_width(self):
        self.assertEqual(stats.bootstrap_interval([3.0] * 9), (3.0, 3.0))

    def test_one_sample_has_no_interval(self):
        self.assertEqual(stats.bootstrap_interval([3.0]), (None, None))

    def test_contains_the_estimate(self):
        generator = random.Random(5)
        for count in (2, 3, 5, 8, 15, 30):
            values = [generator.lognormvariate(0, 0.3) for _ in range(count)]
            low, high = stats.bootstrap_interval(values)
            self.assertLessEqual(low, stats.median(values))
            self.assertGreaterEqual(high, stats.median(values))

    def coverage(self, count, trials):
        """In how many of `trials` data sets of a skewed distribution the interval holds its median."""
        generator = random.Random(11)
        hits = 0
        for trial in range(trials):
            values = [generator.lognormvariate(0, 0.5) for _ in range(count)]
            low, high = stats.bootstrap_interval(values, seed=trial)
            hits += low <= 1.0 <= high
        return hits / trials

    def test_coverage(self):
        # 95 % are claimed. 400 trials have a standard error of 1.1 %; the random numbers are fixed.
        for count in (7, 9, 15):
            self.assertGreaterEqual(self.coverage(count, 400), 0.94, f"{count} samples")
        self.assertLess(self.coverage(25, 400), 0.99)  # not so wide that it says nothing


class SignFlips(unittest.TestCase):
    def test_all_one_way(self):
        # Only the arrangement itself and its mirror image are as extreme: 2 of 2^7.
        self.assertEqual(stats.sign_flip_test([1, 2, 3, 4, 5, 6, 7]), 2 / 128)

    def test_known_small_case(self):
        # The sums of +-1 +-3 +-2 are 6, 2, 0, 4 and their negatives; |1 + 3 - 2| = 2 or more: six of eight.
        self.assertEqual(stats.sign_flip_test([1, 3, -2]), 6 / 8)

    def test_no_difference(self):
        self.assertEqual(stats.sign_flip_test([0.0] * 5), 1.0)

    def test_random_arrangements_agree_with_all_of_them(self):
        values = [0.3, -0.1, 0.4, 0.2, -0.2, 0.5, 0.1, 0.3, -0.3, 0.2]
        exact = stats.sign_flip_test(values)
        with mock.patch.object(stats, "ARRANGEMENTS_MAX", 1000):
            self.assertAlmostEqual(stats.sign_flip_test(values), exact, delta=0.03)

    def test_level(self):
        # Where there is no difference, p below 0.05 comes up in at most 5 % of cases.
        generator = random.Random(3)
        below = sum(stats.sign_flip_test([generator.gauss(0, 1) for _ in range(7)]) < 0.05
                    for _ in range(1000))
        self.assertLess(below, 70)
        self.assertGreater(below, 15)


class Permutations(unittest.TestCase):
    def test_separated_samples(self):
        # 2 of the C(8, 4) = 70 ways to choose are as extreme.
        self.assertEqual(stats.permutation_test([1, 2, 3, 4], [11, 12, 13, 14]), 2 / 70)

    def test_same_samples(self):
        self.assertEqual(stats.permutation_test([1, 2, 3], [1, 2, 3]), 1.0)

    def test_random_arrangements_agree_with_all_of_them(self):
        first, second = [1.0, 1.2, 0.9, 1.4, 1.1], [1.3, 1.5, 1.2, 1.6, 1.0]
        exact = stats.permutation_test(first, second)
        with mock.patch.object(stats, "ARRANGEMENTS_MAX", 200):
            self.assertAlmostEqual(stats.permutation_test(first, second), exact, delta=0.1)


class Ratios(unittest.TestCase):
    def test_pairs_cancel_drift(self):
        drift = [100, 130, 90, 200, 150, 80, 120]
        result = stats.paired_ratio([2 * value for value in drift], drift)
        self.assertAlmostEqual(result["ratio"], 2)
        self.assertAlmostEqual(result["low"], 2)
        self.assertAlmostEqual(result["high"], 2)
        self.assertEqual(result["p"], 2 / 128)

    def test_same_on_both_sides(self):
        values = [100, 130, 90, 200, 150, 80, 120]
        self.assertEqual(stats.paired_ratio(values, values)["p"], 1.0)

    def test_no_ratio_with_zero(self):
        self.assertIsNone(stats.paired_ratio([1, 2], [0, 1]))
        self.assertIsNone(stats.paired_ratio([1, 2], [1]))
        self.assertIsNone(stats.unpaired_ratio([], [1]))

    def test_unpaired(self):
        result = stats.unpaired_ratio([3, 3.1, 2.9, 3, 3.05], [1, 1.1, 0.9, 1, 0.95])
        self.assertAlmostEqual(result["ratio"], 3)
        self.assertLess(result["low"], 3)
        self.assertGreater(result["high"], 3)
        self.assertAlmostEqual(result["p"], 2 / math.comb(10, 5))


if __name__ == "__main__":
    unittest.main()
