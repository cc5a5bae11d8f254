import { Link } from "wouter";
import { Page } from "../components/page.tsx";
import { PriceTable } from "../components/price-table.tsx"; // part: billing

export function Landing() {
  return (
    <Page title="A quiet place for what you want to remember" layout="landing">
      <section className="pitch">
        <p className="lead">Write a note, attach a file, and find it again on any device.</p>
        <div className="actions">
          <Link href="/sign-up" className="button primary">
            Get started
          </Link>
          <Link href="/log-in" className="button">
            Log in
          </Link>
        </div>
      </section>
      <ul className="points">
        <li>
          <h2>Nothing is lost</h2>
          <p>If you changed a note on another device, you see both versions. Unsaved text survives a reload.</p>
        </li>
        <li>
          <h2>Files with your notes</h2>
          <p>Attach a picture or a document of up to 5 MB to each note. Only you can open it.</p>
        </li>
        {/* part: billing { */}
        <li>
          <h2>Charged once</h2>
          <p>You see the price before you pay. A double click never charges your card twice.</p>
        </li>
        {/* part: billing } */}
      </ul>
      {/* part: billing { */}
      <section className="prices">
        <h2>Prices</h2>
        <PriceTable />
      </section>
      {/* part: billing } */}
    </Page>
  );
}
