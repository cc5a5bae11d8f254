import type { Failure } from "../failure.ts";

/** Why something did not work. */
export function FailureNote({ failure }: { failure: Failure | undefined }) {
  return (
    failure && (
      <div className="failure" role="alert">
        <p>{failure.message}</p>
        {failure.requestId && (
          <p className="request-id">
            Request <code>{failure.requestId}</code>
          </p>
        )}
      </div>
    )
  );
}
