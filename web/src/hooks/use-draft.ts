import { useEffect, useState } from "react";
import type { Draft, Version } from "../api/notes.ts";
import { loadItem, removeItem, storeItem } from "../session-storage.ts";

interface DraftState {
  draft: Draft;
  /** The saved state of the note that the draft is based on. */
  base: Draft;
  /** The ETag of `base`. Undefined for a note that does not exist yet. */
  etag: string | undefined;
}

const EMPTY: Draft = { content: "", attachment: null };

/** The name of the form that edits a note of a user. Without `noteId`, of the form that creates one. */
export const noteForm = (noteId: string | undefined, userId: string) => `note:${noteId ?? "new"}:${userId}`;

/** Whether a form has unsaved content. */
export const hasDraft = (form: string) => loadItem(itemName(form)) !== undefined;

const itemName = (form: string) => `draft:${form}`;

/** The content of a form. It is in sessionStorage until it is saved, so that a reload loses nothing. */
export function useDraft(form: string, version: Version | undefined) {
  const item = itemName(form);
  const [state, setState] = useState<DraftState>(() => loadItem<DraftState>(item) ?? initialState(version));
  const [restored, setRestored] = useState(() => hasDraft(form));
  const changed = !isSameDraft(state.draft, state.base);

  useEffect(() => {
    if (changed) storeItem(item, state);
    else removeItem(item);
  }, [item, state, changed]);

  useEffect(() => {
    if (!changed) return;
    // sessionStorage does not survive the tab, so the browser warns before it closes.
    const warn = (event: BeforeUnloadEvent) => event.preventDefault();
    window.addEventListener("beforeunload", warn);
    return () => window.removeEventListener("beforeunload", warn);
  }, [changed]);

  return {
    ...state,
    changed,
    /** Whether the draft was restored after a reload. */
    restored,
    change: (part: Partial<Draft>) => setState((now) => ({ ...now, draft: { ...now.draft, ...part } })),
    /** Records that `base` was saved. Text that was typed since it was sent stays in the draft, unsaved. */
    saved(base: Draft, etag: string) {
      setRestored(false);
      setState((now) => ({ ...now, base, etag }));
    },
    /** Replaces the draft with a version of the note. */
    reset(to: Version | undefined) {
      setRestored(false);
      setState(initialState(to));
    },
    /** Deletes the stored draft, once the note is created or deleted. */
    clear() {
      setState((now) => ({ ...now, base: now.draft }));
      removeItem(item);
    },
  };
}

export function isSameDraft(a: Draft, b: Draft): boolean {
  return a.content === b.content && a.attachment === b.attachment;
}

export const toDraft = ({ content, attachment }: Draft): Draft => ({ content, attachment });

function initialState(version: Version | undefined): DraftState {
  const draft = version ? toDraft(version.note) : EMPTY;
  return { draft, base: draft, etag: version?.etag };
}
