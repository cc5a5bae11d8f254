interface Props {
  busy: boolean;
  disabled?: boolean;
  children: string;
}

/** A form's submit button. It is disabled while the form is busy. */
export function Submit({ busy, disabled = false, children }: Props) {
  return (
    <button type="submit" className="button primary" disabled={busy || disabled} aria-busy={busy}>
      {children}
    </button>
  );
}
