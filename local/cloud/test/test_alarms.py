import json
import pathlib
import subprocess
import sys
import unittest

from alarms import ALARM, INSUFFICIENT_DATA, OK, Evaluator, Rule, state_of
from metrics import Store

TREATMENTS = ("missing", "ignore", "breaching", "notBreaching")
KEPT = None  # the state does not change

# The tables of https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarms-and-missing-data.html: 0 is a point within the
# threshold, X is a breaching point, - is a missing point.
THREE_OF_THREE = {
    "0-X-X": (OK, OK, OK, OK),
    "0----": (OK, OK, OK, OK),
    "-----": (INSUFFICIENT_DATA, KEPT, ALARM, OK),
    "0XX-X": (ALARM, ALARM, ALARM, ALARM),
    "--X--": (ALARM, KEPT, ALARM, OK),
    "X----": (ALARM, KEPT, ALARM, OK),
    "----X": (INSUFFICIENT_DATA, KEPT, ALARM, OK),
}
TWO_OF_THREE = {
    "0-X-X": (ALARM, ALARM, ALARM, ALARM),
    "00X0X": (ALARM, ALARM, ALARM, ALARM),
    "0-X--": (OK, OK, ALARM, OK),
    "----0": (OK, OK, ALARM, OK),
    "---X-": (ALARM, KEPT, ALARM, OK),
    "----X": (INSUFFICIENT_DATA, KEPT, ALARM, OK),
}


def metric(name="Faults", stat="Sum", **dimensions):
    """Returns a query for a metric."""
    named = [{"Name": key, "Value": value} for key, value in dimensions.items()]
    return {
        "MetricStat": {
            "Metric": {"Namespace": "Scratchpad", "MetricName": name, "Dimensions": named},
            "Stat": stat,
            "Period": 60,
        },
        "ReturnData": False,
    }


class Cloud:
    """A store with alarms, which are evaluated minute by minute."""

    def __init__(self, **alarms):
        self.alarms = {name: {"EvaluationPeriods": 1, **alarm} for name, alarm in alarms.items()}
        self.store, self.evaluator, self.now = Store(), Evaluator(), 100

    def minute(self, *values):
        """Adds values in a minute, evaluates the alarms after it, and returns (alarm, state) for each alarm that acts."""
        for name, value, dimensions in values:
            self.store.add("Scratchpad", name, dimensions, self.now, value)
        self.now += 1
        _, acting = self.evaluator.evaluate(self.alarms, self.store, self.now)
        return [(name, self.evaluator.state(name)) for name in acting]

    def state(self, name="a"):
        return self.evaluator.state(name)


def threshold(name="Faults", **properties):
    """Returns the properties of an alarm that a sum of at least 1 raises."""
    return {
        "Namespace": "Scratchpad",
        "MetricName": name,
        "Statistic": "Sum",
        "Period": 60,
        "Threshold": 1,
        "ComparisonOperator": "GreaterThanOrEqualToThreshold",
        "TreatMissingData": "notBreaching",
        **properties,
    }


def rule(text, **properties):
    """Returns the properties of a composite alarm."""
    return {"AlarmRule": text, **properties}


class MissingData(unittest.TestCase):
    def check(self, table, datapoints):
        for text, states in table.items():
            points = [{"0": 0.0, "X": 1.0, "-": None}[sign] for sign in text]
            for treatment, state in zip(TREATMENTS, states, strict=True):
                with self.subTest(points=text, treatment=treatment):
                    self.assertEqual(state_of(points, bool, (3, datapoints), treatment), state)

    def test_three_of_three_datapoints_as_in_the_documentation(self):
        self.check(THREE_OF_THREE, 3)

    def test_two_of_three_datapoints_as_in_the_documentation(self):
        self.check(TWO_OF_THREE, 2)


class MetricAlarms(unittest.TestCase):
    def test_an_alarm_reads_only_the_metric_with_exactly_its_dimensions(self):
        dimensions = [{"Name": "FunctionName", "Value": "f"}]
        cloud = Cloud(a=threshold(Dimensions=dimensions))
        cloud.minute(("Faults", 1, {}), ("Faults", 1, {"FunctionName": "g"}), ("Faults", 1, {"FunctionName": "f", "Version": "1"}))
        self.assertEqual(cloud.state(), OK)
        cloud.minute(("Faults", 1, {"FunctionName": "f"}))
        self.assertEqual(cloud.state(), ALARM)

    def test_an_alarm_that_treats_missing_data_as_good_clears_when_the_value_leaves_the_evaluation_range(self):
        cloud = Cloud(a=threshold())
        states = []
        for values in ([("Faults", 1, {})], [], [], []):
            cloud.minute(*values)
            states.append(cloud.state())
        self.assertEqual(states, [ALARM, ALARM, ALARM, OK])

    def test_a_longer_period_slides_with_each_minute(self):
        cloud = Cloud(a=threshold(Period=300, Threshold=3))
        for _ in range(2):
            cloud.minute(("Faults", 1, {}))
        self.assertEqual(cloud.state(), OK)
        cloud.minute(("Faults", 1, {}))
        self.assertEqual(cloud.state(), ALARM)

    def test_alarms_on_metrics_of_dynamodb_ignore_missing_data(self):
        cloud = Cloud(a=threshold(Namespace="AWS/DynamoDB"))
        cloud.store.add("AWS/DynamoDB", "Faults", {}, cloud.now, 1)
        for _ in range(6):
            cloud.minute()
        self.assertEqual(cloud.state(), ALARM)

    def test_missing_data_from_before_the_first_metrics_is_no_alarm(self):
        cloud = Cloud(a=threshold(TreatMissingData="breaching", EvaluationPeriods=3))
        states = []
        for minute in range(1, 4):
            cloud.evaluator.evaluate(cloud.alarms, cloud.store, cloud.now + minute, cloud.now)
            states.append(cloud.state())
        self.assertEqual(states, [INSUFFICIENT_DATA, INSUFFICIENT_DATA, ALARM])

    def test_percentiles_and_ranks_are_statistics(self):
        cloud = Cloud(
            p=threshold("Latency", Statistic=None, ExtendedStatistic="p90", Threshold=90.5),
            r=threshold("Latency", Statistic=None, ExtendedStatistic="PR(:95)", Threshold=95, ComparisonOperator="LessThanThreshold"),
        )
        cloud.minute(*(("Latency", value, {}) for value in range(1, 101)))
        self.assertEqual((cloud.state("p"), cloud.state("r")), (OK, OK))
        cloud.minute(*(("Latency", value, {}) for value in range(2, 102)))
        self.assertEqual((cloud.state("p"), cloud.state("r")), (ALARM, ALARM))

    def test_an_expression_is_compared_with_the_threshold(self):
        queries = [
            {"Id": "faults", **metric()},
            {"Id": "requests", **metric("Requests")},
            {"Id": "share", "Expression": "IF(faults >= 2, 100 * faults / requests, 0)"},
        ]
        alarm = {"Metrics": queries, "Threshold": 50, "ComparisonOperator": "GreaterThanThreshold", "TreatMissingData": "notBreaching"}
        cloud = Cloud(a=alarm)
        cloud.minute(("Faults", 1, {}), ("Requests", 1, {}))
        self.assertEqual(cloud.state(), OK)
        cloud.minute(("Faults", 2, {}), ("Requests", 3, {}))
        self.assertEqual(cloud.state(), ALARM)


class CompositeAlarms(unittest.TestCase):
    def test_a_rule_combines_the_states_of_alarms(self):
        states = {"a": ALARM, "b": OK}.get
        for text, holds in {
            "ALARM(a) AND NOT ALARM(b)": True,
            'ALARM("arn:aws:cloudwatch:us-east-1:111111111111:alarm:b") OR OK(a)': False,
            "(ALARM(b) OR ALARM(a)) AND OK(b)": True,
            "ALARM(a) OR ALARM(a) AND FALSE": True,
            "INSUFFICIENT_DATA(a) OR TRUE": True,
        }.items():
            with self.subTest(rule=text):
                self.assertEqual(Rule(text).holds(states), holds)

    def test_a_malformed_rule_is_rejected(self):
        for text in ("ALARM(a", "ALARM(a) ALARM(b)", "AND ALARM(a)", "(ALARM(a)", "alarm(a)"):
            with self.subTest(rule=text), self.assertRaises(ValueError):
                Rule(text)

    def test_a_composite_alarm_changes_in_the_same_minute_as_its_children(self):
        cloud = Cloud(z=rule("ALARM(y)"), y=rule("ALARM(a)"), a=threshold())
        cloud.minute(("Faults", 1, {}))
        self.assertEqual(cloud.state("z"), ALARM)


class Suppression(unittest.TestCase):
    """The examples of the documentation: the wait period is 2 minutes, the extension period is 3 minutes."""

    def acts(self, composite, suppressor):
        """Returns the minutes at which the composite alarm acts, and its state then.

        The texts have a sign per minute: X if the alarm is in the state ALARM.
        """
        properties = {
            "ActionsSuppressor": "suppressor",
            "ActionsSuppressorWaitPeriod": 120,
            "ActionsSuppressorExtensionPeriod": 180,
        }
        cloud = Cloud(main=rule("ALARM(a)", **properties), suppressor=threshold("Cause"), a=threshold())
        acts = []
        for _ in range(5):
            cloud.minute()  # the first states of new alarms cause actions
        for at, (fails, is_suppressed) in enumerate(zip(composite, suppressor, strict=True)):
            values = [("Faults", fails == "X", {}), ("Cause", is_suppressed == "X", {})]
            acts += [(at, state) for name, state in cloud.minute(*values) if name == "main"]
        return acts

    def test_1_actions_are_performed_after_the_wait_period(self):
        self.assertEqual(self.acts("00XXXXX", "0000000"), [(4, ALARM)])

    def test_2_the_suppressor_stops_actions_before_the_wait_period_ends(self):
        self.assertEqual(self.acts("00XXXXX", "000XXXX"), [])

    def test_3_another_change_starts_the_wait_period_again(self):
        self.assertEqual(self.acts("00X0000", "0000000"), [(5, OK)])

    def test_4_the_suppressor_stops_actions_at_once(self):
        self.assertEqual(self.acts("00XXXXX", "0XXXXXX"), [])

    def test_5_actions_are_performed_after_the_extension_period(self):
        self.assertEqual(self.acts("00XXXXXXXXX", "000XXX00000"), [(9, ALARM)])

    def test_6_a_change_in_the_extension_period_starts_the_wait_period(self):
        self.assertEqual(self.acts("00XXXXX0000", "000XXX00000"), [(9, OK)])


class Program(unittest.TestCase):
    def test_the_evaluator_runs_alone(self):
        values = {"namespace": "Scratchpad", "name": "Faults", "dimensions": {}}
        given = {
            "alarms": [{"AlarmName": "a", "EvaluationPeriods": 1, **threshold()}],
            "metrics": [{**values, "at": 3, "value": 0}, {**values, "at": 5.5, "value": 1}],
            "at": 6,
        }
        program = pathlib.Path(__file__).parents[1] / "alarms.py"
        found = subprocess.run([sys.executable, program], input=json.dumps(given), capture_output=True, text=True, check=True)
        actions = [{"at": 4, "alarm": "a", "state": OK}, {"at": 6, "alarm": "a", "state": ALARM}]
        self.assertEqual(json.loads(found.stdout), {"states": {"a": ALARM}, "actions": actions})
