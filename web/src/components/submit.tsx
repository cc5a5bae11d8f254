interface Props {
  busy: boolean;
  disabled?: boolean;
  children: string;
}

/** A form's own button, which can be pressed once at a time. */
export function Submit({ busy, disabled = false, children }: Props) {
  return (
    <button type="submit" className="button primary" disabled={busy || disabled} aria-busy={busy}>
      {children}
    </button>
  );
}
