import { useState } from "react";
import { useLocation } from "wouter";
import { changePassword, logOut } from "../auth.ts";
import { EmailField, NewPasswordField, PasswordField } from "../components/account-fields.tsx";
import { useAnnounce } from "../components/announcer.tsx";
import { FailureMessage } from "../components/failure-message.tsx";
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
        <h2>Log out</h2>
        <LogOut />
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
      // The general message for this error also mentions the e-mail address, which is not asked for here.
      throw error.name === "NotAuthorizedException" ? new AppError("Your current password is wrong.") : error;
    });
    setOldPassword("");
    setNewPassword("");
    announce("Password changed.");
  });
  return (
    <Form onSubmit={submit}>
      <EmailField value={email} />
      <PasswordField label="Current password" value={oldPassword} onChange={setOldPassword} />
      <NewPasswordField label="New password" value={newPassword} onChange={setNewPassword} />
      <FailureMessage failure={failure} />
      <Submit busy={busy}>Change password</Submit>
    </Form>
  );
}

function LogOut() {
  const [, navigate] = useLocation();
  const { busy, failure, submit } = useSubmit(async (everywhere: boolean) => {
    await logOut({ everywhere });
    navigate("/");
  });
  return (
    <>
      <p className="hint">
        “Log out everywhere” ends your sessions on all devices. They ask for your password again within an hour.
      </p>
      <FailureMessage failure={failure} />
      <div className="actions">
        <button type="button" className="button" disabled={busy} onClick={() => submit(false)}>
          Log out
        </button>
        <button type="button" className="button" disabled={busy} onClick={() => submit(true)}>
          Log out everywhere
        </button>
      </div>
    </>
  );
}
