import { useEffect, useState } from "react";
import type { Page } from "../api/page.ts";
import { useSubmit } from "./use-submit.ts";

/** Loads a list page by page, starting at the path `first`. `items` is undefined until the first page is loaded. */
export function usePages<T>(getPage: (path: string) => Promise<Page<T>>, first: string) {
  const [items, setItems] = useState<T[]>();
  const [next, setNext] = useState<string>();
  const {
    busy,
    failure,
    submit: load,
  } = useSubmit(async (path: string) => {
    const page = await getPage(path);
    setItems((before) => (path === first ? page.items : [...(before ?? []), ...page.items]));
    setNext(page.next);
  });

  const reload = () => load(first);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `reload` is new on each render, and depends only on `first`
  useEffect(() => void reload(), [first]);
  return { items, busy, failure, reload, loadMore: next === undefined ? undefined : () => load(next) };
}
