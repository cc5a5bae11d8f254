import { useId, useRef, useState } from "react";
import { FILE_LIMIT, filename, upload } from "../api/attachments.ts";
import type { Note } from "../api/notes.ts";
import { AppError } from "../failure.ts";
import { formatBytes, formatNumber } from "../format.ts";
import { useObjectUrl } from "../hooks/use-object-url.ts";
import { useStoredFile } from "../hooks/use-stored-file.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { FailureMessage } from "./failure-message.tsx";
import { FileCard } from "./file-card.tsx";

interface Props {
  attachment: string | null;
  /** The note as it was loaded. Undefined for a note that does not exist yet. */
  note: Note | undefined;
  /** Whether the saved note has this attachment. */
  saved: boolean;
  onChange: (attachment: string | null) => void;
  onBusy: (busy: boolean) => void;
}

/** The file of a note. It is uploaded when it is chosen, and attached when the note is saved. */
export function AttachmentField({ attachment, note, saved, onChange, onBusy }: Props) {
  const id = useId();
  const fileInput = useRef<HTMLInputElement>(null);
  const [uploading, setUploading] = useState<{ file: File; fraction: number; cancel: () => void }>();
  const [uploaded, setUploaded] = useState<{ file: File; attachment: string }>();
  const localFile = uploaded?.attachment === attachment ? uploaded.file : undefined;
  const localUrl = useObjectUrl(localFile);
  const storedFile = useStoredFile(note, saved ? attachment : null);

  const { failure, submit } = useSubmit(async (file: File) => {
    if (file.size > FILE_LIMIT || file.size === 0) throw new AppError(sizeError(file));
    const controller = new AbortController();
    const showProgress = (fraction: number) => setUploading({ file, fraction, cancel: () => controller.abort() });
    showProgress(0);
    onBusy(true);
    try {
      const attachment = await upload(file, showProgress, controller.signal);
      setUploaded({ file, attachment });
      onChange(attachment);
    } catch (error) {
      if (!controller.signal.aborted) throw error;
    } finally {
      setUploading(undefined);
      onBusy(false);
    }
  });

  return (
    <div className="attachment">
      {/* Hidden behind a button: the browser's own control shows the last chosen file, which may not be the note's. */}
      <input
        ref={fileInput}
        id={id}
        type="file"
        className="visually-hidden"
        aria-label="File"
        tabIndex={-1}
        onChange={({ target }) => {
          const [file] = target.files ?? [];
          target.value = "";
          if (file) void submit(file);
        }}
      />
      {uploading ? (
        <div className="uploading">
          <label htmlFor={`${id}-progress`}>Uploading {uploading.file.name}</label>
          <progress id={`${id}-progress`} value={uploading.fraction} />
          <button type="button" className="button quiet" onClick={uploading.cancel}>
            Cancel
          </button>
        </div>
      ) : (
        <>
          {attachment && (
            <FileCard
              name={filename(attachment)}
              file={localFile ? { type: localFile.type, size: localFile.size, url: localUrl } : storedFile}
            />
          )}
          <div className="actions">
            <button type="button" className="button" onClick={() => fileInput.current?.click()}>
              {attachment ? "Replace file" : "Attach file"}
            </button>
            {attachment && (
              <button type="button" className="button quiet" onClick={() => onChange(null)}>
                Remove file
              </button>
            )}
            {!attachment && <p className="hint">Up to {formatBytes(FILE_LIMIT)}</p>}
          </div>
        </>
      )}
      <FailureMessage failure={failure} />
    </div>
  );
}

function sizeError({ name, size }: File): string {
  if (size === 0) return `${name} is empty.`;
  return `${name} has ${formatNumber(size)} bytes. The limit is ${formatNumber(FILE_LIMIT)} bytes.`;
}
