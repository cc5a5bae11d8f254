import unittest

from metric_math import Evaluation, MathError

N = None  # no data

# Expressions, series, and results of https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html.
DOCUMENTED = [
    ("m1 < m2", {"m1": [30, 20, 0, 0], "m2": [20, N, 20, N]}, [0, 0, 1, 0]),
    ("m1 >= 30", {"m1": [30, 20, 0, 0]}, [1, 0, 0, 0]),
    ("m1 > 15 AND m2 > 15", {"m1": [30, 20, 0, 0], "m2": [20, N, 20, N]}, [1, 0, 0, 0]),
    ("IF(m1, m2, m3)", {"m1": [1, 1, 0, 0, N], "m2": [30, N, 0, 0, 30], "m3": [0, 0, 20, N, 20]}, [30, 0, 20, N, N]),
    ("IF(m1, 5, m3)", {"m1": [1, 1, 0, 0, N], "m3": [0, 0, 20, N, 20]}, [5, 5, 20, N, N]),
    ("IF(m1, m2, 5)", {"m1": [1, 1, 0, 0, N], "m2": [30, N, 0, 0, 30]}, [30, 0, 5, 5, N]),
    ("IF(m1 < 400, m1)", {"m1": [300, 500, N]}, [300, N, N]),
]
OTHER = [
    ("a + 2 * b - 1", {"a": [1, N, N], "b": [2, 3, N]}, [4, 5, N]),
    ("-(a - b) / b", {"a": [1, 2], "b": [2, 0]}, [0.5, N]),
    ("100 * a / (a + b)", {"a": [1, 0], "b": [3, 0]}, [25, N]),
    ("FILL(a, 0) + 1", {"a": [N, 2]}, [1, 3]),
    ("FILL(a, REPEAT)", {"a": [N, 2, N]}, [N, 2, 2]),
    ("FILL(a, b)", {"a": [N, 2], "b": [7, 8]}, [7, 2]),
    ("SUM([a, b])", {"a": [1, N, N], "b": [2, 3, N]}, [3, 3, N]),
    ("SUM(METRICS())", {"a": [1, 2], "b": [3, 4]}, [4, 6]),
    ('SUM(METRICS("a"))', {"a": [1, 2], "b": [3, 4]}, [1, 2]),
    ("MAX([a, b, 2])", {"a": [1, 5], "b": [N, 4]}, [2, 5]),
    ("a - MIN(a)", {"a": [3, 5, N]}, [0, 2, N]),
    ("a / PERIOD(a)", {"a": [60, N]}, [1, N]),
    ("IF(a > 1 OR b > 1, 1, 0)", {"a": [1, 2], "b": [1, 0]}, [0, 1]),
    ("ABS(a - 3)", {"a": [1, 4]}, [2, 1]),
    ("RUNNING_SUM(a)", {"a": [1, N, 2]}, [1, N, 3]),
    ("AVG([a, b])", {"a": [1, 2], "b": [3, 4]}, [2, 3]),
    ("2 ^ a", {"a": [1, 3]}, [2, 8]),
    ("a == b || a != 1", {"a": [1, 1, 2], "b": [1, 2, 3]}, [1, 0, 1]),
]


def evaluate(expression, series):
    """Returns the time series of an expression."""
    length = len(next(iter(series.values()), []))
    return Evaluation(series.__getitem__, list(series), length, 60).series(expression)


class Expressions(unittest.TestCase):
    def test_the_examples_of_the_documentation(self):
        for expression, series, result in DOCUMENTED:
            with self.subTest(expression=expression):
                self.assertEqual(evaluate(expression, series), result)

    def test_operators_and_functions(self):
        for expression, series, result in OTHER:
            with self.subTest(expression=expression):
                self.assertEqual(evaluate(expression, series), result)

    def test_a_malformed_expression_is_rejected(self):
        for expression in ("a +", "(a", "a b", "a $ b", "FILL(a 0)", "[a", ""):
            with self.subTest(expression=expression), self.assertRaises(MathError):
                evaluate(expression, {"a": [1]})

    def test_an_expression_without_a_time_series_is_rejected(self):
        for expression in ("1", "SUM(a)", "[a, a]"):
            with self.subTest(expression=expression), self.assertRaises(MathError):
                evaluate(expression, {"a": [1]})

    def test_an_unknown_function_is_rejected(self):
        with self.assertRaisesRegex(MathError, "SEARCH"):
            evaluate('SEARCH("a")', {"a": [1]})
