import { request } from "./client.ts";

/** The storage of the user, in notes. */
export interface Storage {
  /** The number of existing notes. */
  used: number;
  /** The number of notes that may exist: `free` and `bought`. */
  allowed: number;
  free: number;
  bought: number;
}

export async function getStorage(): Promise<Storage> {
  return (await request<Storage>("GET", "/storage")).body;
}
