import { Link, useSearchParams } from "wouter";
import { FIRST_NOTES_PAGE, listNotes, type Note } from "../api/notes.ts";
import { ListEnd } from "../components/list-end.tsx";
import { NoteItem } from "../components/note-item.tsx";
import { Page } from "../components/page.tsx";
import { isLow, StorageNotice, usage } from "../components/storage-notice.tsx";
import { formatCount } from "../format.ts";
import { usePages } from "../hooks/use-pages.ts";
import { useStorage } from "../hooks/use-storage.ts";

export default function Notes() {
  const pages = usePages(listNotes, FIRST_NOTES_PAGE);
  const { items, loadMore } = pages;
  const { storage } = useStorage();
  // The search is in the URL, so that it is kept when the user comes back from a note.
  const [query, setQuery] = useSearchParams();
  const search = query.get("q") ?? "";
  const found = items?.filter((note) => matches(note, search)) ?? [];

  const storageLine = storage && !isLow(storage) && <p className="hint">Storage: {usage(storage)}</p>;
  const newNote = (
    <Link href="/notes/new" className="button primary">
      New note
    </Link>
  );
  return (
    <Page title="Notes" action={items && items.length > 0 && newNote}>
      {storage && <StorageNotice storage={storage} />}
      {items && items.length > 0 && (
        <div className="search">
          <input
            type="search"
            aria-label="Search"
            placeholder="Search"
            value={search}
            onChange={({ target }) => setQuery(target.value ? { q: target.value } : {}, { replace: true })}
          />
          <div className="summary">
            <p className="hint" role="status">
              {summary(found.length, items.length, search, loadMore !== undefined)}
            </p>
            {storageLine}
          </div>
        </div>
      )}
      {items?.length === 0 && (
        <div className="empty">
          <p>You have no notes yet.</p>
          <Link href="/notes/new" className="button primary">
            Write your first note
          </Link>
          {storageLine}
        </div>
      )}
      {found.length > 0 && (
        <ul className="notes">
          {found.map((note) => (
            <NoteItem key={note.noteId} note={note} />
          ))}
        </ul>
      )}
      <ListEnd {...pages} />
    </Page>
  );
}

function matches({ content }: Note, search: string): boolean {
  return content.toLocaleLowerCase().includes(search.toLocaleLowerCase());
}

function summary(found: number, loaded: number, search: string, hasMore: boolean): string {
  const all = hasMore ? `the ${formatCount(loaded, "note")} loaded so far` : formatCount(loaded, "note");
  if (search === "") return hasMore ? `The latest ${formatCount(loaded, "note")}` : all;
  return found === 0 ? `No match for “${search}” in ${all}.` : `${found} of ${all}`;
}
