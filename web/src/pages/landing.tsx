import { Link } from "wouter";
import { Page } from "../components/page.tsx";
import { PriceTable } from "../components/price-table.tsx";

export function Landing() {
  return (
    <Page title="A quiet place for what you want to remember" layout="landing">
      <section className="pitch">
        <p className="lead">Write it down, put a file with it, and find it again on any device.</p>
        <div className="actions">
          <Link href="/sign-up" className="button primary">
            Begin
          </Link>
          <Link href="/log-in" className="button">
            Log in
          </Link>
        </div>
      </section>
      <ul className="points">
        <li>
          <h2>Nothing is lost</h2>
          <p>A note that was changed elsewhere shows you both versions. What you typed survives a reload.</p>
        </li>
        <li>
          <h2>Files with your notes</h2>
          <p>A picture or a document of up to 5 MB goes with each note, and only you can open it.</p>
        </li>
        <li>
          <h2>Paid once</h2>
          <p>You see the price before you pay. A click too many never charges your card twice.</p>
        </li>
      </ul>
      <section className="prices">
        <h2>What storage costs</h2>
        <PriceTable />
      </section>
    </Page>
  );
}
