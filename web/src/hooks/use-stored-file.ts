import { useEffect, useState } from "react";
import { type Note, note } from "../api/notes.ts";

export interface StoredFile {
  type: string;
  /** In bytes. */
  size: number;
  /** Where it can be read. None while it is only on its way. */
  url: string | undefined;
}

/** A little less than the 15 minutes for which the API lets a file be read. */
const READABLE_FOR = 14 * 60_000;

/** An upload is recorded shortly after it. After so many looks, each twice as late, nothing came. */
const MOST_LOOKS = 6;

/** The file that is stored under a note's attachment; looked for until it is recorded, and again before its address ends. */
export function useStoredFile(read: Note | undefined, attachment: string | null): StoredFile | "awaited" | "missing" {
  const noteId = read?.noteId;
  const [latest, setLatest] = useState({ note: read, looks: 0 });
  const file = fileOf(latest.note, attachment);

  useEffect(() => {
    if (noteId === undefined || attachment === null || latest.looks === MOST_LOOKS) return;
    const wait = file ? READABLE_FOR : 250 * 2 ** latest.looks;
    const timer = setTimeout(async () => {
      // One that fails is made up for by the next.
      const found = await note(noteId).catch(() => undefined);
      setLatest(({ note, looks }) => ({ note: found?.note ?? note, looks: file ? 0 : looks + 1 }));
    }, wait);
    return () => clearTimeout(timer);
  }, [noteId, attachment, latest]);

  return file ?? (latest.looks === MOST_LOOKS ? "missing" : "awaited");
}

function fileOf(note: Note | undefined, attachment: string | null): StoredFile | undefined {
  if (note?.attachmentUrl === undefined || note.attachment !== attachment) return undefined;
  return { type: note.attachmentType ?? "", size: note.attachmentSize ?? 0, url: note.attachmentUrl };
}
