import { ApiError } from "aws-amplify/api";
import { AppError, unreachableMessage } from "../failure.ts";
import { formatMoney, formatWait } from "../format.ts";

/** The API's problem document (RFC 9457), described in the README.md at the repository's root. */
interface ProblemDocument {
  detail?: string;
  requestId?: string;
  errors?: { field: string; detail: string }[];
  /** A code for this kind of problem. If the card was not charged, Stripe's decline or error code. */
  code?: string;
  /** The client secret with which Stripe.js lets the cardholder confirm the payment. */
  clientSecret?: string;
  /** The ID of the purchase that the problem is about. */
  purchaseId?: string;
  /** The current price, with the code `price_changed`. */
  amount?: number;
  /** The number of existing notes, and of notes that may exist, with the code `storage_full`. */
  used?: number;
  allowed?: number;
}

/** An error response of the API, or no response at all. */
export class Problem extends AppError {
  constructor(
    message: string,
    readonly document: ProblemDocument,
    /** The response's status. Undefined if there was no response; the request may have taken effect then. */
    readonly status?: number,
    /** The number of seconds to wait before a retry. */
    readonly retryAfter?: number,
  ) {
    super(message, document.requestId);
  }

  get code(): string | undefined {
    return this.document.code;
  }

  static from(error: unknown): Problem {
    const response = error instanceof ApiError ? error.response : undefined;
    if (response === undefined) return new Problem(unreachableMessage(), {});
    const { statusCode: status, headers, body } = response;
    const document = { requestId: headers["x-amzn-requestid"], ...parseDocument(body) };
    const retryAfter = Number(headers["retry-after"]) || undefined;
    return new Problem(messageFor(status, document, retryAfter), document, status, retryAfter);
  }
}

/** Returns an empty document if the body is not JSON: a proxy in front of the API may respond with HTML. */
function parseDocument(body = ""): ProblemDocument {
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {};
  }
}

function messageFor(status: number, document: ProblemDocument, retryAfter?: number): string {
  const { code, detail, errors = [], amount = 0 } = document;
  if (errors.length > 0) return errors.map(({ field, detail }) => `${capitalize(field)} ${detail}.`).join(" ");
  if (status === 401 || status === 403) return "The server did not accept your session. Log out and log in again.";
  if (status === 409 && code === "price_changed") {
    return `The price is now ${formatMoney(amount)}. Your card was not charged. To buy at this price, pay again.`;
  }
  if (status === 409 && code === "order_open") return "You have an open order. Continue or cancel it first.";
  if (status === 409 && code === "already_paid") return "This order is already paid, so it cannot be canceled.";
  if (status === 413) return "This is larger than the server accepts.";
  if (status === 429) {
    const reason = code === "too_many_declines" ? "Too many payments were declined" : "Too many requests";
    return `${reason}. Try again in ${retryAfter ? formatWait(retryAfter) : "a moment"}.`;
  }
  if (status === 503 && detail) return detail;
  if (status >= 500) return "Something went wrong on our side. Your text is kept. Try again in a moment.";
  return detail ?? `The server responded with status ${status}.`;
}

const capitalize = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
