import { Link } from "wouter";
import { filename } from "../api/attachments.ts";
import type { Note } from "../api/notes.ts";
import { dayOf } from "../format.ts";

/** As much of a note as its excerpt shows, in characters. */
const EXCERPT = 240;

/** A note in the list: its first line, some of the rest, and whether a file goes with it. */
export function NoteItem({ note }: { note: Note }) {
  const [first = "", ...rest] = note.content.trim().split("\n");
  const excerpt = rest.join(" ").trim().slice(0, EXCERPT);
  return (
    <li>
      <Link href={`/notes/${note.noteId}`} className="note">
        <span className="note-title">{first || "Blank"}</span>
        {excerpt && <span className="note-excerpt">{excerpt}</span>}
        <span className="note-facts">
          <time dateTime={new Date(note.updatedAt).toISOString()}>{dayOf(note.updatedAt)}</time>
          {note.attachment && <span className="note-file">{filename(note.attachment)}</span>}
        </span>
      </Link>
    </li>
  );
}
