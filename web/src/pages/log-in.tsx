import { useEffect, useState } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { currentUser } from "../auth.ts";
import { ConfirmEmail } from "../components/confirm-email.tsx";
import { LogInForm } from "../components/log-in-form.tsx";
import { Page } from "../components/page.tsx";

export default function LogIn() {
  const [, navigate] = useLocation();
  const [query] = useSearchParams();
  const [unconfirmed, setUnconfirmed] = useState<{ email: string; password: string }>();
  const goOn = () => navigate(ownPath(query.get("to")) ?? "/notes", { replace: true });
  useEffect(() => {
    // Who is signed in already has no business here. When that cannot be told, the form is no worse.
    currentUser().then(
      (user) => user && goOn(),
      () => {},
    );
  }, []);

  if (unconfirmed) {
    return (
      <Page title="Confirm your e-mail" layout="form">
        <ConfirmEmail {...unconfirmed} onLoggedIn={goOn} />
      </Page>
    );
  }
  return (
    <Page title="Log in" layout="form">
      <LogInForm onLoggedIn={goOn} onUnconfirmed={(email, password) => setUnconfirmed({ email, password })} />
      <p className="aside">
        <Link href="/forgotten-password">Forgotten your password?</Link>
      </p>
      <p className="aside">
        You have no account? <Link href="/sign-up">Sign up</Link>
      </p>
    </Page>
  );
}

/** The address if it is one of this app: a link must not lead elsewhere by way of the log-in. */
function ownPath(to: string | null): string | undefined {
  return to !== null && /^\/(?![/\\])/.test(to) ? to : undefined;
}
