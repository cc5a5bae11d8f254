/** A loading indicator. Its style delays it, so that fast loads do not flicker. */
export function Loading() {
  return (
    <p className="loading" role="status">
      Loading…
    </p>
  );
}
