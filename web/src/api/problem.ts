import { ApiError } from "aws-amplify/api";
import { AppError, unreachableMessage } from "../failure.ts";
import { formatWait } from "../format.ts";
import { orderMessage } from "./order-message.ts"; // part: billing
import type { ProblemDocument } from "./problem-document.ts";

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
  const { detail, errors = [] } = document;
  if (errors.length > 0) return errors.map(({ field, detail }) => `${capitalize(field)} ${detail}.`).join(" ");
  if (status === 401 || status === 403) return "The server did not accept your session. Log out and log in again.";
  // part: billing {
  const aboutOrder = orderMessage(status, document, retryAfter);
  if (aboutOrder) return aboutOrder;
  // part: billing }
  if (status === 413) return "This is larger than the server accepts.";
  if (status === 429) return `Too many requests. Try again in ${retryAfter ? formatWait(retryAfter) : "a moment"}.`;
  if (status === 503 && detail) return detail;
  if (status >= 500) return "Something went wrong on our side. Your text is kept. Try again in a moment.";
  return detail ?? `The server responded with status ${status}.`;
}

const capitalize = (word: string) => word.charAt(0).toUpperCase() + word.slice(1);
