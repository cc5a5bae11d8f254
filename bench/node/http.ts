// Requests and responses of all routes.

export interface Event {
  body: string | null;
  headers: Record<string, string>;
  httpMethod: string;
  pathParameters: Record<string, string> | null;
  queryStringParameters: Record<string, string> | null;
  requestContext: { requestId: string; resourcePath: string; identity: { cognitoIdentityId: string | null } };
}

export interface Response {
  statusCode: number;
  headers: Record<string, string>;
  body: string;
}

/** An error that becomes a problem document with this status. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message);
  }
}

export function caller(event: Event): string {
  const user = event.requestContext.identity.cognitoIdentityId;
  if (!user) throw new Problem(401, "The request has no identity.");
  return user;
}

export function json<T>(event: Event): T {
  try {
    return JSON.parse(event.body ?? "") as T;
  } catch {
    throw new Problem(400, "The body is not JSON.");
  }
}

const origin = process.env.ALLOWED_ORIGIN!;

function respond(statusCode: number, body: unknown, headers: Record<string, string>): Response {
  return {
    statusCode,
    headers: {
      "Content-Type": "application/json",
      "Access-Control-Allow-Origin": origin,
      "Access-Control-Expose-Headers": "ETag, Link, Location, Retry-After, x-amzn-RequestId",
      "Cache-Control": "no-store",
      "X-Content-Type-Options": "nosniff",
      Vary: "Origin",
      ...headers,
    },
    body: JSON.stringify(body),
  };
}

/** Makes a handler from a route: logs one line per request and turns errors into problem documents. */
export function route(
  work: (event: Event) => Promise<[status: number, body: unknown, headers?: Record<string, string> | undefined]>,
) {
  return async (event: Event): Promise<Response> => {
    const started = Date.now();
    const requestId = event.requestContext.requestId;
    let response: Response;
    try {
      const [status, body, headers] = await work(event);
      response = respond(status, body, headers ?? {});
    } catch (error) {
      const status = error instanceof Problem ? error.status : 500;
      if (status === 500) console.error(JSON.stringify({ level: "ERROR", message: String(error), requestId }));
      const title = error instanceof Problem ? error.message : "Internal Server Error";
      response = respond(
        status,
        { type: "about:blank", title, status, requestId },
        { "Content-Type": "application/problem+json" },
      );
    }
    const line = {
      level: "INFO",
      message: "request",
      method: event.httpMethod,
      route: event.requestContext.resourcePath,
    };
    console.log(JSON.stringify({ ...line, status: response.statusCode, durationMs: Date.now() - started, requestId }));
    return response;
  };
}
