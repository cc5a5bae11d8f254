"""The metrics of SQS: the number of messages in each queue, once per minute."""

from ministack.services import sqs

from monitoring import collectors, record


def collect_messages(at):
    for queue in list(sqs._queues._data.values()):
        sqs._refresh_counts(queue)
        attributes = queue["attributes"]
        dimensions = {"QueueName": attributes["QueueArn"].split(":")[-1]}
        visible = float(attributes["ApproximateNumberOfMessages"])
        record("AWS/SQS", "ApproximateNumberOfMessagesVisible", visible, dimensions, at)


collectors.append(collect_messages)
