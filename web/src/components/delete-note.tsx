import { useState } from "react";
import { useLocation } from "wouter";
import { deleteNote } from "../api/notes.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { useAnnounce } from "./announcer.tsx";
import { Dialog } from "./dialog.tsx";
import { FailureMessage } from "./failure-message.tsx";

/** The button that deletes a note, after a confirmation. */
export function DeleteNote({ noteId, onDeleted }: { noteId: string; onDeleted: () => void }) {
  const [confirming, setConfirming] = useState(false);
  const [, navigate] = useLocation();
  const announce = useAnnounce();
  const { busy, failure, submit } = useSubmit(async () => {
    await deleteNote(noteId);
    onDeleted();
    announce("Note deleted.");
    // Replaces the history entry, so that going back does not lead to the deleted note.
    navigate("/notes", { replace: true });
  });

  return (
    <>
      <button type="button" className="button danger" onClick={() => setConfirming(true)}>
        Delete
      </button>
      {confirming && (
        <Dialog title="Delete this note?" onClose={() => setConfirming(false)}>
          <p>This deletes the note and its file permanently.</p>
          <FailureMessage failure={failure} />
          <div className="actions">
            <button type="button" className="button danger" disabled={busy} onClick={submit}>
              Delete note
            </button>
            <button type="button" className="button quiet" disabled={busy} onClick={() => setConfirming(false)}>
              Cancel
            </button>
          </div>
        </Dialog>
      )}
    </>
  );
}
