import { useRef, useState } from "react";
import { type Failure, failureOf } from "../failure.ts";

/** An action that a person starts: runs once at a time, and keeps why it failed until it is started again. */
export function useSubmit<A extends unknown[]>(action: (...args: A) => Promise<void>) {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  // Two clicks can come before React has shown the first one's effect.
  const running = useRef(false);

  async function submit(...args: A): Promise<void> {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setFailure(undefined);
    try {
      await action(...args);
    } catch (error) {
      setFailure(failureOf(error));
    } finally {
      running.current = false;
      setBusy(false);
    }
  }
  return { busy, failure, submit };
}
