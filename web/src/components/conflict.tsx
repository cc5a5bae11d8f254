import { type ReactNode, useEffect, useRef } from "react";
import { filename } from "../api/attachments.ts";
import type { Draft, Note } from "../api/notes.ts";
import type { Failure } from "../failure.ts";
import { minuteOf } from "../format.ts";
import { FailureNote } from "./failure-note.tsx";

interface Props {
  mine: Draft;
  theirs: Note;
  busy: boolean;
  failure: Failure | undefined;
  onKeepMine: () => void;
  onTakeTheirs: () => void;
}

/** Both versions of a note that was changed here and elsewhere. Neither wins by itself. */
export function Conflict({ mine, theirs, busy, failure, onKeepMine, onTakeTheirs }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <section className="conflict">
      <h2 ref={heading} tabIndex={-1}>
        This note was changed elsewhere
      </h2>
      <p>It was saved in another tab or on another device while you were writing. Which version shall stay?</p>
      <div className="versions">
        <VersionCard name="Yours" when="not saved yet" version={mine}>
          <button className="button primary" disabled={busy} onClick={onKeepMine}>
            Keep mine
          </button>
        </VersionCard>
        <VersionCard name="The other" when={`saved ${minuteOf(theirs.updatedAt)}`} version={theirs}>
          <button className="button" disabled={busy} onClick={onTakeTheirs}>
            Take the other
          </button>
        </VersionCard>
      </div>
      <FailureNote failure={failure} />
    </section>
  );
}

interface VersionProps {
  name: string;
  when: string;
  version: Draft;
  children: ReactNode;
}

function VersionCard({ name, when, version, children }: VersionProps) {
  return (
    <article className="card">
      <h3>
        {name} <span className="hint">{when}</span>
      </h3>
      {/* It scrolls, so the keyboard has to come to it. */}
      <p className="version-text" tabIndex={0}>
        {version.content}
      </p>
      <p className="hint">{version.attachment ? `With ${filename(version.attachment)}` : "Without a file"}</p>
      {children}
    </article>
  );
}
