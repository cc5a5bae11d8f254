import { request } from "./client.ts";

/** The storage of the user, in notes. */
export interface Storage {
  /** The number of existing notes. */
  used: number;
  /** The number of notes that may exist. */
  allowed: number;
  /** The number of notes that every user may have. */
  free: number;
  bought: number; // part: billing
}

export async function getStorage(): Promise<Storage> {
  return (await request<Storage>("GET", "/storage")).body;
}
