import { request } from "./client.ts";

/** A part of a list. */
export interface Page<T> {
  items: T[];
  /** Where the next part is. None after the last. */
  next: string | undefined;
}

/** The part of a list at `path`, which may be the `next` of another. */
export async function page<T>(path: string): Promise<Page<T>> {
  const { body, headers } = await request<T[]>("GET", path);
  // Relative to the request: <?limit=100&cursor=…>; rel="next"
  const query = headers.link?.match(/<(\?[^>]*)>; rel="next"/)?.[1];
  return { items: body, next: query && path.split("?")[0] + query };
}
