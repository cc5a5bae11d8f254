"""Evaluates CloudWatch alarms by the documented rules of CloudWatch.

Reads JSON from stdin if it runs as a program: `alarms` are the properties of AWS::CloudWatch::Alarm and
AWS::CloudWatch::CompositeAlarm, `metrics` are values, each with `namespace`, `name`, `dimensions`, `at` and `value`, and `at`
is the time of the last evaluation. Times are minutes. The alarms are evaluated after each minute, from the first value on: a
value at the minute 5.0 to 5.9 counts from the evaluation at 6 on. Prints JSON: `states` has the last state of each alarm,
`actions` has an entry with `at`, `alarm` and `state` for each time that an alarm performed its actions.
"""

import functools
import json
import re
import sys

from metric_math import COMPARISONS, Evaluation
from metrics import Store

OK, ALARM, INSUFFICIENT_DATA = "OK", "ALARM", "INSUFFICIENT_DATA"

# CloudWatch looks at more periods than it needs, and evaluates the latest ones that have data. For 3 evaluation periods, the
# documentation says that it looks at 5.
ADDITIONAL_PERIODS = 2

OPERATORS = {
    "GreaterThanOrEqualToThreshold": (">=", "greater than or equal to"),
    "GreaterThanThreshold": (">", "greater than"),
    "LessThanOrEqualToThreshold": ("<=", "less than or equal to"),
    "LessThanThreshold": ("<", "less than"),
}


def text_of(value):
    """Returns a value as text. In templates, dimensions and names may be functions of CloudFormation."""
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def dimensions_of(metric):
    """Returns the dimensions of a metric in an alarm."""
    return {dimension["Name"]: text_of(dimension["Value"]) for dimension in metric.get("Dimensions") or []}


class Queries:
    """The queries of an alarm or of a call of GetMetricData: metrics and expressions, by their IDs."""

    def __init__(self, queries, store):
        self.queries, self.store = {query["Id"]: query for query in queries}, store

    def metrics(self):
        """Returns the IDs of the queries that are metrics."""
        return [name for name, query in self.queries.items() if "MetricStat" in query]

    def period(self, name):
        """Returns the period of a query in seconds: the longest one of all metrics if the query is an expression."""
        query = self.queries[name]
        metrics = [query] if "MetricStat" in query else [self.queries[name] for name in self.metrics()]
        return int(query.get("Period") or max((int(metric["MetricStat"]["Period"]) for metric in metrics), default=60))

    def series(self, name, end, period, length):
        """Returns the time series of a query, with `length` periods before the minute `end`. `period` is in seconds."""
        query = self.queries.get(name)
        if query is None:
            raise ValueError(f"no query has the ID {name}")
        if "Expression" in query:
            resolve = functools.cache(lambda other: self.series(other, end, period, length))
            return Evaluation(resolve, self.metrics(), length, period).series(query["Expression"])
        statistic = query["MetricStat"]
        metric = statistic["Metric"]
        key = (metric["Namespace"], metric["MetricName"], dimensions_of(metric))
        return self.store.series(*key, statistic["Stat"], end, max(period // 60, 1), length)


def queries_of(alarm):
    """Returns the queries of a metric alarm, and the ID of the one that is compared with the threshold."""
    if metrics := alarm.get("Metrics"):
        [compared] = [query["Id"] for query in metrics if query.get("ReturnData", True)]
        return metrics, compared
    metric = {name: alarm.get(name) for name in ("Namespace", "MetricName", "Dimensions")}
    statistic = alarm.get("ExtendedStatistic") or alarm.get("Statistic") or "Average"
    return [{"Id": "m", "MetricStat": {"Metric": metric, "Stat": statistic, "Period": alarm.get("Period", 60)}}], "m"


def state_of(points, breaches, required, treatment):
    """Returns the state for the points in the evaluation range, the oldest first. None: the state does not change.

    `breaches` says whether a point reaches the threshold. `required` has the numbers of evaluation periods and of datapoints to
    alarm. https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html
    """
    periods, datapoints = required
    found = [(len(points) - index, breaches(point)) for index, point in enumerate(points) if point is not None]
    breaching = sum(is_breaching for _, is_breaching in found[-periods:])
    missing = periods - len(found)
    if missing > 0 and treatment == "breaching":
        breaching += missing
    if breaching >= datapoints:
        return ALARM
    if missing <= 0 or treatment in ("breaching", "notBreaching") or any(not is_breaching for _, is_breaching in found):
        return OK
    if treatment == "ignore":
        return None
    # Only breaching points, and fewer than required. It is an alarm if the first one is old enough.
    return ALARM if found and found[0][0] >= datapoints else INSUFFICIENT_DATA


def treatment_of(alarm, queries):
    """Returns how an alarm treats missing data.

    CloudWatch always ignores missing data of DynamoDB:
    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """
    namespaces = (query["MetricStat"]["Metric"]["Namespace"] for query in queries if "MetricStat" in query)
    return "ignore" if "AWS/DynamoDB" in namespaces else alarm.get("TreatMissingData") or "missing"


def evaluate_metric_alarm(alarm, store, at, since=float("-inf")):
    """Returns the state of a metric alarm after the minute before `at`, and the reason. None as the state means no change.

    Data from before the minute `since` is not missing but unknown, so it raises no alarm on missing or too small values.
    """
    queries, compared = queries_of(alarm)
    queried = Queries(queries, store)
    periods = int(alarm["EvaluationPeriods"])
    datapoints = int(alarm.get("DatapointsToAlarm") or periods)
    period = queried.period(compared)
    treatment = treatment_of(alarm, queries)
    points = queried.series(compared, at, period, periods + ADDITIONAL_PERIODS)
    sign, words = OPERATORS[alarm["ComparisonOperator"]]
    if at - since < periods * period / 60 and (treatment == "breaching" or sign.startswith("<")):
        return None, ""
    threshold = float(alarm["Threshold"])
    state = state_of(
        points,
        lambda point: COMPARISONS[sign](point, threshold),
        (periods, datapoints),
        treatment,
    )
    latest = [point for point in points if point is not None][-periods:]
    if not latest:
        return state, f"No datapoints were received for {periods} periods."
    verb = "were" if state == ALARM else "were not all"
    return state, f"Threshold Crossed: the datapoints {latest} {verb} {words} the threshold ({threshold})."


RULE_TOKEN = re.compile(r'\s*(?:([()])|(AND|OR|NOT|TRUE|FALSE)\b|(ALARM|OK|INSUFFICIENT_DATA)\s*\(\s*"?([^"()]*[^"()\s])"?\s*\))')


class Rule:
    """The rule of a composite alarm. `alarms` are the names of the alarms in it.

    Raises ValueError if the syntax is wrong.
    """

    def __init__(self, rule):
        self.alarms, self.tokens = [], []
        position, end = 0, len(rule.rstrip())
        while position < end:
            match = RULE_TOKEN.match(rule, position)
            if not match:
                raise ValueError(f"cannot read the alarm rule from {rule[position:]!r} on")
            bracket, word, state, alarm = match.groups()
            self.tokens.append((bracket or word or state, name_of(alarm or "")))
            position = match.end()
        self.tokens.append(("the end", ""))
        self.tokens.reverse()  # the next token is the last one
        self.holds = self.any_of()  # whether the rule holds, as a function of the function that returns an alarm's state
        self.take("the end")

    def take(self, expected=None):
        token, name = self.tokens.pop()
        if expected and token != expected:
            raise ValueError(f"expected {expected} instead of {token} in an alarm rule")
        return token, name

    def joined(self, operator, function, operand):
        operands = [operand()]
        while self.tokens[-1][0] == operator:
            self.take()
            operands.append(operand())
        return lambda state: function(holds(state) for holds in operands)

    def any_of(self):
        return self.joined("OR", any, self.all_of)

    def all_of(self):
        return self.joined("AND", all, self.operand)

    def operand(self):
        token, name = self.take()
        if token == "NOT":
            holds = self.operand()
            return lambda state: not holds(state)
        if token == "(":
            holds = self.any_of()
            self.take(")")
            return holds
        if token in ("TRUE", "FALSE"):
            return lambda _: token == "TRUE"
        if not name:
            raise ValueError(f"unexpected {token} in an alarm rule")
        self.alarms.append(name)
        return lambda state: state(name) == token


parse_rule = functools.lru_cache(maxsize=512)(Rule)


def name_of(alarm):
    """Returns the name of an alarm that is referred to by its name or ARN."""
    return alarm.partition(":alarm:")[2] or alarm


class Suppression:
    """Whether a composite alarm performs its actions, by its suppressor.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/Create_Composite_Alarm_Suppression.html
    """

    def __init__(self):
        self.by, self.until, self.has_changed = None, None, False

    def step(self, alarm, changed, suppressor, at):
        """Returns whether the actions for the current state are performed now.

        `changed` says whether the state just changed. `suppressor` is the suppressor's state, None if there is no suppressor.
        """
        self.has_changed |= changed
        if suppressor == ALARM:
            self.by, self.until = "Alarm", None
        elif suppressor is not None and changed:
            self.start("WaitPeriod", alarm, at)
        elif self.by == "Alarm":
            self.start("ExtensionPeriod", alarm, at)
        if self.by and (self.until is None or at < self.until):
            return False
        performs, self.by, self.has_changed = self.has_changed, None, False
        return performs

    def start(self, period, alarm, at):
        """Starts a period in which the alarm performs no actions."""
        self.by, self.until = period, at + int(alarm.get(f"ActionsSuppressor{period}", 60)) / 60


class Evaluator:
    """The states of all alarms of a CloudWatch."""

    def __init__(self):
        self.states, self.suppressions = {}, {}

    def state(self, name):
        """Returns the state of an alarm."""
        return self.states.get(name, INSUFFICIENT_DATA)

    def evaluate(self, alarms, store, at, since=float("-inf")):
        """Evaluates alarms after the minute before `at`. `alarms` has the properties of each alarm, by name.

        Data from before the minute `since` is unknown. Returns the changes, as (alarm, old state, new state, reason), and the names of the alarms that perform their actions.
        """
        changes, acting = [], []
        for kept in (self.states, self.suppressions):
            for name in kept.keys() - alarms.keys():
                del kept[name]
        for name in ordered(alarms):
            alarm, old = alarms[name], self.state(name)
            if "AlarmRule" in alarm:
                new = ALARM if parse_rule(alarm["AlarmRule"]).holds(self.state) else OK
                reason = f"The alarm rule evaluates to {new}."
            else:
                new, reason = evaluate_metric_alarm(alarm, store, at, since)
            new = new or old
            self.states[name] = new
            if new != old:
                changes.append((name, old, new, reason))
            suppressor = alarm.get("ActionsSuppressor")
            suppressor = self.state(name_of(suppressor)) if suppressor else None
            suppression = self.suppressions.setdefault(name, Suppression())
            if suppression.step(alarm, new != old, suppressor, at) and alarm.get("ActionsEnabled", True):
                acting.append(name)
        return changes, acting


def ordered(alarms):
    """Returns the names of alarms. Each alarm comes after the alarms in its rule and after its suppressor."""
    found = {}

    def visit(name):
        alarm = alarms.get(name)
        if alarm is None or name in found:
            return
        found[name] = False  # a cycle ends here
        if "AlarmRule" in alarm:
            for other in parse_rule(alarm["AlarmRule"]).alarms:
                visit(other)
            if suppressor := alarm.get("ActionsSuppressor"):
                visit(name_of(suppressor))
        found.pop(name)
        found[name] = True

    for name in alarms:
        visit(name)
    return list(found)


def main():
    """Evaluates the alarms that stdin describes."""
    given = json.load(sys.stdin)
    alarms = {text_of(alarm["AlarmName"]): alarm for alarm in given["alarms"]}
    store, evaluator, actions = Store(), Evaluator(), []
    for value in given["metrics"]:
        dimensions = {name: text_of(part) for name, part in value.get("dimensions", {}).items()}
        store.add(value["namespace"], value["name"], dimensions, value["at"], value["value"])
    first = min([int(value["at"]) for value in given["metrics"]], default=given["at"] - 1)
    for at in range(first + 1, int(given["at"]) + 1):
        _, acting = evaluator.evaluate(alarms, store, at)
        actions += [{"at": at, "alarm": name, "state": evaluator.state(name)} for name in acting]
    print(json.dumps({"states": evaluator.states, "actions": actions}))


if __name__ == "__main__":
    main()
