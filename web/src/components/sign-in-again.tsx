import { useEffect, useState } from "react";
import { onSessionEnded } from "../api/sign-in-again.ts";
import { AppError } from "../failure.ts";
import { Dialog } from "./dialog.tsx";
import { LogInForm } from "./log-in-form.tsx";

interface Asked {
  done: () => void;
  refused: (why: Error) => void;
}

/**
 * Has the same person log in again where they are when their session has ended. What they were doing waits
 * behind it, and goes on; nobody else can take it over.
 */
export function SignInAgain({ email }: { email: string }) {
  const [asked, setAsked] = useState<Asked>();
  useEffect(() => onSessionEnded(() => new Promise((done, refused) => setAsked({ done, refused }))), []);
  if (asked === undefined) return null;

  function done() {
    setAsked(undefined);
    asked?.done();
  }
  function refuse() {
    setAsked(undefined);
    asked?.refused(new AppError("You are signed out. What you typed is still here: try again to log in."));
  }
  return (
    <Dialog title="Your session has ended" onClose={refuse}>
      <p>Log in again, and you go on where you were. What you typed is still here.</p>
      {/* Whoever was signed in before has a confirmed address. */}
      <LogInForm email={email} onLoggedIn={done} onUnconfirmed={refuse} />
      <button type="button" className="button quiet" onClick={refuse}>
        Not now
      </button>
    </Dialog>
  );
}
