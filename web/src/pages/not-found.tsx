import { Link } from "wouter";
import { Page } from "../components/page.tsx";

export function NotFound() {
  return (
    <Page title="Page not found" layout="form">
      <p>There is no page at this address. The link may be old or mistyped.</p>
      <Link href="/" className="button">
        Go to the start page
      </Link>
    </Page>
  );
}
