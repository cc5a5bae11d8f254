import { useEffect, useState } from "react";
import { onSessionExpired } from "../api/log-in-again.ts";
import { AppError } from "../failure.ts";
import { Dialog } from "./dialog.tsx";
import { LogInForm } from "./log-in-form.tsx";

/** The requests that wait for the log-in. */
interface Waiting {
  resolve: () => void;
  reject: (reason: Error) => void;
}

/** Asks the same user to log in again, on the current page, when the session has expired. */
export function LogInAgain({ email }: { email: string }) {
  const [waiting, setWaiting] = useState<Waiting>();
  useEffect(() => onSessionExpired(() => new Promise((resolve, reject) => setWaiting({ resolve, reject }))), []);
  if (waiting === undefined) return null;

  function resume() {
    setWaiting(undefined);
    waiting?.resolve();
  }
  function cancel() {
    setWaiting(undefined);
    waiting?.reject(new AppError("You are logged out. Your text is still here. Try again to log in."));
  }
  return (
    <Dialog title="Your session has ended" onClose={cancel}>
      <p>Log in again to continue. Your text is still here.</p>
      {/* The user was logged in before, so the address is confirmed. */}
      <LogInForm email={email} onLoggedIn={resume} onUnconfirmed={cancel} />
      <button type="button" className="button quiet" onClick={cancel}>
        Not now
      </button>
    </Dialog>
  );
}
