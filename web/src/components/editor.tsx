import { type KeyboardEvent, useId, useState } from "react";
import { useLocation } from "wouter";
import { CONTENT_LIMIT, createNote, type Draft, note, updateNote, type Version } from "../api/notes.ts";
import { Problem } from "../api/problem.ts";
import { count } from "../format.ts";
import { draftOf, same, useDraft } from "../hooks/use-draft.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { done, keyOf } from "../idempotency.ts";
import { useUser } from "../user.ts";
import { useAnnounce } from "./announcer.tsx";
import { AttachmentField } from "./attachment-field.tsx";
import { Conflict } from "./conflict.tsx";
import { DeleteNote } from "./delete-note.tsx";
import { FailureNote } from "./failure-note.tsx";
import { Form } from "./form.tsx";
import { Submit } from "./submit.tsx";

/** Where a note is written. With no version it is a new one. */
export function Editor({ version }: { version?: Version }) {
  const id = useId();
  const noteId = version?.note.noteId;
  const form = `note ${noteId ?? "new"} of ${useUser().id}`;
  const work = useDraft(form, version);
  const { draft, etag } = work;
  const [uploading, setUploading] = useState(false);
  const [theirs, setTheirs] = useState<Version>();
  const [gone, setGone] = useState(false);
  const [, navigate] = useLocation();
  const announce = useAnnounce();

  const create = useSubmit(async () => {
    const made = await createNote(draft, keyOf(form, draft));
    done(form);
    work.end();
    announce("Saved.");
    navigate(`/notes/${made.noteId}`, { replace: true });
  });

  const update = useSubmit(async (over: string) => {
    const saved = await updateOrFind(noteId!, draft, over);
    if (saved === "gone") setGone(true);
    else if (!same(saved.draft, draft)) setTheirs(saved.version);
    else {
      work.saved(draft, saved.etag);
      setTheirs(undefined);
      announce("Saved.");
    }
  });
  const save = () => (etag === undefined ? create.submit() : update.submit(etag));
  const busy = create.busy || update.busy;

  function saveByKey(event: KeyboardEvent<HTMLElement>) {
    if (event.key !== "s" || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    event.currentTarget.closest("form")?.requestSubmit();
  }

  if (theirs) {
    return (
      <Conflict
        mine={draft}
        theirs={theirs.note}
        busy={busy}
        failure={update.failure}
        onKeepMine={() => update.submit(theirs.etag)}
        onTakeTheirs={() => {
          work.restart(theirs);
          setTheirs(undefined);
        }}
      />
    );
  }
  return (
    <Form onSubmit={save} className="editor">
      {work.restored && (
        <div className="notice" role="status">
          <p>This is what you had typed and not saved.</p>
          <button type="button" className="button quiet" onClick={() => work.restart(version)}>
            Discard it
          </button>
        </div>
      )}
      <label htmlFor={id} className="unseen">
        Text of the note
      </label>
      <textarea
        id={id}
        required
        placeholder="Write…"
        readOnly={create.busy} // then the form goes, and what was typed meanwhile would go with it
        value={draft.content}
        onChange={(event) => work.change({ content: event.target.value })}
        onKeyDown={saveByKey}
      />
      <Length content={draft.content} />
      <AttachmentField
        attachment={draft.attachment}
        note={version?.note}
        saved={work.over.attachment === draft.attachment}
        onChange={(attachment) => work.change({ attachment })}
        onBusy={setUploading}
      />
      <FailureNote failure={create.failure ?? update.failure} />
      {gone && (
        <div className="notice" role="alert">
          <p>This note was deleted elsewhere. What you wrote is still here.</p>
          <button type="button" className="button" onClick={create.submit} disabled={create.busy}>
            Save it as a new note
          </button>
        </div>
      )}
      <div className="actions">
        {!gone && (
          <Submit busy={busy} disabled={!work.changed || uploading}>
            Save
          </Submit>
        )}
        <p className="hint">{work.changed ? "Not saved yet" : version && "Saved"}</p>
        {noteId && <DeleteNote noteId={noteId} onDeleted={work.end} />}
      </div>
    </Form>
  );
}

/**
 * Writes the note, or finds what stands in the way: the version that somebody wrote meanwhile, or nothing.
 *
 * A write whose answer was lost is in the way of itself when it is sent again. Then it is done.
 */
async function updateOrFind(noteId: string, draft: Draft, over: string) {
  try {
    return { draft, etag: await updateNote(noteId, draft, over) };
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return "gone";
    if (!(error instanceof Problem && error.status === 412)) throw error;
    const version = await note(noteId);
    return { draft: draftOf(version.note), etag: version.etag, version };
  }
}

/** How long the note is, once that begins to matter. */
function Length({ content }: { content: string }) {
  if (content.length < CONTENT_LIMIT * 0.9) return null;
  // By characters as people count them, not by halves of them.
  const length = [...content].length;
  return (
    <p className="hint" role="status">
      {count(length)} of at most {count(CONTENT_LIMIT)} characters
    </p>
  );
}
