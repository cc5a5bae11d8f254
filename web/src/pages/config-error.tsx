/** Shown instead of the app if config.json is missing or incomplete. It is for the developer who deployed the app. */
export function ConfigErrorPage({ reason }: { reason: string }) {
  return (
    <main className="page form">
      <title>Scratchpad</title>
      <h1>Scratchpad cannot start</h1>
      <p role="alert">{reason}</p>
      <p className="hint">The app reads the addresses of this stage's services from config.json, next to index.html.</p>
    </main>
  );
}
