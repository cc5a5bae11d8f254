import { useEffect, useState } from "react";
import { getStorage } from "../api/storage.ts";
import type { useStorage } from "./use-storage.ts";

/** The number of reads after which the app stops waiting for a credit. The delays double, to half a minute in total. */
const MAX_READS = 8;

/** Reads the user's storage again until the credit of a purchase has arrived. */
export function useCredit({ storage, setStorage }: ReturnType<typeof useStorage>) {
  const [awaited, setAwaited] = useState<{ above: number; reads: number }>();
  const [credited, setCredited] = useState(false);
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
  }, [awaited, setStorage]);

  return {
    /** Whether the app waits for a credit. */
    awaiting: awaited !== undefined,
    /** Whether an awaited credit has arrived. */
    credited,
    /** Does nothing if the storage before the credit is not known. */
    awaitCredit: () => storage && setAwaited({ above: storage.allowed, reads: 0 }),
  };
}
