import { useState } from "react";
import { logIn } from "../auth.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { EmailField, PasswordField } from "./account-fields.tsx";
import { FailureNote } from "./failure-note.tsx";
import { Form } from "./form.tsx";
import { Submit } from "./submit.tsx";

interface Props {
  /** The only account that may log in here, if there is one. */
  email?: string;
  onLoggedIn: () => void;
  /** Their e-mail address is to be confirmed first. */
  onUnconfirmed: (email: string, password: string) => void;
}

export function LogInForm({ email: only, onLoggedIn, onUnconfirmed }: Props) {
  const [email, setEmail] = useState(only ?? "");
  const [password, setPassword] = useState("");
  const { busy, failure, submit } = useSubmit(async () => {
    if ((await logIn(email, password)) === "signed in") onLoggedIn();
    else onUnconfirmed(email, password);
  });

  return (
    <Form onSubmit={submit}>
      <EmailField value={email} {...(only === undefined && { onChange: setEmail })} />
      <PasswordField value={password} onChange={setPassword} />
      <FailureNote failure={failure} />
      <Submit busy={busy}>Log in</Submit>
    </Form>
  );
}
