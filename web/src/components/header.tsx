import { Link, useLocation } from "wouter";

const PUBLIC_LINKS = { "/log-in": "Log in", "/sign-up": "Sign up" };
const USER_LINKS = {
  "/notes": "Notes",
  "/billing": "Billing", // part: billing
  "/settings": "Settings",
};

export function Header({ loggedIn }: { loggedIn: boolean }) {
  const [location] = useLocation();
  const isCurrent = (path: string) => location === path || location.startsWith(`${path}/`);
  return (
    <header className="header">
      <Link href={loggedIn ? "/notes" : "/"} className="wordmark">
        <img src="/favicon.svg" alt="Scratchpad" width="26" height="26" />
        <span aria-hidden="true">Scratchpad</span>
      </Link>
      <nav aria-label="Pages">
        {Object.entries(loggedIn ? USER_LINKS : PUBLIC_LINKS).map(([path, name]) => (
          <Link key={path} href={path} aria-current={isCurrent(path) ? "page" : undefined}>
            {name}
          </Link>
        ))}
      </nav>
    </header>
  );
}
