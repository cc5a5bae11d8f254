import { Link, useSearchParams } from "wouter";
import { FIRST_NOTES, type Note, notes } from "../api/notes.ts";
import { FailureNote } from "../components/failure-note.tsx";
import { Loading } from "../components/loading.tsx";
import { NoteItem } from "../components/note-item.tsx";
import { Page } from "../components/page.tsx";
import { counted } from "../format.ts";
import { usePages } from "../hooks/use-pages.ts";

export default function Notes() {
  const { items, busy, failure, more, reload } = usePages(notes, FIRST_NOTES);
  // In the address, so that it is still there when they come back from a note.
  const [query, setQuery] = useSearchParams();
  const sought = query.get("q") ?? "";
  const found = items?.filter((note) => contains(note, sought)) ?? [];

  const newNote = (
    <Link href="/notes/new" className="button primary">
      New note
    </Link>
  );
  return (
    <Page title="Notes" action={items && items.length > 0 && newNote}>
      {items && items.length > 0 && (
        <div className="search">
          <input
            type="search"
            aria-label="Search"
            placeholder="Search"
            value={sought}
            onChange={({ target }) => setQuery(target.value ? { q: target.value } : {}, { replace: true })}
          />
          <p className="hint" role="status">
            {summary(found.length, items.length, sought, more !== undefined)}
          </p>
        </div>
      )}
      {items?.length === 0 && (
        <div className="empty">
          <p>Nothing written yet.</p>
          <Link href="/notes/new" className="button primary">
            Write your first note
          </Link>
        </div>
      )}
      {found.length > 0 && (
        <ul className="notes">
          {found.map((note) => (
            <NoteItem key={note.noteId} note={note} />
          ))}
        </ul>
      )}
      <FailureNote failure={failure} />
      {busy && <Loading />}
      {failure && items === undefined && (
        <button className="button" onClick={reload}>
          Try again
        </button>
      )}
      {more && (
        <button className="button load-more" disabled={busy} onClick={more}>
          Load more
        </button>
      )}
    </Page>
  );
}

function contains({ content }: Note, sought: string): boolean {
  return content.toLocaleLowerCase().includes(sought.toLocaleLowerCase());
}

function summary(found: number, loaded: number, sought: string, more: boolean): string {
  const all = more ? `the ${counted(loaded, "note")} loaded so far` : counted(loaded, "note");
  if (sought === "") return more ? `The latest ${counted(loaded, "note")}` : all;
  return found === 0 ? `“${sought}” is in none of ${all}.` : `${found} of ${all}`;
}
