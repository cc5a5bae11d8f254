import { useState } from "react";
import { confirmEmail, logIn, resendCode } from "../auth.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { CodeField } from "./account-fields.tsx";
import { useAnnounce } from "./announcer.tsx";
import { FailureNote } from "./failure-note.tsx";
import { Form } from "./form.tsx";
import { Submit } from "./submit.tsx";

interface Props {
  email: string;
  password: string;
  onLoggedIn: () => void;
}

/** The second half of signing up: the code that was sent, and then they are in. */
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
    announce(`A new code is on its way to ${email}.`);
  });

  return (
    <Form onSubmit={confirm.submit}>
      <p>
        We have sent a code to <strong>{email}</strong>.
      </p>
      <CodeField value={code} onChange={setCode} />
      <FailureNote failure={confirm.failure ?? resend.failure} />
      <div className="actions">
        <Submit busy={confirm.busy}>Confirm</Submit>
        <button type="button" className="button quiet" onClick={resend.submit} disabled={resend.busy}>
          Send a new code
        </button>
      </div>
    </Form>
  );
}
