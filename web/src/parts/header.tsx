import { Link } from "wouter";

const PAGES = [
  ["/notes", "Notes"],
  ["/billing", "Billing"],
  ["/settings", "Settings"],
] as const;

export function Header({ signedIn }: { signedIn: boolean }) {
  return (
    <header className="header">
      <Link href={signedIn ? "/notes" : "/"} className="wordmark">
        <img src="/favicon.svg" alt="" width="26" height="26" />
        <span>Scratchpad</span>
      </Link>
      <nav aria-label="Pages">
        {signedIn ? (
          PAGES.map(([path, name]) => <NavigationLink key={path} path={path} name={name} />)
        ) : (
          <>
            <NavigationLink path="/log-in" name="Log in" />
            <NavigationLink path="/sign-up" name="Sign up" />
          </>
        )}
      </nav>
    </header>
  );
}

function NavigationLink({ path, name }: { path: string; name: string }) {
  return (
    <Link href={path} className={(active) => (active ? "here" : "")}>
      {name}
    </Link>
  );
}
