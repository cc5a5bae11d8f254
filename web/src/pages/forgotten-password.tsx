import { useState } from "react";
import { Link, useLocation } from "wouter";
import { logIn, sendPasswordCode, setNewPassword } from "../auth.ts";
import { CodeField, EmailField, NewPasswordField } from "../components/account-fields.tsx";
import { useAnnounce } from "../components/announcer.tsx";
import { FailureNote } from "../components/failure-note.tsx";
import { Form } from "../components/form.tsx";
import { Page } from "../components/page.tsx";
import { Submit } from "../components/submit.tsx";
import { useSubmit } from "../hooks/use-submit.ts";

export default function ForgottenPassword() {
  const [email, setEmail] = useState("");
  const [codeSent, setCodeSent] = useState(false);
  return codeSent ? (
    <NewPassword email={email} />
  ) : (
    <Ask email={email} setEmail={setEmail} onSent={() => setCodeSent(true)} />
  );
}

interface AskProps {
  email: string;
  setEmail: (email: string) => void;
  onSent: () => void;
}

function Ask({ email, setEmail, onSent }: AskProps) {
  const { busy, failure, submit } = useSubmit(async () => {
    await sendPasswordCode(email);
    onSent();
  });
  return (
    <Page title="Forgotten password" layout="form">
      <p>We send you a code, by which you can set a new one.</p>
      <Form onSubmit={submit}>
        <EmailField value={email} onChange={setEmail} />
        <FailureNote failure={failure} />
        <Submit busy={busy}>Send the code</Submit>
      </Form>
      <p className="aside">
        It came back to you? <Link href="/log-in">Log in</Link>
      </p>
    </Page>
  );
}

function NewPassword({ email }: { email: string }) {
  const [code, setCode] = useState("");
  const [password, setPassword] = useState("");
  const [, navigate] = useLocation();
  const announce = useAnnounce();
  const change = useSubmit(async () => {
    await setNewPassword(email, code, password);
    await logIn(email, password);
    announce("Your new password is set.");
    navigate("/notes");
  });
  const resend = useSubmit(async () => {
    await sendPasswordCode(email);
    announce(`A new code is on its way to ${email}.`);
  });

  return (
    <Page title="Set a new password" layout="form">
      {/* Whether there is such an account is nobody else's business. */}
      <p>If there is an account with this address, a code is on its way there.</p>
      <Form onSubmit={change.submit}>
        <EmailField value={email} />
        <CodeField value={code} onChange={setCode} />
        <NewPasswordField label="New password" value={password} onChange={setPassword} />
        <FailureNote failure={change.failure ?? resend.failure} />
        <div className="actions">
          <Submit busy={change.busy}>Set it</Submit>
          <button type="button" className="button quiet" onClick={resend.submit} disabled={resend.busy}>
            Send a new code
          </button>
        </div>
      </Form>
    </Page>
  );
}
