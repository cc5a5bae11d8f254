import { ApiError } from "aws-amplify/api";
import { AppError, unreachable } from "../failure.ts";

/** The API's problem document (RFC 9457), as README.md at the root describes it. */
interface Document {
  detail?: string;
  requestId?: string;
  errors?: { field: string; detail: string }[];
  code?: string;
  clientSecret?: string;
}

/** An answer of the API that is an error, or no answer at all. */
export class Problem extends AppError {
  constructor(
    message: string,
    requestId: string | undefined,
    /** The answer's status; none when no answer came, so that nobody knows whether it was done. */
    readonly status?: number,
    /** Seconds after which it is worth asking again. */
    readonly retryAfter?: number,
    /** Stripe's code, when a card was not charged. */
    readonly code?: string,
    /** What Stripe.js lets the card's owner confirm the payment with. */
    readonly clientSecret?: string,
  ) {
    super(message, requestId);
  }

  static of(error: unknown): Problem {
    const response = error instanceof ApiError ? error.response : undefined;
    if (response === undefined) return new Problem(unreachable(), undefined);
    const { statusCode: status, headers, body } = response;
    const document = documentOf(body);
    const requestId = document.requestId ?? headers["x-amzn-requestid"];
    const retryAfter = Number(headers["retry-after"]) || undefined;
    return new Problem(words(status, document), requestId, status, retryAfter, document.code, document.clientSecret);
  }
}

/** The document, or nothing of it: what answers for a server that is down does not speak JSON. */
function documentOf(body = ""): Document {
  try {
    return JSON.parse(body) ?? {};
  } catch {
    return {};
  }
}

function words(status: number, { detail, errors = [] }: Document): string {
  if (errors.length > 0) return errors.map(({ field, detail }) => `${capital(field)} ${detail}.`).join(" ");
  if (status === 401 || status === 403) return "The server does not accept who you are signed in as.";
  if (status === 413) return "That is more than the server takes at once.";
  if (status === 429) return "Too many requests at once. Try again in a moment.";
  if (status === 503 && detail) return detail;
  if (status >= 500) return "Something went wrong on our side. Nothing that you typed is lost: try again in a moment.";
  return detail ?? `The server answered ${status}.`;
}

const capital = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
