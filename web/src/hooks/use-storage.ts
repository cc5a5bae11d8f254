import { useEffect, useState } from "react";
import { getStorage, type Storage } from "../api/storage.ts";
import { useSubmit } from "./use-submit.ts";

/** Loads the user's storage. */
export function useStorage() {
  const [storage, setStorage] = useState<Storage>();
  const { failure, submit: reload } = useSubmit(async () => setStorage(await getStorage()));
  // biome-ignore lint/correctness/useExhaustiveDependencies: loaded once; `reload` is new on each render
  useEffect(() => void reload(), []);
  return { storage, setStorage, failure, reload };
}
