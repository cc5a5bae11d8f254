import type { Storage } from "../api/storage.ts";
import type { Failure } from "../failure.ts";
import { formatCount } from "../format.ts";
import { FailureMessage } from "./failure-message.tsx";
import { Loading } from "./loading.tsx";
import { usage } from "./storage-notice.tsx";

interface Props {
  storage: Storage | undefined;
  failure: Failure | undefined;
  /** Whether the credit of a purchase has not arrived yet. */
  awaiting: boolean;
  reload: () => void;
}

/** How much storage the user has, and where it comes from. */
export function StorageCard({ storage, failure, awaiting, reload }: Props) {
  return (
    <section className="card">
      <h2>Your storage</h2>
      {storage && <Usage storage={storage} />}
      <p className="hint" role="status" hidden={!awaiting}>
        {awaiting && "The storage that you bought arrives in a moment."}
      </p>
      {!storage && !failure && <Loading />}
      <FailureMessage failure={failure} />
      {failure && (
        <button type="button" className="button" onClick={reload}>
          Try again
        </button>
      )}
    </section>
  );
}

function Usage({ storage }: { storage: Storage }) {
  const { used, allowed, free, bought } = storage;
  return (
    <div className="storage">
      <p>
        <strong>{usage(storage)}</strong>
      </p>
      <progress aria-label="Used storage" value={Math.min(used, allowed)} max={allowed} />
      <p className="hint">
        Free: {formatCount(free, "note")}. Bought: {formatCount(bought, "note")}.
        {used > allowed && " All your notes are kept."}
        {used >= allowed && " To save a new note, buy storage or delete a note."}
      </p>
    </div>
  );
}
