import { type ReactNode, useId, useLayoutEffect, useRef } from "react";

interface Props {
  title: string;
  /** Closed without a choice: by Escape. */
  onClose: () => void;
  children: ReactNode;
}

/** What has to be answered before anything else. It is open as long as it is there. */
export function Dialog({ title, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // By layout effect, for the focus goes back to where it was only while the dialog is still in the document.
  useLayoutEffect(() => {
    dialog.current?.showModal();
    // Where there is something to type, that is what it was opened for.
    dialog.current?.querySelector<HTMLInputElement>("input:not([readonly])")?.focus();
    return () => dialog.current?.close();
  }, []);

  return (
    <dialog
      ref={dialog}
      aria-labelledby={id}
      onCancel={(event) => {
        event.preventDefault();
        onClose();
      }}
    >
      <h2 id={id}>{title}</h2>
      {children}
    </dialog>
  );
}
