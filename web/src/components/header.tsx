import { Link, useLocation } from "wouter";

const FOR_ANYBODY = { "/log-in": "Log in", "/sign-up": "Sign up" };
const FOR_MEMBERS = { "/notes": "Notes", "/billing": "Billing", "/settings": "Settings" };

export function Header({ signedIn }: { signedIn: boolean }) {
  const [location] = useLocation();
  const isHere = (path: string) => location === path || location.startsWith(`${path}/`);
  return (
    <header className="header">
      <Link href={signedIn ? "/notes" : "/"} className="wordmark">
        <img src="/favicon.svg" alt="Scratchpad" width="26" height="26" />
        <span aria-hidden="true">Scratchpad</span>
      </Link>
      <nav aria-label="Pages">
        {Object.entries(signedIn ? FOR_MEMBERS : FOR_ANYBODY).map(([path, name]) => (
          <Link key={path} href={path} aria-current={isHere(path) ? "page" : undefined}>
            {name}
          </Link>
        ))}
      </nav>
    </header>
  );
}
