import { useState } from "react";
import { useLocation } from "wouter";
import { changePassword, signOut } from "../auth.ts";
import { EmailField, NewPasswordField, PasswordField } from "../components/account-fields.tsx";
import { useAnnounce } from "../components/announcer.tsx";
import { FailureNote } from "../components/failure-note.tsx";
import { Form } from "../components/form.tsx";
import { Page } from "../components/page.tsx";
import { Submit } from "../components/submit.tsx";
import { AppError } from "../failure.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { useUser } from "../user.ts";

export default function Settings() {
  return (
    <Page title="Settings">
      <section className="card">
        <h2>Your account</h2>
        <ChangePassword />
      </section>
      <section className="card">
        <h2>Sign out</h2>
        <SignOut />
      </section>
    </Page>
  );
}

function ChangePassword() {
  const { email } = useUser();
  const [oldPassword, setOldPassword] = useState("");
  const [newPassword, setNewPassword] = useState("");
  const announce = useAnnounce();
  const { busy, failure, submit } = useSubmit(async () => {
    await changePassword(oldPassword, newPassword).catch((error: Error) => {
      // Of an e-mail address, of which Cognito's general words speak, there is none here.
      throw error.name === "NotAuthorizedException" ? new AppError("Your present password is another one.") : error;
    });
    setOldPassword("");
    setNewPassword("");
    announce("Your password is changed.");
  });
  return (
    <Form onSubmit={submit}>
      <EmailField value={email} />
      <PasswordField label="Present password" value={oldPassword} onChange={setOldPassword} />
      <NewPasswordField label="New password" value={newPassword} onChange={setNewPassword} />
      <FailureNote failure={failure} />
      <Submit busy={busy}>Change password</Submit>
    </Form>
  );
}

function SignOut() {
  const [, navigate] = useLocation();
  const { busy, failure, submit } = useSubmit(async (everywhere: boolean) => {
    await signOut({ everywhere });
    navigate("/");
  });
  return (
    <>
      <p className="hint">
        Everywhere ends the sessions of all your devices; within the hour they ask for your password again.
      </p>
      <FailureNote failure={failure} />
      <div className="actions">
        <button className="button" disabled={busy} onClick={() => submit(false)}>
          Sign out
        </button>
        <button className="button" disabled={busy} onClick={() => submit(true)}>
          Sign out everywhere
        </button>
      </div>
    </>
  );
}
