/** The API's problem document (RFC 9457), described in the README.md at the repository's root. */
export interface ProblemDocument {
  detail?: string;
  requestId?: string;
  errors?: { field: string; detail: string }[];
  /** A code for this kind of problem. */
  code?: string;
  // part: billing {
  /** The client secret with which Stripe.js lets the cardholder confirm the payment. */
  clientSecret?: string;
  /** The ID of the purchase that the problem is about. */
  purchaseId?: string;
  /** The current price, with the code `price_changed`. */
  amount?: number;
  // part: billing }
  /** The number of existing notes, and of notes that may exist, with the code `storage_full`. */
  used?: number;
  allowed?: number;
}
