import { del, get, post, put } from "aws-amplify/api";
import { hasCredentials } from "../auth.ts";
import { logInAgain } from "./log-in-again.ts";
import { Problem } from "./problem.ts";

const METHODS = { GET: get, POST: post, PUT: put, DELETE: del };

interface Options {
  body?: object;
  headers?: Record<string, string>;
}

interface ApiResponse<T> {
  body: T;
  /** Keyed by lower-case header name. */
  headers: Record<string, string>;
}

/** How many times a request is retried while an earlier request with its Idempotency-Key is still in progress. */
const MAX_CONFLICT_RETRIES = 5;

/**
 * Sends a signed request.
 *
 * If the session has expired, asks the user to log in again and then sends the request. Rejects with a `Problem`, or
 * with the reason why the user did not log in.
 */
export async function request<T>(
  method: keyof typeof METHODS,
  path: string,
  options: Options = {},
): Promise<ApiResponse<T>> {
  let renewed = false;
  if (!(await hasCredentials({ refresh: false }))) {
    await logInAgain();
    renewed = true;
  }
  for (let retries = 0; ; ) {
    try {
      return await send<T>(method, path, options);
    } catch (error) {
      const problem = Problem.from(error);
      if (!renewed && (problem.status === 401 || problem.status === 403)) {
        if (!(await hasCredentials({ refresh: true }))) await logInAgain();
        renewed = true;
      } else if (isInProgress(problem) && retries < MAX_CONFLICT_RETRIES) {
        await sleep(problem.retryAfter ?? 1);
        retries += 1;
      } else {
        throw problem;
      }
    }
  }
}

async function send<T>(
  method: keyof typeof METHODS,
  path: string,
  { body, headers }: Options,
): Promise<ApiResponse<T>> {
  const options = {
    ...(headers && { headers }),
    ...(body && { body: body as Record<string, never> }),
    // Amplify retries every failed request. A failed write may have taken effect, so the caller decides about a retry.
    ...(method !== "GET" && { retryStrategy: { strategy: "no-retry" as const } }),
  };
  const response = await METHODS[method]({ apiName: "api", path, options }).response;
  const json = "body" in response ? await response.body.json() : undefined;
  return { body: json as T, headers: response.headers };
}

/** Whether another request with the same Idempotency-Key is in progress. Other conflicts have a code. */
const isInProgress = ({ status, code, retryAfter }: Problem) =>
  status === 409 && code === undefined && retryAfter !== undefined;

const sleep = (seconds: number) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));
