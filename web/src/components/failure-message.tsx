import type { Failure } from "../failure.ts";

/** Shows the reason of a failure, and the ID of the request. */
export function FailureMessage({ failure }: { failure: Failure | undefined }) {
  return (
    failure && (
      <div className="failure" role="alert">
        <p>{failure.message}</p>
        {failure.requestId && (
          <p className="request-id">
            Request ID <code>{failure.requestId}</code>
          </p>
        )}
      </div>
    )
  );
}
