import { type ComponentProps, useId } from "react";

interface Props extends Omit<ComponentProps<"input">, "onChange"> {
  label: string;
  hint?: string;
  onChange?: (value: string) => void;
}

/** An input with its label and an optional hint. */
export function Field({ label, hint, onChange, ...input }: Props) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        required
        aria-describedby={hint && `${id}-hint`}
        onChange={(event) => onChange?.(event.target.value)}
        {...input}
      />
      {hint && (
        <p id={`${id}-hint`} className="hint">
          {hint}
        </p>
      )}
    </div>
  );
}
