import { useState } from "react";
import { useLocation } from "wouter";
import { deleteNote } from "../api/notes.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { useAnnounce } from "./announcer.tsx";
import { Dialog } from "./dialog.tsx";
import { FailureNote } from "./failure-note.tsx";

/** Asks first: there is no way back. */
export function DeleteNote({ noteId, onDeleted }: { noteId: string; onDeleted: () => void }) {
  const [asked, setAsked] = useState(false);
  const [, navigate] = useLocation();
  const announce = useAnnounce();
  const { busy, failure, submit } = useSubmit(async () => {
    await deleteNote(noteId);
    onDeleted();
    announce("The note is deleted.");
    // In place of the note: going back must not lead to what is no more.
    navigate("/notes", { replace: true });
  });

  return (
    <>
      <button type="button" className="button danger" onClick={() => setAsked(true)}>
        Delete
      </button>
      {asked && (
        <Dialog title="Delete this note?" onClose={() => setAsked(false)}>
          <p>The note and its file are gone for good then.</p>
          <FailureNote failure={failure} />
          <div className="actions">
            <button type="button" className="button danger" disabled={busy} onClick={submit}>
              Delete it
            </button>
            <button type="button" className="button quiet" disabled={busy} onClick={() => setAsked(false)}>
              Keep it
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
