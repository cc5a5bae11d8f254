import { useState } from "react";
import { confirmEmail, logIn, resendCode } from "../auth.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { CodeField } from "./account-fields.tsx";
import { useAnnounce } from "./announcer.tsx";
import { FailureMessage } from "./failure-message.tsx";
import { Form } from "./form.tsx";
import { Submit } from "./submit.tsx";

interface Props {
  email: string;
  password: string;
  onLoggedIn: () => void;
}

/** Confirms the e-mail address with the code that was sent, and then logs in. */
export function ConfirmEmail({ email, password, onLoggedIn }: Props) {
  const [code, setCode] = useState("");
  const announce = useAnnounce();
  const confirm = useSubmit(async () => {
    await confirmEmail(email, code);
    await logIn(email, password);
    onLoggedIn();
  });
  const resend = useSubmit(async () => {
    await resendCode(email);
    announce(`We sent a new code to ${email}.`);
  });

  return (
    <Form onSubmit={confirm.submit}>
      <p>
        We sent a code to <strong>{email}</strong>.
      </p>
      <CodeField value={code} onChange={setCode} />
      <FailureMessage failure={confirm.failure ?? resend.failure} />
      <div className="actions">
        <Submit busy={confirm.busy}>Confirm</Submit>
        <button type="button" className="button quiet" onClick={resend.submit} disabled={resend.busy}>
          Send a new code
        </button>
      </div>
    </Form>
  );
}
