import { request } from "./client.ts";
import { getPage } from "./page.ts";

/** The part of a note that the user edits. */
export interface Draft {
  content: string;
  /** The key of the attached file. */
  attachment: string | null;
}

/** A note as the API returns it. Times are in milliseconds since the epoch. */
export interface Note extends Draft {
  userId: string;
  noteId: string;
  createdAt: number;
  updatedAt: number;
  /** Set, like the next two, once the upload has been recorded. */
  attachmentType?: string;
  /** In bytes. */
  attachmentSize?: number;
  /** A presigned URL that expires after 15 minutes. */
  attachmentUrl?: string;
}

/** A note with the ETag of its current version. */
export interface Version {
  note: Note;
  etag: string;
}

/** The maximum length of a note, in characters. */
export const CONTENT_LIMIT = 100_000;

export const FIRST_NOTES_PAGE = "/notes?limit=100";

export const listNotes = (path: string) => getPage<Note>(path);

export async function getNote(noteId: string): Promise<Version> {
  const { body, headers } = await request<Note>("GET", notePath(noteId));
  return { note: body, etag: etagOf(headers) };
}

/** Creates a note. Requests with the same idempotency key create one note. */
export async function createNote(draft: Draft, idempotencyKey: string): Promise<Note> {
  const { body } = await request<Note>("POST", "/notes", {
    body: draft,
    headers: { "Idempotency-Key": idempotencyKey },
  });
  return body;
}

/**
 * Updates a note if `etag` is still its current version, and returns the ETag of the new version.
 *
 * Fails with 412 if the note was changed elsewhere, and with 404 if it was deleted.
 */
export async function updateNote(noteId: string, draft: Draft, etag: string): Promise<string> {
  const { headers } = await request("PUT", notePath(noteId), { body: draft, headers: { "If-Match": etag } });
  return etagOf(headers);
}

/** Deletes a note. Succeeds if the note does not exist. */
export async function deleteNote(noteId: string): Promise<void> {
  await request("DELETE", notePath(noteId));
}

const notePath = (noteId: string) => `/notes/${encodeURIComponent(noteId)}`;

/** If a proxy removed the header, falls back to `*`, with which a write is unconditional. */
const etagOf = (headers: Record<string, string>) => headers.etag ?? "*";
