import { type ReactNode, useContext, useEffect, useRef } from "react";
import { UserContext } from "../user.ts";
import { Header } from "./header.tsx";
import { Offline } from "./offline.tsx";

interface Props {
  title: string;
  /** What stands beside the title. */
  action?: ReactNode;
  /** `form` is a page that is one short form, `landing` the first one, whose title is what the app is for. */
  layout?: "form" | "landing" | "wide";
  children: ReactNode;
}

let shownBefore = false;

/** A page: its frame, its title, and the keyboard's focus where it begins. */
export function Page({ title, action, layout = "wide", children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => {
    // The browser looks after the first page. On the next ones a screen reader would stay where the link was.
    if (shownBefore) heading.current?.focus({ preventScroll: true });
    shownBefore = true;
    window.scrollTo(0, 0);
  }, [title]);

  return (
    <>
      <title>{layout === "landing" ? "Scratchpad" : `${title} · Scratchpad`}</title>
      <a className="skip" href="#content">
        Skip to the content
      </a>
      <Header signedIn={useContext(UserContext) !== undefined} />
      <Offline />
      <main id="content" className={`page ${layout}`}>
        <div className="page-title">
          <h1 ref={heading} tabIndex={-1}>
            {title}
          </h1>
          {action}
        </div>
        {children}
      </main>
    </>
  );
}
