import { Link } from "wouter";

/** A link to the page on which the user buys storage. */
export function BuyStorage({ to }: { to: string | undefined }) {
  return (
    <Link href={to ? `/billing?to=${encodeURIComponent(to)}` : "/billing"} className="button">
      Buy storage
    </Link>
  );
}
