import { type ReactNode, useId, useLayoutEffect, useRef } from "react";

interface Props {
  title: string;
  /** Called when the user closes the dialog with Escape. */
  onClose: () => void;
  children: ReactNode;
}

/** A modal dialog. It is open while it is mounted. */
export function Dialog({ title, onClose, children }: Props) {
  const dialog = useRef<HTMLDialogElement>(null);
  const id = useId();
  // A layout effect, because closing restores the focus only while the dialog is still in the document.
  useLayoutEffect(() => {
    dialog.current?.showModal();
    // The first input gets the focus, if there is one.
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
