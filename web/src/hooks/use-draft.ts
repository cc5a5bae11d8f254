import { useEffect, useState } from "react";
import type { Draft, Version } from "../api/notes.ts";
import { forget, keep, kept } from "../session-storage.ts";

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
    if (changed) keep(form, work);
    else forget(form);
  }, [work]);

  useEffect(() => {
    if (!changed) return;
    // The tab's memory ends with the tab.
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [changed]);

  return {
    ...work,
    changed,
    /** Whether it is from before a reload. */
    restored,
    change: (part: Partial<Draft>) => setWork((now) => ({ ...now, draft: { ...now.draft, ...part } })),
    /** The note is now as it was sent. What was typed since then stays, and is not saved yet. */
    saved(over: Draft, etag: string) {
      setRestored(false);
      setWork((now) => ({ ...now, over, etag }));
    },
    /** Goes on from a state of the note, and drops what was typed. */
    restart(from: Version | undefined) {
      setRestored(false);
      setWork(begun(from));
    },
    /** The note is made, or deleted: the form goes now, and nothing is kept of it. */
    end() {
      setWork((now) => ({ ...now, over: now.draft }));
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
