import { useRef, useState } from "react";
import { type Failure, toFailure } from "../failure.ts";

/** Wraps an action so that it runs once at a time. `failure` is the last run's error, until the next run starts. */
export function useSubmit<A extends unknown[]>(action: (...args: A) => Promise<void>) {
  const [busy, setBusy] = useState(false);
  const [failure, setFailure] = useState<Failure>();
  // A ref, because a second click can come before React has rendered `busy`.
  const running = useRef(false);

  async function submit(...args: A): Promise<void> {
    if (running.current) return;
    running.current = true;
    setBusy(true);
    setFailure(undefined);
    try {
      await action(...args);
    } catch (error) {
      setFailure(toFailure(error));
    } finally {
      running.current = false;
      setBusy(false);
    }
  }
  return { busy, failure, submit };
}
