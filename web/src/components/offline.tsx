import { useSyncExternalStore } from "react";

/** Says it before anything fails for it. */
export function Offline() {
  const online = useSyncExternalStore(listen, () => navigator.onLine);
  return (
    <p className="offline" role="status" hidden={online}>
      {online ? "" : "You are offline. What you type is kept; it can be saved once you are connected."}
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
