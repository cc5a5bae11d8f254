import { useEffect, useState } from "react";
import { getStorage, type Storage } from "../api/storage.ts";
import { useSubmit } from "./use-submit.ts";

/** The number of reads after which the app stops waiting for a credit. The delays double, to half a minute in total. */
const MAX_READS = 8;

/** Loads the user's storage. `awaitCredit` reads it again until the credit of a purchase has arrived. */
export function useStorage() {
  const [storage, setStorage] = useState<Storage>();
  const [awaited, setAwaited] = useState<{ above: number; reads: number }>();
  const [credited, setCredited] = useState(false);
  const { failure, submit: reload } = useSubmit(async () => setStorage(await getStorage()));
  // biome-ignore lint/correctness/useExhaustiveDependencies: loaded once; `reload` is new on each render
  useEffect(() => void reload(), []);

  useEffect(() => {
    if (awaited === undefined) return;
    const { above, reads } = awaited;
    const timer = setTimeout(
      async () => {
        // If a read fails, the next one makes up for it.
        const read = await getStorage().catch(() => undefined);
        if (read) setStorage(read);
        const arrived = read !== undefined && read.allowed > above;
        if (arrived) setCredited(true);
        setAwaited(arrived || reads + 1 === MAX_READS ? undefined : { above, reads: reads + 1 });
      },
      125 * 2 ** reads,
    );
    return () => clearTimeout(timer);
  }, [awaited]);

  return {
    storage,
    failure,
    reload,
    /** Whether the app waits for a credit. */
    awaiting: awaited !== undefined,
    /** Whether an awaited credit has arrived. */
    credited,
    /** Does nothing if the storage before the credit is not known. */
    awaitCredit: () => storage && setAwaited({ above: storage.allowed, reads: 0 }),
  };
}
