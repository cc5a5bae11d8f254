import { Page } from "../components/page.tsx";

/** Shown instead of a page that threw an error or could not be loaded. */
export function ErrorPage({ error }: { error: Error }) {
  return (
    <Page title="This page cannot be shown" layout="form">
      <p>The app may have been updated, or the page could not be loaded. Your text is kept.</p>
      <p className="hint">{error.message}</p>
      <button type="button" className="button primary" onClick={() => location.reload()}>
        Reload
      </button>
    </Page>
  );
}
