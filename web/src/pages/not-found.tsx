import { Link } from "wouter";
import { Page } from "../components/page.tsx";

export function NotFound() {
  return (
    <Page title="Nothing here" layout="form">
      <p>There is no page at this address. A link may be old, or mistyped.</p>
      <Link href="/" className="button">
        Go to the beginning
      </Link>
    </Page>
  );
}
