"""What SNS delivers: e-mails to subscribers of topics, and SMS.

`/_ministack/ses/messages` lists the e-mails, as it lists those of Cognito.
"""

import json

from ministack.services import ses, sns

from faults import read_faults
from monitoring import record

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


def sms_to(number):
    """Returns the list of delivered SMS to a phone number, to which ministack adds the SMS. Counts the SMS.

    SNS accepts an SMS before it knows whether it can deliver the SMS.
    """
    fails = read_faults().get("smsFails", False)
    name = "NumberOfNotificationsFailed" if fails else "NumberOfNotificationsDelivered"
    record("AWS/SNS", name, 1, {"PhoneNumber": "PhoneNumberDirect"})
    return [] if fails else delivered_sms_to(number)


deliver, sns._fanout = sns._fanout, publish
delivered_sms_to, sns._sms_log_for = sns._sms_log_for, sms_to
