import { request } from "./client.ts";
import { page } from "./page.ts";

/** What a person writes: the part of a note that is theirs to change. */
export interface Draft {
  content: string;
  /** The name that its upload was given. */
  attachment: string | null;
}

/** A note, as the API shows it. Times are milliseconds since the epoch. */
export interface Note extends Draft {
  userId: string;
  noteId: string;
  createdAt: number;
  updatedAt: number;
  /** These three are there once the file is uploaded and recorded. */
  attachmentType?: string;
  attachmentSize?: number;
  /** Can be read for 15 minutes. */
  attachmentUrl?: string;
}

/** A note, and the name of the write that it is the state after. */
export interface Version {
  note: Note;
  etag: string;
}

/** The most characters that a note can have. */
export const CONTENT_LIMIT = 100_000;

export const FIRST_NOTES = "/notes?limit=100";

export const notes = (path: string) => page<Note>(path);

export async function note(noteId: string): Promise<Version> {
  const { body, headers } = await request<Note>("GET", address(noteId));
  return { note: body, etag: etagOf(headers) };
}

/** Makes a note; once, however often it is asked for with the same key. */
export async function createNote(draft: Draft, key: string): Promise<Note> {
  const { body } = await request<Note>("POST", "/notes", { body: draft, headers: { "Idempotency-Key": key } });
  return body;
}

/**
 * Writes a note if it still is what `etag` names, and gives the name of this write.
 *
 * 412 if it was changed elsewhere, 404 if it was deleted.
 */
export async function updateNote(noteId: string, draft: Draft, etag: string): Promise<string> {
  const { headers } = await request("PUT", address(noteId), { body: draft, headers: { "If-Match": etag } });
  return etagOf(headers);
}

/** Deletes a note. It is no error when it is already gone. */
export async function deleteNote(noteId: string): Promise<void> {
  await request("DELETE", address(noteId));
}

const address = (noteId: string) => `/notes/${encodeURIComponent(noteId)}`;

/** Without the header, which a proxy may have taken, the write goes ahead as it did before there were versions. */
const etagOf = (headers: Record<string, string>) => headers.etag ?? "*";
