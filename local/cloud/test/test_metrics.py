import unittest

from metrics import MAX_DISTINCT, OLDEST, RECENT, Store


def series(store, statistic, end, period=1, length=1):
    return store.series("S", "m", {}, statistic, end, period, length)


class Statistics(unittest.TestCase):
    def test_a_period_has_the_statistics_of_its_minutes(self):
        store = Store()
        for minute, value in ((1, 4), (2, 8), (3, 100)):
            store.add("S", "m", {}, minute, value, times=2)
        found = {name: series(store, name, 3, 2) for name in ("Sum", "Average", "Minimum", "Maximum", "SampleCount", "p50")}
        self.assertEqual(found, {"Sum": [24], "Average": [6], "Minimum": [4], "Maximum": [8], "SampleCount": [4], "p50": [6]})

    def test_a_rank_excludes_the_lower_bound_and_includes_the_upper_bound(self):
        store = Store()
        for value in (100, 300, 300.1, 500):
            store.add("S", "m", {}, 0, value)
        found = [series(store, name, 1) for name in ("PR(:300)", "PR(100:300)", "PR(300:)")]
        self.assertEqual(found, [[50], [25], [50]])

    def test_an_unknown_statistic_is_rejected(self):
        store = Store()
        store.add("S", "m", {}, 0, 1)
        with self.assertRaises(ValueError):
            series(store, "tm99", 1)


class Memory(unittest.TestCase):
    def test_many_distinct_values_take_bounded_memory_and_keep_their_side_of_a_threshold(self):
        store = Store()
        for value in range(20_000):
            store.add("S", "m", {}, 0, 990 + value / 1000)
        [bucket] = next(iter(store.metrics.values())).buckets.values()
        self.assertLess(len(bucket.values), 2 * MAX_DISTINCT)
        [rank] = series(store, "PR(:1000)", 1)
        self.assertAlmostEqual(rank, 50, delta=0.1)
        self.assertEqual(series(store, "SampleCount", 1), [20_000])

    def test_old_minutes_are_merged_and_very_old_ones_are_deleted(self):
        store = Store()
        for minute in range(0, 3 * RECENT, 10):
            store.add("S", "m", {}, minute, 1)
        total = series(store, "Sum", 3 * RECENT, 3 * RECENT)
        store.compact(3 * RECENT)
        [metric] = store.metrics.values()
        self.assertEqual(series(store, "Sum", 3 * RECENT, 3 * RECENT), total)
        self.assertEqual(len(metric.buckets), RECENT // 10 + 2 * RECENT // 60)
        store.compact(3 * RECENT + OLDEST)
        self.assertEqual(store.metrics, {})
