import { Link } from "wouter";
import { filename } from "../api/attachments.ts";
import type { Note } from "../api/notes.ts";
import { formatDate } from "../format.ts";

/** The maximum length of an excerpt, in characters. */
const EXCERPT_LENGTH = 240;

/** A note in the list: its first line, an excerpt of the rest, its date and the name of its file. */
export function NoteItem({ note }: { note: Note }) {
  const [first = "", ...rest] = note.content.trim().split("\n");
  const excerpt = rest.join(" ").trim().slice(0, EXCERPT_LENGTH);
  return (
    <li>
      <Link href={`/notes/${note.noteId}`} className="note">
        <span className="note-title">{first || "Empty note"}</span>
        {excerpt && <span className="note-excerpt">{excerpt}</span>}
        <span className="note-facts">
          <time dateTime={new Date(note.updatedAt).toISOString()}>{formatDate(note.updatedAt)}</time>
          {note.attachment && <span className="note-file">{filename(note.attachment)}</span>}
        </span>
      </Link>
    </li>
  );
}
