import { type Kind, labelOf } from "../fields.ts";
import { Field } from "./field.tsx";

interface Props {
  name: string;
  kind: Kind;
  required: boolean;
  /** The text of the value. */
  text: string;
  onChange: (text: string) => void;
}

/** The type of the input of each kind, and its step. */
const INPUTS: Record<Exclude<Kind, "checkbox">, { type: string; step?: string }> = {
  text: { type: "text" },
  integer: { type: "number", step: "1" },
  decimal: { type: "number", step: "any" },
  date: { type: "date" },
  time: { type: "datetime-local", step: "0.001" },
  url: { type: "url" },
  email: { type: "email" },
};

/** An input for a field of a resource. */
export function ValueField({ name, kind, required, text, onChange }: Props) {
  const label = labelOf(name);
  if (kind !== "checkbox")
    return <Field label={label} {...INPUTS[kind]} required={required} value={text} onChange={onChange} />;
  return (
    <label className="checkbox">
      <input
        type="checkbox"
        checked={text === "true"}
        onChange={({ target }) => onChange(target.checked ? "true" : "")}
      />
      {label}
    </label>
  );
}
