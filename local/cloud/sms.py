"""The SMS that SNS delivers. While `smsFails` in $STATE_DIR/faults.json is true, it accepts SMS but does not deliver them."""

from ministack.services import sns

from faults import read_faults
from monitoring import record


def sms_to(number):
    """Returns the list of delivered SMS to a phone number, to which ministack adds the SMS. Counts the SMS.

    SNS accepts an SMS before it knows whether it can deliver the SMS.
    """
    fails = read_faults().get("smsFails", False)
    name = "NumberOfNotificationsFailed" if fails else "NumberOfNotificationsDelivered"
    record("AWS/SNS", name, 1, {"PhoneNumber": "PhoneNumberDirect"})
    return [] if fails else delivered_sms_to(number)


delivered_sms_to, sns._sms_log_for = sns._sms_log_for, sms_to
