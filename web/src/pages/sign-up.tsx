import { useState } from "react";
import { Link, useLocation } from "wouter";
import { signUp } from "../auth.ts";
import { EmailField, NewPasswordField } from "../components/account-fields.tsx";
import { ConfirmEmail } from "../components/confirm-email.tsx";
import { FailureMessage } from "../components/failure-message.tsx";
import { Form } from "../components/form.tsx";
import { Page } from "../components/page.tsx";
import { Submit } from "../components/submit.tsx";
import { useSubmit } from "../hooks/use-submit.ts";

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
        <FailureMessage failure={failure} />
        <Submit busy={busy}>Sign up</Submit>
      </Form>
      <p className="aside">
        Already have an account? <Link href="/log-in">Log in</Link>
      </p>
    </Page>
  );
}
