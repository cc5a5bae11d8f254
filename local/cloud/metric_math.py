"""CloudWatch's metric math: parses and evaluates expressions such as `100 * FILL(errors, 0) / requests`.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/using-metric-math.html describes the language. A value is a number,
a time series, or an array of time series. A time series is a list with a number per period, or None for a period without
data. An array is a tuple.
"""

import functools
import math
import operator
import re

TOKEN = re.compile(r'\s*(?:(\d+(?:\.\d+)?)|([A-Za-z_]\w*)|"([^"]*)"|(&&|\|\||[<>=!]=|[-+*/^<>(),\[\]]))')

COMPARISONS = {
    "==": operator.eq,
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}


def either(left, right):
    return bool(left) or bool(right)


def both(left, right):
    return bool(left) and bool(right)


# The binary operators, by precedence. The first level binds weakest.
LEVELS = [
    {"OR": either, "||": either},
    {"AND": both, "&&": both},
    COMPARISONS,
    {"+": operator.add, "-": operator.sub},
    {"*": operator.mul, "/": operator.truediv},
    {"^": operator.pow},
]


class MathError(ValueError):
    """CloudWatch rejects the expression, or the expression uses a function that is not implemented here."""


class Parser:
    """A recursive-descent parser. The nodes of the syntax tree are tuples that begin with the kind of the node."""

    def __init__(self, expression):
        self.expression, self.tokens = expression, []
        position, end = 0, len(expression.rstrip())
        while position < end:
            match = TOKEN.match(expression, position)
            if not match:
                self.fail(expression[position:])
            kind = ("number", "word", "string", "sign")[match.lastindex - 1]
            self.tokens.append((kind, match[match.lastindex]))
            position = match.end()
        self.tokens.append(("end", "the end"))
        self.tokens.reverse()  # the next token is the last one

    def fail(self, text):
        raise MathError(f"unexpected {text!r} in the expression {self.expression!r}")

    def next_is(self, *texts):
        kind, text = self.tokens[-1]
        return kind in ("sign", "word") and text in texts

    def skip(self, text):
        if not self.next_is(text):
            self.fail(self.tokens[-1][1])
        self.tokens.pop()

    def whole(self):
        tree = self.binary(0)
        if self.tokens[-1][0] != "end":
            self.fail(self.tokens[-1][1])
        return tree

    def binary(self, level):
        if level == len(LEVELS):
            return self.operand()
        node = self.binary(level + 1)
        while self.next_is(*LEVELS[level]):
            _, sign = self.tokens.pop()
            node = ("binary", LEVELS[level][sign], node, self.binary(level + 1))
        return node

    def operand(self):
        kind, text = self.tokens.pop()
        if kind == "number":
            return ("value", float(text))
        if kind == "string":
            return ("value", text)
        if text == "-":
            return ("binary", operator.mul, ("value", -1.0), self.operand())
        if text == "(":
            node = self.binary(0)
            self.skip(")")
            return node
        if text == "[":
            return ("array", self.items("]"))
        if kind == "word" and self.next_is("("):
            self.skip("(")
            return ("call", text, self.items(")"))
        if kind == "word":
            return ("name", text)
        return self.fail(text)

    def items(self, end):
        found = []
        while not self.next_is(end):
            if found:
                self.skip(",")
            found.append(self.binary(0))
        self.skip(end)
        return found


@functools.lru_cache(maxsize=1024)
def parse(expression):
    """Returns the syntax tree of an expression. Raises MathError if the syntax is wrong."""
    return Parser(expression).whole()


class Evaluation:
    """The evaluation of one expression. All time series have `length` points.

    `resolve` returns the time series of a metric or of another expression, by its ID. `metrics` are the IDs of all metrics,
    `period` is the length of a period in seconds.
    """

    def __init__(self, resolve, metrics, length, period):
        self.resolve, self.metrics, self.length, self.period = resolve, metrics, length, period

    def series(self, expression):
        """Returns the time series that an expression describes. Raises MathError if it describes something else."""
        value = self.value(parse(expression))
        if isinstance(value, tuple) and len(value) == 1:
            [value] = value
        if not isinstance(value, list):
            raise MathError(f"the expression {expression!r} is not a time series")
        return value

    def value(self, node):
        kind, *parts = node
        if kind == "value":
            return parts[0]
        if kind == "name":
            return self.resolve(parts[0])
        if kind == "array":
            return flat(self.value(item) for item in parts[0])
        if kind == "binary":
            operate, left, right = parts
            return self.combine(operate, self.value(left), self.value(right))
        name, arguments = parts
        function = FUNCTIONS.get(name)
        if not function:
            raise MathError(f"the function {name} of metric math is unknown")
        if name == "FILL" and arguments[1][0] == "name" and arguments[1][1] == "REPEAT":
            return each(repeat, self.value(arguments[0]))
        return function(self, *(self.value(argument) for argument in arguments))

    def points(self, value):
        """Returns a value as a time series."""
        return value if isinstance(value, list) else [value] * self.length

    def combine(self, operate, left, right):
        """Applies a binary operator.

        Where one of two time series has no data, its value is 0. Where both have none, and where the divisor is 0, the
        result has none.
        """
        for value, swap in ((left, False), (right, True)):
            if isinstance(value, tuple):
                others = right if not swap else left
                others = others if isinstance(others, tuple) else (others,) * len(value)
                lefts, rights = (value, others) if not swap else (others, value)
                return tuple(self.combine(operate, a, b) for a, b in zip(lefts, rights, strict=True))
        if not isinstance(left, list) and not isinstance(right, list):
            return calculate(operate, left, right)
        if isinstance(left, list) and isinstance(right, list):
            pairs = zip(left, right, strict=True)
            return [None if a is b is None else calculate(operate, a or 0.0, b or 0.0) for a, b in pairs]
        pairs = zip(self.points(left), self.points(right), strict=True)
        return [None if a is None or b is None else calculate(operate, a, b) for a, b in pairs]

    def choose(self, condition, then, otherwise=None):
        """The function IF."""
        if not isinstance(condition, list):
            return self.points(then if condition else otherwise)
        rows = zip(condition, self.points(then), self.points(otherwise), strict=True)
        return [None if test is None else no if not test else yes if yes is not None else 0.0 for test, yes, no in rows]

    def fill(self, value, filler):
        """The function FILL, except with REPEAT."""
        filled = self.points(filler)
        return each(lambda series: [other if point is None else point for point, other in zip(series, filled, strict=True)], value)

    def all_metrics(self, part=""):
        """The function METRICS."""
        return tuple(self.resolve(name) for name in self.metrics if part in name)


def calculate(operate, left, right):
    """Applies a binary operator to two numbers. Returns None for a division by 0."""
    try:
        return float(operate(left, right))
    except (ZeroDivisionError, OverflowError):
        return None


def flat(values):
    """Returns the time series of values and of arrays as one array."""
    return tuple(series for value in values for series in (value if isinstance(value, tuple) else (value,)))


def each(function, value):
    """Applies a function to a time series, or to each one of an array."""
    return tuple(map(function, value)) if isinstance(value, tuple) else function(value)


def pointwise(function):
    """Returns a function of metric math that changes each point."""
    return lambda _, value: each(lambda series: [None if point is None else float(function(point)) for point in series], value)


def repeat(series):
    """Fills a time series with the latest earlier value."""
    latest, filled = None, []
    for point in series:
        latest = latest if point is None else point
        filled.append(latest)
    return filled


def running_sum(series):
    """Returns the sums of the points up to each point."""
    total, sums = 0.0, []
    for point in series:
        total += point or 0.0
        sums.append(None if point is None else total)
    return sums


def aggregate(function):
    """Returns a function of metric math that makes a number of a time series, and a time series of an array."""

    def combined(evaluation, value):
        if isinstance(value, tuple):
            rows = zip(*map(evaluation.points, value), strict=True)
            rows = ([point for point in row if point is not None] for row in rows)
            return [float(function(row)) if row else None for row in rows]
        return float(function([point for point in value if point is not None] or [0.0]))

    return combined


FUNCTIONS = {
    "ABS": pointwise(abs),
    "AVG": aggregate(lambda points: sum(points) / len(points)),
    "CEIL": pointwise(math.ceil),
    "FILL": Evaluation.fill,
    "FLOOR": pointwise(math.floor),
    "IF": Evaluation.choose,
    "MAX": aggregate(max),
    "METRICS": Evaluation.all_metrics,
    "MIN": aggregate(min),
    "PERIOD": lambda evaluation, _: float(evaluation.period),
    "RUNNING_SUM": lambda _, value: each(running_sum, value),
    "SUM": aggregate(sum),
    "TIME_SERIES": Evaluation.points,
}
