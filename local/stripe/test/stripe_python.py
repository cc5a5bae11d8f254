"""Tests the API with Stripe's client library for Python. Arguments: the URL and the secret key of a test double."""

import sys
import time
import unittest

import stripe

URL, KEY = sys.argv.pop(1), sys.argv.pop(1)


def client(key=KEY):
    return stripe.StripeClient(key, base_addresses={"api": URL}, max_network_retries=0)


def payment(card):
    return {
        "amount": 4000,
        "currency": "usd",
        "confirm": True,
        "payment_method": f"pm_card_{card}",
        "allowed_payment_method_types": ["card"],
        "metadata": {"order": "1"},
    }


def eventually(check):
    """Returns the first true result of check."""
    while not (result := check()):
        time.sleep(0.01)
    return result


class AfterPayment(unittest.TestCase):
    def setUp(self):
        self.stripe = client().v1

    def pay(self, card):
        return self.stripe.payment_intents.create(payment(card))

    def charge(self, intent):
        return self.stripe.charges.retrieve(intent.latest_charge)

    def test_a_payment_has_a_charge_with_its_metadata(self):
        intent = self.pay("visa")
        self.assertEqual(intent.status, "succeeded")
        charge = self.charge(intent)
        self.assertEqual(charge.metadata.to_dict(), {"order": "1"})
        listed = self.stripe.charges.list({"payment_intent": intent.id})
        self.assertEqual([charge.id], [charge.id for charge in listed.data])

    def test_a_decline_is_a_card_error(self):
        with self.assertRaises(stripe.CardError) as raised:
            self.pay("chargeDeclinedInsufficientFunds")
        self.assertEqual(raised.exception.http_status, 402)
        self.assertEqual(raised.exception.error.decline_code, "insufficient_funds")

    def test_a_charge_is_refunded_partially_and_completely_and_not_again(self):
        intent = self.pay("visa")
        first = self.stripe.refunds.create({"payment_intent": intent.id, "amount": 1000})
        self.assertEqual((first.status, first.amount), ("succeeded", 1000))
        self.stripe.refunds.create({"charge": intent.latest_charge})
        charge = self.charge(intent)
        self.assertEqual((charge.amount_refunded, charge.refunded), (4000, True))
        with self.assertRaises(stripe.InvalidRequestError) as raised:
            self.stripe.refunds.create({"payment_intent": intent.id})
        self.assertEqual(raised.exception.code, "charge_already_refunded")
        refunds = self.stripe.refunds.list({"payment_intent": intent.id}).data
        self.assertEqual([refund.amount for refund in refunds], [3000, 1000])

    def test_a_refund_can_fail_later(self):
        refund = self.stripe.refunds.create({"payment_intent": self.pay("refundFail").id})
        self.assertEqual(refund.status, "succeeded")
        retrieve = self.stripe.refunds.retrieve
        failed = eventually(lambda: (found := retrieve(refund.id)).status == "failed" and found)
        self.assertEqual(failed.failure_reason, "expired_or_canceled_card")

    def dispute(self, card):
        intent = self.pay(card)
        disputes = self.stripe.disputes
        return eventually(lambda: disputes.list({"payment_intent": intent.id}).data)[0]

    def test_a_dispute_is_won_with_evidence(self):
        dispute = self.dispute("createDispute")
        self.assertEqual((dispute.status, dispute.reason), ("needs_response", "fraudulent"))
        self.assertEqual(dispute.balance_transactions[0].net, -5500)
        evidence = {"evidence": {"uncategorized_text": "winning_evidence"}}
        self.assertEqual(self.stripe.disputes.update(dispute.id, evidence).status, "under_review")
        eventually(lambda: self.stripe.disputes.retrieve(dispute.id).status == "won")

    def test_a_dispute_is_lost_when_it_is_closed(self):
        dispute = self.dispute("createDisputeProductNotReceived")
        self.assertEqual(self.stripe.disputes.close(dispute.id).status, "lost")

    def test_an_inquiry_withdraws_nothing(self):
        dispute = self.dispute("createDisputeInquiry")
        self.assertEqual(dispute.status, "warning_needs_response")
        self.assertEqual(dispute.payment_method_details.card.case_type, "inquiry")
        self.assertEqual(dispute.balance_transactions, [])

    def test_lists_are_paginated_by_the_library(self):
        made = [self.pay("visa") for _ in range(5)]
        since = {"created": {"gte": made[0].created}, "limit": 2}
        found = [intent.id for intent in self.stripe.payment_intents.list(since).auto_paging_iter()]
        self.assertEqual(found[:5], [intent.id for intent in reversed(made)])

    def test_events_are_listed_by_type(self):
        intent = self.pay("visa")
        events = self.stripe.events.list({"type": "charge.succeeded", "limit": 1}).data
        self.assertEqual(events[0].data.object.payment_intent, intent.id)
        event = self.stripe.events.retrieve(events[0].id)
        self.assertEqual((event.type, event.livemode), ("charge.succeeded", False))

    def test_an_unknown_key_is_an_authentication_error(self):
        with self.assertRaises(stripe.AuthenticationError):
            client("sk_test_other").v1.payment_intents.list()


unittest.main()
