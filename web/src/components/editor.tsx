import { type KeyboardEvent, useId, useState } from "react";
import { useLocation } from "wouter";
import { CONTENT_LIMIT, createNote, type Draft, getNote, updateNote, type Version } from "../api/notes.ts";
import { Problem } from "../api/problem.ts";
import { formatNumber } from "../format.ts";
import { isSameDraft, noteForm, toDraft, useDraft } from "../hooks/use-draft.ts";
import { useStorage } from "../hooks/use-storage.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { clearIdempotencyKey, idempotencyKey } from "../idempotency.ts";
import { useUser } from "../user.ts";
import { useAnnounce } from "./announcer.tsx";
import { AttachmentField } from "./attachment-field.tsx";
import { Conflict } from "./conflict.tsx";
import { DeleteNote } from "./delete-note.tsx";
import { FailureMessage } from "./failure-message.tsx";
import { Form } from "./form.tsx";
import { StorageFull, StorageNotice } from "./storage-notice.tsx";
import { Submit } from "./submit.tsx";

interface Props {
  version?: Version;
  /** The ID of a deleted note whose draft is not saved. */
  deletedId?: string;
}

/** The form that edits a note. Without `version` it creates one. */
export function Editor({ version, deletedId }: Props) {
  const id = useId();
  const noteId = version?.note.noteId ?? deletedId;
  const form = noteForm(noteId, useUser().id);
  const state = useDraft(form, version);
  const { draft, etag } = state;
  const [uploading, setUploading] = useState(false);
  const [theirs, setTheirs] = useState<Version>();
  const [deleted, setDeleted] = useState(deletedId !== undefined);
  const [path, navigate] = useLocation();
  const announce = useAnnounce();

  const create = useSubmit(async () => {
    const created = await createNote(draft, idempotencyKey(form, draft));
    clearIdempotencyKey(form);
    state.clear();
    announce("Saved.");
    navigate(`/notes/${created.noteId}`, { replace: true });
  });

  const update = useSubmit(async (ifMatch: string) => {
    const saved = await updateOrFetchConflict(noteId!, draft, ifMatch);
    if (saved === "deleted") setDeleted(true);
    else if (!isSameDraft(saved.draft, draft)) setTheirs(saved.version);
    else {
      state.saved(draft, saved.etag);
      setTheirs(undefined);
      announce("Saved.");
    }
  });
  const save = () => (etag === undefined ? create.submit() : update.submit(etag));
  const busy = create.busy || update.busy;

  const full = create.failure instanceof Problem && create.failure.code === "storage_full" && create.failure.document;

  function discard() {
    state.reset(version);
    if (deletedId !== undefined) navigate("/notes", { replace: true });
  }

  function saveOnShortcut(event: KeyboardEvent<HTMLElement>) {
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
        onUseTheirs={() => {
          state.reset(theirs);
          setTheirs(undefined);
        }}
      />
    );
  }
  return (
    <Form onSubmit={save} className="editor">
      {noteId === undefined && !full && <StorageWarning to={path} />}
      {state.restored && (
        <div className="notice" role="status">
          <p>This is your unsaved text.</p>
          <button type="button" className="button quiet" onClick={discard}>
            Discard
          </button>
        </div>
      )}
      <label htmlFor={id} className="visually-hidden">
        Note text
      </label>
      <textarea
        id={id}
        required
        placeholder="Write…"
        readOnly={create.busy} // the form is replaced after the creation, and would lose what is typed meanwhile
        value={draft.content}
        onChange={(event) => state.change({ content: event.target.value })}
        onKeyDown={saveOnShortcut}
      />
      <Length content={draft.content} />
      <AttachmentField
        attachment={draft.attachment}
        note={version?.note}
        saved={state.base.attachment === draft.attachment}
        onChange={(attachment) => state.change({ attachment })}
        onBusy={setUploading}
      />
      {full ? (
        <StorageFull storage={{ used: full.used ?? 0, allowed: full.allowed ?? 0 }} to={path} />
      ) : (
        <FailureMessage failure={create.failure ?? update.failure} />
      )}
      {deleted && (
        <div className="notice" role="alert">
          <p>This note was deleted elsewhere. Your text is still here.</p>
          <button type="button" className="button" onClick={create.submit} disabled={create.busy}>
            Save as new note
          </button>
        </div>
      )}
      <div className="actions">
        {!deleted && (
          <Submit busy={busy} disabled={!state.changed || uploading}>
            Save
          </Submit>
        )}
        <p className="hint">{state.changed ? "Not saved yet" : version && "Saved"}</p>
        {version && <DeleteNote noteId={version.note.noteId} onDeleted={state.clear} />}
      </div>
    </Form>
  );
}

/** Warns before the user writes a note that cannot be saved. */
function StorageWarning({ to }: { to: string }) {
  const { storage } = useStorage();
  return storage && <StorageNotice storage={storage} to={to} />;
}

/**
 * Updates the note. If it was changed elsewhere, returns the current version instead.
 *
 * A retry after a lost response conflicts with its own first attempt. The current version equals the draft then, and the
 * caller treats the note as saved.
 */
async function updateOrFetchConflict(noteId: string, draft: Draft, ifMatch: string) {
  try {
    return { draft, etag: await updateNote(noteId, draft, ifMatch) };
  } catch (error) {
    if (error instanceof Problem && error.status === 404) return "deleted";
    if (!(error instanceof Problem && error.status === 412)) throw error;
    const version = await getNote(noteId);
    return { draft: toDraft(version.note), etag: version.etag, version };
  }
}

/** The length of the note, shown when it is near the limit. */
function Length({ content }: { content: string }) {
  if (content.length < CONTENT_LIMIT * 0.9) return null;
  // Code points, as the server counts them, not UTF-16 code units.
  const length = [...content].length;
  return (
    <p className="hint" role="status">
      {formatNumber(length)} of at most {formatNumber(CONTENT_LIMIT)} characters
    </p>
  );
}
