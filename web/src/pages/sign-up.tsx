import { useState } from "react";
import { Link, useLocation } from "wouter";
import { signUp } from "../auth.ts";
import { EmailField, NewPasswordField } from "../parts/account-fields.tsx";
import { ConfirmEmail } from "../parts/confirm-email.tsx";
import { FailureNote } from "../parts/failure-note.tsx";
import { Form } from "../parts/form.tsx";
import { Page } from "../parts/page.tsx";
import { Submit } from "../parts/submit.tsx";
import { useSubmit } from "../use-submit.ts";

export default function SignUp() {
  const [email, setEmail] = useState("");
  const [password, setPassword] = useState("");
  const [codeSent, setCodeSent] = useState(false);
  const [, navigate] = useLocation();
  const { busy, failure, submit } = useSubmit(async () => {
    await signUp(email, password);
    setCodeSent(true);
  });

  if (codeSent) {
    return (
      <Page title="Confirm your e-mail" layout="form">
        <ConfirmEmail email={email} password={password} onLoggedIn={() => navigate("/notes")} />
      </Page>
    );
  }
  return (
    <Page title="Sign up" layout="form">
      <Form onSubmit={submit}>
        <EmailField value={email} onChange={setEmail} />
        <NewPasswordField value={password} onChange={setPassword} />
        <FailureNote failure={failure} />
        <Submit busy={busy}>Sign up</Submit>
      </Form>
      <p className="aside">
        You have an account? <Link href="/log-in">Log in</Link>
      </p>
    </Page>
  );
}
