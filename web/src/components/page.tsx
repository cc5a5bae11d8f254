import { type ReactNode, useContext, useEffect, useRef } from "react";
import { UserContext } from "../user.ts";
import { Header } from "./header.tsx";
import { Offline } from "./offline.tsx";

interface Props {
  title: string;
  /** An element next to the title. */
  action?: ReactNode;
  /** `form` is a narrow page with one form. `landing` is the start page; its document title is the app's name. */
  layout?: "form" | "landing" | "wide";
  children: ReactNode;
}

let shownBefore = false;

/** The layout of every page. Moves the keyboard focus to the title after navigation. */
export function Page({ title, action, layout = "wide", children }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new title means a new page
  useEffect(() => {
    // The browser sets the focus on the first page. After navigation a screen reader would stay at the old link.
    if (shownBefore) heading.current?.focus({ preventScroll: true });
    shownBefore = true;
    window.scrollTo(0, 0);
  }, [title]);

  return (
    <>
      <title>{layout === "landing" ? "Scratchpad" : `${title} · Scratchpad`}</title>
      <a className="skip" href="#content">
        Skip to content
      </a>
      <Header loggedIn={useContext(UserContext) !== undefined} />
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
