import { useEffect, useState } from "react";
import { Link, useLocation, useSearchParams } from "wouter";
import { currentUser } from "../auth.ts";
import { ConfirmEmail } from "../components/confirm-email.tsx";
import { LogInForm } from "../components/log-in-form.tsx";
import { Page } from "../components/page.tsx";
import { localPath } from "../local-path.ts";

export default function LogIn() {
  const [, navigate] = useLocation();
  const [query] = useSearchParams();
  const [unconfirmed, setUnconfirmed] = useState<{ email: string; password: string }>();
  const goToTarget = () => navigate(localPath(query.get("to")) ?? "/notes", { replace: true });
  // biome-ignore lint/correctness/useExhaustiveDependencies: the session is read once, when the page opens
  useEffect(() => {
    // A user who is already logged in skips the form. If the session cannot be read, the form is shown.
    currentUser().then(
      (user) => user && goToTarget(),
      () => {},
    );
  }, []);

  if (unconfirmed) {
    return (
      <Page title="Confirm your e-mail" layout="form">
        <ConfirmEmail {...unconfirmed} onLoggedIn={goToTarget} />
      </Page>
    );
  }
  return (
    <Page title="Log in" layout="form">
      <LogInForm onLoggedIn={goToTarget} onUnconfirmed={(email, password) => setUnconfirmed({ email, password })} />
      <p className="aside">
        <Link href="/forgotten-password">Forgot your password?</Link>
      </p>
      <p className="aside">
        No account yet? <Link href="/sign-up">Sign up</Link>
      </p>
    </Page>
  );
}
