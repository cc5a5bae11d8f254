import asyncio
import json
import os
import tempfile
import time
import unittest

FOLDER = tempfile.TemporaryDirectory()
os.environ |= {"STATE_DIR": FOLDER.name, "SCRATCHPAD_MINUTE_MS": "1000"}

# ministack reads the environment when it is imported.
from ministack.services import cloudwatch, dynamodb, ses, sns  # noqa: E402
from ministack.services.cloudformation import provisioners  # noqa: E402

import faults  # noqa: E402
import function_metrics  # noqa: E402
import gateway  # noqa: E402
import monitoring  # noqa: E402
import monitoring_stacks  # noqa: E402, F401
import notifications  # noqa: E402, F401

TOPIC = "arn:aws:sns:us-east-1:000000000000:alarms"


def call(operation, **given):
    """Calls an operation of CloudWatch."""
    headers = {"content-type": "application/json", "x-amz-target": f"Service.{operation}"}
    status, _, body = asyncio.run(cloudwatch.handle_request("POST", "/", headers, json.dumps(given).encode(), {}))
    return status, json.loads(body)


def create(kind, logical_id="Resource", **properties):
    """Creates a resource of a stack."""
    return provisioners._RESOURCE_HANDLERS[kind]["create"](logical_id, properties, "stack")


def alarm(name, metric, **properties):
    """Creates a metric alarm."""
    create(
        "AWS::CloudWatch::Alarm",
        AlarmName=name,
        AlarmDescription=f"See docs/runbook.md#{name}",
        Namespace="Test",
        MetricName=metric,
        Statistic="Sum",
        Threshold=1,
        EvaluationPeriods=1,
        ComparisonOperator="GreaterThanOrEqualToThreshold",
        TreatMissingData="notBreaching",
        **properties,
    )


def evaluate(**values):
    """Records values of metrics in a later minute, and evaluates the alarms after it."""
    evaluate.minute = getattr(evaluate, "minute", monitoring.minute_of(time.time()) + 1_000_000) + 10
    for name, value in values.items():
        monitoring.store.add("Test", name, {}, evaluate.minute, value)
    monitoring.evaluate(evaluate.minute + 1)


class Metrics(unittest.TestCase):
    def setUp(self):
        monitoring.store.metrics.clear()

    def values(self, name, period=60, **dimensions):
        """Returns the sums of a metric in the last two minutes, the newest first."""
        metric = {
            "Namespace": "Scratchpad",
            "MetricName": name,
            "Dimensions": [{"Name": key, "Value": value} for key, value in dimensions.items()],
        }
        query = {"Id": "m", "MetricStat": {"Metric": metric, "Stat": "Sum", "Period": period}}
        now = time.time()
        _, found = call("GetMetricData", StartTime=now - 2, EndTime=now + 1, MetricDataQueries=[query])
        return found["MetricDataResults"][0]["Values"]

    def test_a_log_line_records_its_metrics_with_each_set_of_dimensions(self):
        metrics = [{"Name": "Requests", "Unit": "Count"}, {"Name": "Latency"}, {"Name": "Absent"}]
        directive = {"Namespace": "Scratchpad", "Dimensions": [["Stage"], ["Stage", "Group"]], "Metrics": metrics}
        line = {"_aws": {"CloudWatchMetrics": [directive]}, "Stage": "local", "Group": "notes", "Requests": 1, "Latency": [2, 3]}
        function_metrics.record_embedded(json.dumps(line))
        self.assertEqual(sum(self.values("Requests", Stage="local")), 1)
        self.assertEqual(sum(self.values("Latency", Stage="local", Group="notes")), 5)
        self.assertEqual(self.values("Requests"), [])
        self.assertEqual(self.values("Requests", Group="notes"), [])
        self.assertEqual(self.values("Absent", Stage="local"), [])

    def test_a_malformed_log_line_records_nothing(self):
        for line in ("{", '{"_aws": {}}', '{"_aws": {"CloudWatchMetrics": [{"Namespace": "S", "Dimensions": [["a"]], "Metrics": []}]}}'):
            function_metrics.record_embedded(line)
        self.assertEqual(monitoring.store.metrics, {})

    def test_queries_can_use_metric_math(self):
        monitoring.record("Scratchpad", "Requests", 4, {})
        metric = {"Namespace": "Scratchpad", "MetricName": "Requests"}
        queries = [
            {"Id": "m", "MetricStat": {"Metric": metric, "Stat": "Sum", "Period": 60}, "ReturnData": False},
            {"Id": "e", "Expression": "FILL(m, 0) / 2", "Label": "half"},
        ]
        now = time.time()
        _, found = call("GetMetricData", StartTime=now - 9, EndTime=now + 1, MetricDataQueries=queries)
        [result] = found["MetricDataResults"]
        self.assertEqual((result["Label"], len(result["Values"]), sum(result["Values"])), ("half", 10, 2))

    def test_a_malformed_query_is_rejected(self):
        query = {"Id": "e", "Expression": "UNKNOWN(1)"}
        status, error = call("GetMetricData", StartTime=0, EndTime=60, MetricDataQueries=[query])
        self.assertEqual((status, error["__type"]), (400, "ValidationError"))

    def test_metrics_are_listed_with_their_dimensions(self):
        monitoring.record("Scratchpad", "Requests", 1, {"Stage": "local"})
        _, found = call("ListMetrics", Namespace="Scratchpad")
        dimensions = [{"Name": "Stage", "Value": "local"}]
        self.assertEqual(found["Metrics"], [{"Namespace": "Scratchpad", "MetricName": "Requests", "Dimensions": dimensions}])

    def test_metrics_are_not_in_the_saved_state(self):
        monitoring.record("Scratchpad", "Requests", 1, {})
        self.assertEqual(len(cloudwatch.get_state()["metrics"]), 0)


class Alarms(unittest.TestCase):
    def tearDown(self):
        cloudwatch.reset()
        ses.reset()

    def test_an_alarm_sends_an_email_that_names_the_section_of_the_runbook(self):
        sns._topics[TOPIC] = {"arn": TOPIC, "subscriptions": []}
        subscriber = {"protocol": "email", "endpoint": "alarms@example.com", "confirmed": True, "attributes": {}}
        sns._topics[TOPIC]["subscriptions"].append(subscriber)
        alarm("faults", "Faults", AlarmActions=[TOPIC])
        evaluate(Faults=0)
        evaluate(Faults=1)
        evaluate(Faults=1)
        [mail] = ses._sent_emails_list()
        self.assertEqual((mail["To"], mail["Subject"]), (["alarms@example.com"], 'ALARM: "faults" in us-east-1'))
        self.assertIn("docs/runbook.md#faults", mail["BodyText"])

    def test_a_composite_alarm_has_the_state_of_its_rule_and_is_suppressed(self):
        alarm("faults", "Faults")
        alarm("cause", "Cause")
        create("AWS::CloudWatch::CompositeAlarm", AlarmName="main", AlarmRule="ALARM(faults)", ActionsSuppressor="cause")
        evaluate(Faults=1, Cause=1)
        _, found = call("DescribeAlarms", AlarmTypes=["CompositeAlarm"])
        [described] = found["CompositeAlarms"]
        self.assertEqual((described["StateValue"], described["ActionsSuppressedBy"]), ("ALARM", "Alarm"))

    def test_a_composite_alarm_on_a_missing_alarm_is_rejected(self):
        with self.assertRaisesRegex(ValueError, "missing"):
            create("AWS::CloudWatch::CompositeAlarm", AlarmName="main", AlarmRule="ALARM(missing)")

    def test_an_alarm_with_a_malformed_expression_is_rejected(self):
        with self.assertRaises(ValueError):
            create(
                "AWS::CloudWatch::Alarm",
                AlarmName="a",
                Metrics=[{"Id": "e", "Expression": "UNKNOWN(m)"}],
                Threshold=1,
                EvaluationPeriods=1,
                ComparisonOperator="GreaterThanThreshold",
            )


class Faults(unittest.TestCase):
    def test_a_throttled_table_refuses_requests_and_counts_them(self):
        monitoring.store.metrics.clear()
        faults.FILE.write_text(json.dumps({"throttledTables": ["Notes"]}))
        transaction = {"TransactItems": [{"Put": {"TableName": "Notes"}}, {"Put": {"TableName": "Other"}}]}
        for operation, request in (("GetItem", {"TableName": "Notes"}), ("TransactWriteItems", transaction)):
            headers = {"x-amz-target": f"DynamoDB_20120810.{operation}"}
            status, _, body = asyncio.run(dynamodb.handle_request("POST", "/", headers, json.dumps(request).encode(), {}))
            self.assertEqual((status, json.loads(body)["__type"]), (400, "ProvisionedThroughputExceededException"))
        names = [(name, dimensions) for _, name, dimensions in monitoring.store.metrics]
        dimensions = (("TableName", "Notes"),)
        self.assertEqual(names, [("ReadThrottleEvents", dimensions), ("WriteThrottleEvents", dimensions)])


class AccessLog(unittest.TestCase):
    def test_a_line_has_the_variables_of_the_request(self):
        group = gateway.cloudwatch_logs._log_groups["/aws/apigateway/a"] = {"streams": {}}
        arn = "arn:aws:logs:us-east-1:000000000000:log-group:/aws/apigateway/a"
        settings = {"destinationArn": arn, "format": '{"id":"$context.requestId","error":"$context.error.responseType"}'}
        gateway.write_access_log({"stageName": "s", "accessLogSettings": settings}, {"requestId": "1"})
        [stream] = group["streams"].values()
        self.assertEqual([event["message"] for event in stream["events"]], ['{"id":"1","error":"-"}'])


class Streams(dict):
    """Log streams. A function starts another one while they are read for the first time."""

    def values(self):
        for stream in super().values():
            yield stream
            self.setdefault("2", {"events": []})


class Logs(unittest.TestCase):
    def test_groups_are_described_while_a_function_starts_a_stream(self):
        logs = gateway.cloudwatch_logs
        streams = Streams({"1": {"events": [{"message": "four"}]}})
        logs._log_groups["/aws/lambda/a"] = {"arn": "arn", "creationTime": 0, "streams": streams}
        headers = {"x-amz-target": "Logs_20140328.DescribeLogGroups"}
        request = json.dumps({"logGroupNamePrefix": "/aws/lambda/a"}).encode()
        status, _, body = asyncio.run(logs.handle_request("POST", "/", headers, request, {}))
        self.assertEqual((status, json.loads(body)["logGroups"][0]["storedBytes"]), (200, 4))
