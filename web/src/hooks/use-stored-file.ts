import { useEffect, useState } from "react";
import { getNote, type Note } from "../api/notes.ts";

export interface StoredFile {
  /** The media type. */
  type: string;
  /** In bytes. */
  size: number;
  /** Undefined while a local file has no object URL yet. */
  url: string | undefined;
}

/** When the presigned URL is renewed, in milliseconds: a minute before it expires. */
const URL_LIFETIME = 14 * 60_000;

/** An upload is recorded shortly after it ends. After this many reads, with a doubling delay, the file is missing. */
const MAX_READS = 6;

/** Returns the stored file of a note. Polls until the upload is recorded, then renews the URL before it expires. */
export function useStoredFile(
  initial: Note | undefined,
  attachment: string | null,
): StoredFile | "pending" | "missing" {
  const noteId = initial?.noteId;
  const [latest, setLatest] = useState({ note: initial, reads: 0 });
  const file = fileOf(latest.note, attachment);

  // biome-ignore lint/correctness/useExhaustiveDependencies: `file` is new on each render, and follows from the others
  useEffect(() => {
    if (noteId === undefined || attachment === null || latest.reads === MAX_READS) return;
    const delay = file ? URL_LIFETIME : 250 * 2 ** latest.reads;
    const timer = setTimeout(async () => {
      // If a read fails, the next one makes up for it.
      const found = await getNote(noteId).catch(() => undefined);
      setLatest(({ note, reads }) => ({ note: found?.note ?? note, reads: file ? 0 : reads + 1 }));
    }, delay);
    return () => clearTimeout(timer);
  }, [noteId, attachment, latest]);

  return file ?? (latest.reads === MAX_READS ? "missing" : "pending");
}

function fileOf(note: Note | undefined, attachment: string | null): StoredFile | undefined {
  if (note?.attachmentUrl === undefined || note.attachment !== attachment) return undefined;
  return { type: note.attachmentType ?? "", size: note.attachmentSize ?? 0, url: note.attachmentUrl };
}
