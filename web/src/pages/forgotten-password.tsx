import { useState } from "react";
import { Link, useLocation } from "wouter";
import { logIn, sendPasswordCode, setNewPassword } from "../auth.ts";
import { CodeField, EmailField, NewPasswordField } from "../components/account-fields.tsx";
import { useAnnounce } from "../components/announcer.tsx";
import { FailureMessage } from "../components/failure-message.tsx";
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
    <RequestCode email={email} setEmail={setEmail} onSent={() => setCodeSent(true)} />
  );
}

interface RequestCodeProps {
  email: string;
  setEmail: (email: string) => void;
  onSent: () => void;
}

function RequestCode({ email, setEmail, onSent }: RequestCodeProps) {
  const { busy, failure, submit } = useSubmit(async () => {
    await sendPasswordCode(email);
    onSent();
  });
  return (
    <Page title="Reset your password" layout="form">
      <p>We will e-mail you a code with which you can set a new password.</p>
      <Form onSubmit={submit}>
        <EmailField value={email} onChange={setEmail} />
        <FailureMessage failure={failure} />
        <Submit busy={busy}>Send code</Submit>
      </Form>
      <p className="aside">
        Remember your password? <Link href="/log-in">Log in</Link>
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
    announce("New password set.");
    navigate("/notes");
  });
  const resend = useSubmit(async () => {
    await sendPasswordCode(email);
    announce(`We sent a new code to ${email}.`);
  });

  return (
    <Page title="Set a new password" layout="form">
      {/* Does not reveal whether the address has an account. */}
      <p>If this address has an account, we have sent it a code.</p>
      <Form onSubmit={change.submit}>
        <EmailField value={email} />
        <CodeField value={code} onChange={setCode} />
        <NewPasswordField label="New password" value={password} onChange={setPassword} />
        <FailureMessage failure={change.failure ?? resend.failure} />
        <div className="actions">
          <Submit busy={change.busy}>Set password</Submit>
          <button type="button" className="button quiet" onClick={resend.submit} disabled={resend.busy}>
            Send a new code
          </button>
        </div>
      </Form>
    </Page>
  );
}
