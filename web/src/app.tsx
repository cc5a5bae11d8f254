import { lazy, Suspense } from "react";
import { Route, Switch } from "wouter";
import { AnnouncerProvider } from "./components/announcer.tsx";
import { ErrorBoundary } from "./components/error-boundary.tsx";
import { Loading } from "./components/loading.tsx";
import { Landing } from "./pages/landing.tsx";
import { NotFound } from "./pages/not-found.tsx";

// Pages that need Amplify are loaded on demand, so that the first page stays small.
const SignUp = lazy(() => import("./pages/sign-up.tsx"));
const LogIn = lazy(() => import("./pages/log-in.tsx"));
const ForgottenPassword = lazy(() => import("./pages/forgotten-password.tsx"));
const LoggedIn = lazy(() => import("./logged-in.tsx"));

/** The first segments of the paths of pages for users who are logged in. */
const USER_PATHS = [
  "notes",
  "billing", // part: billing
  "settings",
];

const userPage = new RegExp(`^/(${USER_PATHS.join("|")})(/|$)`);

export function App() {
  return (
    <ErrorBoundary>
      <AnnouncerProvider>
        <Suspense fallback={<Loading />}>
          <Switch>
            <Route path="/" component={Landing} />
            <Route path="/sign-up" component={SignUp} />
            <Route path="/log-in" component={LogIn} />
            <Route path="/forgotten-password" component={ForgottenPassword} />
            <Route path={userPage} component={LoggedIn} />
            <Route component={NotFound} />
          </Switch>
        </Suspense>
      </AnnouncerProvider>
    </ErrorBoundary>
  );
}
