import { request } from "./client.ts";

/** A page of a list. */
export interface Page<T> {
  items: T[];
  /** The path of the next page. Undefined on the last page. */
  next: string | undefined;
}

/** Fetches the page of a list at `path`: the first page, or the `next` of another page. */
export async function getPage<T>(path: string): Promise<Page<T>> {
  const { body, headers } = await request<T[]>("GET", path);
  // The link is relative to the request: <?limit=100&cursor=…>; rel="next"
  const query = headers.link?.match(/<(\?[^>]*)>; rel="next"/)?.[1];
  return { items: body, next: query && path.split("?")[0] + query };
}
