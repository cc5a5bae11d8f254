import type { usePages } from "../hooks/use-pages.ts";
import { FailureMessage } from "./failure-message.tsx";
import { Loading } from "./loading.tsx";

/** The end of a list that is loaded in pages: its failure, and the buttons that load the first or the next page. */
export function ListEnd({ items, busy, failure, loadMore, reload }: ReturnType<typeof usePages>) {
  return (
    <>
      <FailureMessage failure={failure} />
      {busy && <Loading />}
      {failure && items === undefined && (
        <button type="button" className="button" onClick={reload}>
          Try again
        </button>
      )}
      {loadMore && (
        <button type="button" className="button load-more" disabled={busy} onClick={loadMore}>
          Load more
        </button>
      )}
    </>
  );
}
