import { Page } from "../components/page.tsx";

/** In place of a page that cannot be shown: ours is at fault, or it could not be fetched. */
export function Broken({ error }: { error: Error }) {
  return (
    <Page title="This page cannot be shown" layout="form">
      <p>It may have changed since you opened the app, or could not be fetched. What you typed is kept.</p>
      <p className="hint">{error.message}</p>
      <button className="button primary" onClick={() => location.reload()}>
        Load it again
      </button>
    </Page>
  );
}
