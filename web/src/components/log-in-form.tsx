import { useState } from "react";
import { logIn } from "../auth.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { EmailField, PasswordField } from "./account-fields.tsx";
import { FailureMessage } from "./failure-message.tsx";
import { Form } from "./form.tsx";
import { Submit } from "./submit.tsx";

interface Props {
  /** If set, only this account can log in. */
  email?: string;
  onLoggedIn: () => void;
  /** Called if the e-mail address has to be confirmed first. */
  onUnconfirmed: (email: string, password: string) => void;
}

export function LogInForm({ email: fixedEmail, onLoggedIn, onUnconfirmed }: Props) {
  const [email, setEmail] = useState(fixedEmail ?? "");
  const [password, setPassword] = useState("");
  const { busy, failure, submit } = useSubmit(async () => {
    if ((await logIn(email, password)) === "logged in") onLoggedIn();
    else onUnconfirmed(email, password);
  });

  return (
    <Form onSubmit={submit}>
      <EmailField value={email} {...(fixedEmail === undefined && { onChange: setEmail })} />
      <PasswordField value={password} onChange={setPassword} />
      <FailureMessage failure={failure} />
      <Submit busy={busy}>Log in</Submit>
    </Form>
  );
}
