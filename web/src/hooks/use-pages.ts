import { useEffect, useState } from "react";
import type { Page } from "../api/page.ts";
import { useSubmit } from "./use-submit.ts";

/** A list that is read part by part, from the part at `first` on. Its items are undefined until that part is there. */
export function usePages<T>(read: (path: string) => Promise<Page<T>>, first: string) {
  const [items, setItems] = useState<T[]>();
  const [next, setNext] = useState<string>();
  const {
    busy,
    failure,
    submit: show,
  } = useSubmit(async (path: string) => {
    const page = await read(path);
    setItems((before) => (path === first ? page.items : [...(before ?? []), ...page.items]));
    setNext(page.next);
  });

  const reload = () => show(first);
  useEffect(() => {
    void reload();
  }, [first]);
  return { items, busy, failure, reload, more: next === undefined ? undefined : () => show(next) };
}
