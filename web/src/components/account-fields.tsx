import { Field } from "./field.tsx";

interface Props {
  value: string;
  onChange: (value: string) => void;
  label?: string;
}

/** Read-only without `onChange`: it then shows the user and their password manager which account the form is for. */
export function EmailField({ value, onChange }: { value: string; onChange?: (value: string) => void }) {
  return (
    <Field
      label="E-mail"
      type="email"
      autoComplete="username"
      value={value}
      onChange={(value) => onChange?.(value.trim())}
      readOnly={onChange === undefined}
    />
  );
}

/** The current password of an account. */
export function PasswordField({ value, onChange, label = "Password" }: Props) {
  return <Field label={label} type="password" autoComplete="current-password" value={value} onChange={onChange} />;
}

/** The password policy of the user pool, set in infrastructure/lib/cognito-stack.ts. */
const PASSWORD_RULE = "At least 8 characters, with upper and lower case and a digit.";

/** A new password. */
export function NewPasswordField({ value, onChange, label = "Password" }: Props) {
  return (
    <Field
      label={label}
      type="password"
      autoComplete="new-password"
      pattern="(?=.*[a-z])(?=.*[A-Z])(?=.*\d).{8,}"
      title={PASSWORD_RULE}
      hint={PASSWORD_RULE}
      value={value}
      onChange={onChange}
    />
  );
}

/** The code from an e-mail. */
export function CodeField({ value, onChange }: Props) {
  return (
    <Field
      label="Code"
      inputMode="numeric"
      autoComplete="one-time-code"
      pattern="\d{6}"
      title="The six digits from the e-mail"
      value={value}
      onChange={(value) => onChange(value.trim())}
    />
  );
}
