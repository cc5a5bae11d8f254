"""The values of CloudWatch metrics, per minute, and their statistics.

A minute here is a minute of CloudWatch. In a local cloud it can last less than 60 seconds.
"""

import bisect
import re
import threading

RECENT = 24 * 60  # the number of minutes that are kept one by one
OLDEST = 31 * 24 * 60  # the number of minutes after which values are deleted
HOUR = 60
# The number of distinct values that a minute keeps exactly. If there are more, values are rounded up to three significant digits.
MAX_DISTINCT = 256
PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d+)?|100)")
RANK = re.compile(r"PR\((\d*\.?\d*):(\d*\.?\d*)\)")


def identify(namespace, name, dimensions):
    """Returns the key of a metric. Metrics with other dimensions are other metrics."""
    return namespace, name, tuple(sorted(dimensions.items()))


def round_up(value):
    """Rounds a value up to three significant digits. A value that is above such a number stays above it."""
    rounded = float(f"{value:.2e}")
    return rounded if rounded >= value else rounded + 10.0 ** (int(f"{value:e}".partition("e")[2]) - 2)


class Bucket:
    """The values of a metric in a minute or an hour."""

    __slots__ = ("count", "largest", "smallest", "total", "values")

    def __init__(self):
        self.count, self.total = 0.0, 0.0
        self.smallest, self.largest = float("inf"), float("-inf")
        self.values = {}  # the number of times that each value occurs

    def add(self, value, times=1.0):
        self.count += times
        self.total += value * times
        self.smallest, self.largest = min(self.smallest, value), max(self.largest, value)
        if value not in self.values and len(self.values) >= MAX_DISTINCT:
            value = round_up(value)
        self.values[value] = self.values.get(value, 0.0) + times

    def merge(self, other):
        self.count += other.count
        self.total += other.total
        self.smallest, self.largest = min(self.smallest, other.smallest), max(self.largest, other.largest)
        for value, times in other.values.items():
            if value not in self.values and len(self.values) >= MAX_DISTINCT:
                value = round_up(value)
            self.values[value] = self.values.get(value, 0.0) + times


def count_of(buckets):
    """Returns the number of values."""
    return sum(bucket.count for bucket in buckets)


def total_of(buckets):
    """Returns the sum of the values."""
    return sum(bucket.total for bucket in buckets)


def value_at(values, position):
    """Returns the value at a position in sorted values, which are pairs of a value and its number."""
    seen = 0.0
    for value, times in values:
        seen += times
        if position < seen:
            return value
    return values[-1][0]


def percentile(buckets, percent):
    """Interpolates linearly between the two nearest values."""
    values = sorted(item for bucket in buckets for item in bucket.values.items())
    position = percent / 100 * (count_of(buckets) - 1)
    below, above = value_at(values, int(position)), value_at(values, int(position) + 1)
    return below + position % 1 * (above - below)


def rank(buckets, lower, upper):
    """The percentage of values above `lower` and up to `upper`."""
    low, high = float(lower or "-inf"), float(upper or "inf")
    inside = sum(times for bucket in buckets for value, times in bucket.values.items() if low < value <= high)
    return 100 * inside / count_of(buckets)


STATISTICS = {
    "Average": lambda buckets: total_of(buckets) / count_of(buckets),
    "Maximum": lambda buckets: max(bucket.largest for bucket in buckets),
    "Minimum": lambda buckets: min(bucket.smallest for bucket in buckets),
    "SampleCount": count_of,
    "Sum": total_of,
}


def statistic_of(buckets, name):
    """Returns a statistic of the values in buckets. Raises ValueError if its name is unknown.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Statistics-definitions.html
    """
    if name in STATISTICS:
        return STATISTICS[name](buckets)
    if match := PERCENTILE.fullmatch(name):
        return percentile(buckets, float(match[1]))
    if match := RANK.fullmatch(name):
        return rank(buckets, *match.groups())
    raise ValueError(f"the statistic {name} is unknown")


class Metric:
    """The values of one metric, by minute. Each hour that is older than RECENT has one bucket, at its first minute."""

    def __init__(self):
        self.minutes, self.buckets = [], {}  # the minutes that have a bucket, in order

    def at(self, minute):
        bucket = self.buckets.get(minute)
        if bucket is None:
            bucket = self.buckets[minute] = Bucket()
            if self.minutes and minute < self.minutes[-1]:
                bisect.insort(self.minutes, minute)
            else:
                self.minutes.append(minute)
        return bucket

    def between(self, start, end):
        """Returns the minutes from `start` to before `end` that have a bucket."""
        return self.minutes[bisect.bisect_left(self.minutes, start) : bisect.bisect_left(self.minutes, end)]

    def statistic(self, name, start, end):
        """Returns a statistic of the values from `start` to before `end`. None if there are none."""
        buckets = [self.buckets[minute] for minute in self.between(start, end)]
        return statistic_of(buckets, name) if buckets else None

    def compact(self, now):
        """Merges the old minutes of each hour, and deletes those that are too old."""
        hours = {}
        for minute in self.between(float("-inf"), now - RECENT):
            bucket = self.buckets.pop(minute)
            if minute >= now - OLDEST:
                hours.setdefault(minute - minute % HOUR, Bucket()).merge(bucket)
        self.buckets |= hours
        self.minutes = sorted(self.buckets)


class Store:
    """All metrics of a CloudWatch. Several threads may use it."""

    def __init__(self):
        self.metrics, self.compacted, self.lock = {}, 0, threading.Lock()

    def add(self, namespace, name, dimensions, minute, value, times=1.0):
        """Adds a value that was measured `times` times in a minute."""
        key = identify(namespace, name, dimensions)
        with self.lock:
            metric = self.metrics.setdefault(key, Metric())
            metric.at(int(minute)).add(float(value), float(times))

    def series(self, namespace, name, dimensions, statistic, end, period, length):
        """Returns a statistic for each of the `length` periods before `end`, the oldest first. Periods are in minutes."""
        key, first = identify(namespace, name, dimensions), end - period * length
        with self.lock:
            metric = self.metrics.get(key)
            if metric is None or not metric.between(first, end):
                return [None] * length
            return [metric.statistic(statistic, start, start + period) for start in range(first, end, period)]

    def compact(self, now):
        """Limits the memory that old values take. `now` is a minute."""
        if now - self.compacted < HOUR:
            return
        self.compacted = now
        with self.lock:
            for metric in self.metrics.values():
                metric.compact(now)
            self.metrics = {key: metric for key, metric in self.metrics.items() if metric.buckets}
