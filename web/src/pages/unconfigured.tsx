/** In place of the app, for whoever deployed it. */
export function Unconfigured({ reason }: { reason: string }) {
  return (
    <main className="page form">
      <title>Scratchpad</title>
      <h1>Scratchpad cannot start</h1>
      <p role="alert">{reason}</p>
      <p className="hint">config.json stands beside index.html, and says where this stage has its services.</p>
    </main>
  );
}
