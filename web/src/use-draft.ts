import { useEffect, useState } from "react";
import type { Draft, Version } from "./api/notes.ts";
import { forget, keep, kept } from "./kept.ts";

/** What was typed, and which state of the note it was typed over. */
interface Work {
  draft: Draft;
  over: Draft;
  /** None for a note that is not made yet. */
  etag: string | undefined;
}

const BLANK: Draft = { content: "", attachment: null };

/** What is typed into a form, kept under its name until it is saved, so that a reload loses nothing of it. */
export function useDraft(form: string, version: Version | undefined) {
  const [work, setWork] = useState<Work>(() => kept<Work>(form) ?? begun(version));
  const [restored, setRestored] = useState(() => kept(form) !== undefined);
  const changed = !same(work.draft, work.over);

  useEffect(() => {
    if (!changed) return;
    // The tab's memory ends with the tab.
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [changed]);

  function put(next: Work): void {
    setWork(next);
    if (same(next.draft, next.over)) forget(form);
    else keep(form, next);
  }

  return {
    ...work,
    changed,
    /** Whether it is from before a reload. */
    restored,
    change: (part: Partial<Draft>) => put({ ...work, draft: { ...work.draft, ...part } }),
    /** Goes on from a state of the note, as it was just saved or read. */
    settle(over: Draft, etag: string) {
      setRestored(false);
      put({ draft: over, over, etag });
    },
    discard() {
      setRestored(false);
      put(begun(version));
    },
    /** Keeps nothing: the note is made, or deleted. */
    end() {
      setWork({ ...work, over: work.draft });
      forget(form);
    },
  };
}

export function same(one: Draft, other: Draft): boolean {
  return one.content === other.content && one.attachment === other.attachment;
}

export const draftOf = ({ content, attachment }: Draft): Draft => ({ content, attachment });

function begun(version: Version | undefined): Work {
  const draft = version ? draftOf(version.note) : BLANK;
  return { draft, over: draft, etag: version?.etag };
}
