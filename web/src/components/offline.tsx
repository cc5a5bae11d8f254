import { useSyncExternalStore } from "react";

/** Shows a message while the browser is offline. */
export function Offline() {
  const online = useSyncExternalStore(listen, () => navigator.onLine);
  return (
    <p className="offline" role="status" hidden={online}>
      {online ? "" : "You are offline. Your text is kept. You can save it when you are back online."}
    </p>
  );
}

function listen(changed: () => void) {
  window.addEventListener("online", changed);
  window.addEventListener("offline", changed);
  return () => {
    window.removeEventListener("online", changed);
    window.removeEventListener("offline", changed);
  };
}
