"""The e-mails that SNS delivers to subscribers of topics.

`/_ministack/ses/messages` lists the e-mails, as it lists those of Cognito.
"""

import json

from ministack.services import ses, sns

SENDER = "no-reply@sns.amazonaws.com"


def publish(topic, id, message, subject, *arguments, **options):
    """Delivers a message to the subscribers of a topic as ministack does, and by e-mail."""
    deliver(topic, id, message, subject, *arguments, **options)
    for subscription in (sns._topic_by_arn_any_scope(topic) or {}).get("subscriptions", []):
        if subscription.get("confirmed") and subscription["protocol"] == "email":
            ses._record_send(SENDER, [subscription["endpoint"]], subject=subject, body_text=text_of(message))


def text_of(message):
    """Returns the text of an e-mail. CloudWatch describes an alarm in words, and for other protocols as JSON."""
    try:
        alarm = json.loads(message)
        state, reason, time = alarm["NewStateValue"], alarm["NewStateReason"], alarm["StateChangeTime"]
        name, description = alarm["AlarmName"], alarm["AlarmDescription"]
    except (KeyError, TypeError, ValueError):
        return message
    return (
        f'Your Amazon CloudWatch Alarm "{name}" in the {alarm["Region"]} region has entered the {state} state, because '
        f'"{reason}" at "{time}".\n\nAlarm Details:\n- Name: {name}\n- Description: {description}\n'
        f"- State Change: {alarm['OldStateValue']} -> {state}\n- AWS Account: {alarm['AWSAccountId']}\n"
    )


deliver, sns._fanout = sns._fanout, publish
