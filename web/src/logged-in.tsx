import { lazy, useEffect, useState } from "react";
import { Redirect, Route, Switch, useLocation, useSearch } from "wouter";
import { currentUser, type User } from "./auth.ts";
import { FailureMessage } from "./components/failure-message.tsx";
import { Loading } from "./components/loading.tsx";
import { LogInAgain } from "./components/log-in-again.tsx";
import { Page } from "./components/page.tsx";
import { useSubmit } from "./hooks/use-submit.ts";
import { NotFound } from "./pages/not-found.tsx";
import { UserContext } from "./user.ts";

const Note = lazy(() => import("./pages/note.tsx"));

/** The pages by path. `/*?` stands for all paths below. */
const PAGES = {
  "/notes": lazy(() => import("./pages/notes.tsx")),
  "/billing": lazy(() => import("./pages/billing.tsx")), // part: billing
  "/settings": lazy(() => import("./pages/settings.tsx")),
};

/** The pages for users who are logged in. Others are redirected to the log-in page and come back afterwards. */
export default function LoggedIn() {
  const [path] = useLocation();
  const query = useSearch();
  const [user, setUser] = useState<User | "none">();
  const { failure, submit: loadUser } = useSubmit(async () => setUser((await currentUser()) ?? "none"));
  // biome-ignore lint/correctness/useExhaustiveDependencies: the session is read once, when the first page opens
  useEffect(() => void loadUser(), []);
  useEffect(() => {
    // If another user has logged in in another tab, this tab must not show the previous user's data.
    const check = async () => {
      const now = await currentUser().catch(() => undefined);
      if (now) setUser((before) => (before !== "none" && before?.id === now.id ? before : now));
    };
    document.addEventListener("visibilitychange", check);
    return () => document.removeEventListener("visibilitychange", check);
  }, []);

  if (user === "none") {
    const location = query ? `${path}?${query}` : path;
    return <Redirect to={`/log-in?to=${encodeURIComponent(location)}`} replace />;
  }
  if (failure) {
    return (
      <Page title="Cannot load your account" layout="form">
        <FailureMessage failure={failure} />
        <button type="button" className="button" onClick={loadUser}>
          Try again
        </button>
      </Page>
    );
  }
  if (user === undefined) return <Loading />;
  return (
    <UserContext key={user.id} value={user}>
      <Switch>
        <Route path="/notes/new">
          <Note key="new" />
        </Route>
        <Route path="/notes/:noteId">{({ noteId }) => <Note key={noteId} noteId={noteId} />}</Route>
        {Object.entries(PAGES).map(([page, component]) => (
          <Route key={page} path={page} component={component} />
        ))}
        <Route component={NotFound} />
      </Switch>
      <LogInAgain email={user.email} />
    </UserContext>
  );
}
