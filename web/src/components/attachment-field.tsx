import { useId, useRef, useState } from "react";
import { FILE_LIMIT, filename, upload } from "../api/attachments.ts";
import type { Note } from "../api/notes.ts";
import { AppError } from "../failure.ts";
import { bytes, count } from "../format.ts";
import { useObjectUrl } from "../hooks/use-object-url.ts";
import { useStoredFile } from "../hooks/use-stored-file.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { FailureNote } from "./failure-note.tsx";
import { FileCard } from "./file-card.tsx";

interface Props {
  attachment: string | null;
  /** The note as it was read, if it is made yet. */
  note: Note | undefined;
  /** Whether the attachment is the note's already. */
  saved: boolean;
  onChange: (attachment: string | null) => void;
  onBusy: (busy: boolean) => void;
}

/** The file of a note. It is uploaded as soon as it is chosen, and belongs to the note once that is saved. */
export function AttachmentField({ attachment, note, saved, onChange, onBusy }: Props) {
  const id = useId();
  const chooser = useRef<HTMLInputElement>(null);
  const [sending, setSending] = useState<{ file: File; part: number; cancel: () => void }>();
  const [sent, setSent] = useState<{ file: File; attachment: string }>();
  const local = sent?.attachment === attachment ? sent.file : undefined;
  const localUrl = useObjectUrl(local);
  const storedFile = useStoredFile(note, saved ? attachment : null);

  const { failure, submit: send } = useSubmit(async (file: File) => {
    if (file.size > FILE_LIMIT || file.size === 0) throw new AppError(unfit(file));
    const control = new AbortController();
    const show = (part: number) => setSending({ file, part, cancel: () => control.abort() });
    show(0);
    onBusy(true);
    try {
      const name = await upload(file, show, control.signal);
      setSent({ file, attachment: name });
      onChange(name);
    } catch (error) {
      if (!control.signal.aborted) throw error;
    } finally {
      setSending(undefined);
      onBusy(false);
    }
  });

  return (
    <div className="attachment">
      {/* Behind its button; a browser's own names the file that was chosen last, which may not be the note's. */}
      <input
        ref={chooser}
        id={id}
        type="file"
        className="unseen"
        aria-label="File"
        tabIndex={-1}
        onChange={({ target }) => {
          const [file] = target.files ?? [];
          target.value = "";
          if (file) void send(file);
        }}
      />
      {sending ? (
        <div className="sending">
          <label htmlFor={`${id}-progress`}>Uploading {sending.file.name}</label>
          <progress id={`${id}-progress`} value={sending.part} />
          <button type="button" className="button quiet" onClick={sending.cancel}>
            Cancel
          </button>
        </div>
      ) : (
        <>
          {attachment && (
            <FileCard
              name={filename(attachment)}
              file={local ? { type: local.type, size: local.size, url: localUrl } : storedFile}
            />
          )}
          <div className="actions">
            <button type="button" className="button" onClick={() => chooser.current?.click()}>
              {attachment ? "Replace the file" : "Attach a file"}
            </button>
            {attachment && (
              <button type="button" className="button quiet" onClick={() => onChange(null)}>
                Remove it
              </button>
            )}
            {!attachment && <p className="hint">Up to {bytes(FILE_LIMIT)}</p>}
          </div>
        </>
      )}
      <FailureNote failure={failure} />
    </div>
  );
}

function unfit({ name, size }: File): string {
  if (size === 0) return `${name} is empty.`;
  return `${name} has ${count(size)} bytes. A file can have ${count(FILE_LIMIT)}.`;
}
