# Signs webhook payloads with Stripe's library. Reads [{payload, secret, timestamp}] from stdin and writes the values of
# Stripe-Signature to stdout.

import json
import sys

from stripe import WebhookSignature

deliveries = json.load(sys.stdin)
json.dump([WebhookSignature.generate_signature_header(**delivery) for delivery in deliveries], sys.stdout)
