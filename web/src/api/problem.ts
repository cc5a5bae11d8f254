import { ApiError } from "aws-amplify/api";
import { AppError, unreachableMessage } from "../failure.ts";

/** The API's problem document (RFC 9457), described in the README.md at the repository's root. */
interface ProblemDocument {
  detail?: string;
  requestId?: string;
  errors?: { field: string; detail: string }[];
  code?: string;
  clientSecret?: string;
}

/** An error response of the API, or no response at all. */
export class Problem extends AppError {
  constructor(
    message: string,
    requestId: string | undefined,
    /** The response's status. Undefined if there was no response; the request may have taken effect then. */
    readonly status?: number,
    /** The number of seconds to wait before a retry. */
    readonly retryAfter?: number,
    /** Stripe's decline or error code, if the card was not charged. */
    readonly code?: string,
    /** The client secret with which Stripe.js lets the cardholder confirm the payment. */
    readonly clientSecret?: string,
  ) {
    super(message, requestId);
  }

  static from(error: unknown): Problem {
    const response = error instanceof ApiError ? error.response : undefined;
    if (response === undefined) return new Problem(unreachableMessage(), undefined);
    const { statusCode: status, headers, body } = response;
    const document = parseDocument(body);
    const requestId = document.requestId ?? headers["x-amzn-requestid"];
    const retryAfter = Number(headers["retry-after"]) || undefined;
    return new Problem(
      messageFor(status, document),
      requestId,
      status,
      retryAfter,
      document.code,
      document.clientSecret,
    );
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

function messageFor(status: number, { detail, errors = [] }: ProblemDocument): string {
  if (errors.length > 0) return errors.map(({ field, detail }) => `${capitalize(field)} ${detail}.`).join(" ");
  if (status === 401 || status === 403) return "The server did not accept your session. Log out and log in again.";
  if (status === 413) return "This is larger than the server accepts.";
  if (status === 429) return "Too many requests. Try again in a moment.";
  if (status === 503 && detail) return detail;
  if (status >= 500) return "Something went wrong on our side. Your text is kept. Try again in a moment.";
  return detail ?? `The server responded with status ${status}.`;
}

const capitalize = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
