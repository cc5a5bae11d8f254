// Runs a handler like Lambda's runtime for Node: gets an event from the Runtime API over one persistent connection, calls the
// handler and sends its response. https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html
import { Agent, type IncomingHttpHeaders, request } from "node:http";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const [hostname, port] = process.env.AWS_LAMBDA_RUNTIME_API!.split(":");
const agent = new Agent({ keepAlive: true, maxSockets: 1 });
const [file, name] = process.env._HANDLER!.split(".");

function call(method: string, path: string, body?: string): Promise<{ headers: IncomingHttpHeaders; body: string }> {
  return new Promise((resolve, reject) => {
    const headers =
      body === undefined ? {} : { "Content-Type": "application/json", "Content-Length": Buffer.byteLength(body) };
    const sent = request(
      { agent, hostname, port, method, path: `/2018-06-01/runtime/${path}`, headers },
      (response) => {
        const chunks: Buffer[] = [];
        response.on("data", (chunk: Buffer) => chunks.push(chunk));
        response.on("end", () => resolve({ headers: response.headers, body: Buffer.concat(chunks).toString() }));
      },
    );
    sent.on("error", reject);
    sent.end(body);
  });
}

const failure = (error: Error) =>
  JSON.stringify({ errorType: error.name, errorMessage: error.message, trace: error.stack?.split("\n") });

const module = await import(pathToFileURL(join(process.env.LAMBDA_TASK_ROOT!, `${file}.mjs`)).href);
const handler = module[name!];
for (;;) {
  const event = await call("GET", "invocation/next");
  const awsRequestId = event.headers["lambda-runtime-aws-request-id"] as string;
  const deadline = Number(event.headers["lambda-runtime-deadline-ms"]);
  process.env._X_AMZN_TRACE_ID = event.headers["lambda-runtime-trace-id"] as string;
  const context = { awsRequestId, getRemainingTimeInMillis: () => deadline - Date.now() };
  try {
    const response = await handler(JSON.parse(event.body), context);
    await call("POST", `invocation/${awsRequestId}/response`, JSON.stringify(response ?? null));
  } catch (error) {
    await call("POST", `invocation/${awsRequestId}/error`, failure(error as Error));
  }
}
