import { lazy, useEffect, useState } from "react";
import { Redirect, Route, Switch, useLocation } from "wouter";
import { currentUser, type User } from "./auth.ts";
import { FailureNote } from "./components/failure-note.tsx";
import { Loading } from "./components/loading.tsx";
import { Page } from "./components/page.tsx";
import { SignInAgain } from "./components/sign-in-again.tsx";
import { useSubmit } from "./hooks/use-submit.ts";
import { NotFound } from "./pages/not-found.tsx";
import { UserContext } from "./user.ts";

const Notes = lazy(() => import("./pages/notes.tsx"));
const Note = lazy(() => import("./pages/note.tsx"));
const Billing = lazy(() => import("./pages/billing.tsx"));
const Settings = lazy(() => import("./pages/settings.tsx"));

/** The pages of people who are signed in. Anybody else signs in first, and comes back. */
export default function SignedIn() {
  const [location] = useLocation();
  const [user, setUser] = useState<User | "nobody">();
  const { failure, submit: look } = useSubmit(async () => setUser((await currentUser()) ?? "nobody"));
  useEffect(() => void look(), []);
  useEffect(() => {
    // Another tab may have logged somebody else in: what is here is not for them.
    const check = async () => {
      const now = await currentUser().catch(() => undefined);
      if (now) setUser((before) => (before !== "nobody" && before?.id === now.id ? before : now));
    };
    document.addEventListener("visibilitychange", check);
    return () => document.removeEventListener("visibilitychange", check);
  }, []);

  if (user === "nobody") return <Redirect to={`/log-in?to=${encodeURIComponent(location)}`} replace />;
  if (failure) {
    return (
      <Page title="Not now" layout="form">
        <FailureNote failure={failure} />
        <button className="button" onClick={look}>
          Try again
        </button>
      </Page>
    );
  }
  if (user === undefined) return <Loading />;
  return (
    <UserContext key={user.id} value={user}>
      <Switch>
        <Route path="/notes" component={Notes} />
        <Route path="/notes/new">
          <Note key="new" />
        </Route>
        <Route path="/notes/:noteId">{({ noteId }) => <Note key={noteId} noteId={noteId} />}</Route>
        <Route path="/billing" component={Billing} />
        <Route path="/settings" component={Settings} />
        <Route component={NotFound} />
      </Switch>
      <SignInAgain email={user.email} />
    </UserContext>
  );
}
