import { del, get, post, put } from "aws-amplify/api";
import { hasCredentials } from "../auth.ts";
import { Problem } from "./problem.ts";
import { signInAgain } from "./sign-in-again.ts";

const VERBS = { GET: get, POST: post, PUT: put, DELETE: del };

interface Options {
  body?: object;
  headers?: Record<string, string>;
}

/** What the API answered. */
interface Answer<T> {
  body: T;
  /** By their names in lower case. */
  headers: Record<string, string>;
}

/** How often a request is sent again while an earlier one with its Idempotency-Key is being worked on. */
const MOST_WAITS = 5;

/**
 * Sends a signed request.
 *
 * When the session has ended the person signs in again, and the request is sent then: who waits for it
 * does not notice. Rejects with a `Problem`, or with what kept them from signing in.
 */
export async function request<T>(verb: keyof typeof VERBS, path: string, options: Options = {}): Promise<Answer<T>> {
  let renewed = false;
  if (!(await hasCredentials({ fresh: false }))) {
    await signInAgain();
    renewed = true;
  }
  for (let waits = 0; ; ) {
    try {
      return await send<T>(verb, path, options);
    } catch (error) {
      const problem = Problem.of(error);
      if (!renewed && (problem.status === 401 || problem.status === 403)) {
        if (!(await hasCredentials({ fresh: true }))) await signInAgain();
        renewed = true;
      } else if (problem.status === 409 && problem.retryAfter && waits < MOST_WAITS) {
        await seconds(problem.retryAfter);
        waits += 1;
      } else {
        throw problem;
      }
    }
  }
}

async function send<T>(verb: keyof typeof VERBS, path: string, { body, headers }: Options): Promise<Answer<T>> {
  const options = {
    ...(headers && { headers }),
    ...(body && { body: body as Record<string, never> }),
    // Amplify sends anything again that failed. A write may have been done, so whoever made it decides.
    ...(verb !== "GET" && { retryStrategy: { strategy: "no-retry" as const } }),
  };
  const response = await VERBS[verb]({ apiName: "scratchpad", path, options }).response;
  const answered = "body" in response ? await response.body.json() : undefined;
  return { body: answered as T, headers: response.headers };
}

const seconds = (count: number) => new Promise((done) => setTimeout(done, count * 1000));
