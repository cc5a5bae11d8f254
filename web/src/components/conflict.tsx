import { type ReactNode, useEffect, useRef } from "react";
import { filename } from "../api/attachments.ts";
import type { Draft, Note } from "../api/notes.ts";
import type { Failure } from "../failure.ts";
import { formatDateTime } from "../format.ts";
import { FailureMessage } from "./failure-message.tsx";

interface Props {
  mine: Draft;
  theirs: Note;
  busy: boolean;
  failure: Failure | undefined;
  onKeepMine: () => void;
  onUseTheirs: () => void;
}

/** Shows both versions of a note that was changed here and elsewhere. The user chooses one. */
export function Conflict({ mine, theirs, busy, failure, onKeepMine, onUseTheirs }: Props) {
  const heading = useRef<HTMLHeadingElement>(null);
  useEffect(() => heading.current?.focus(), []);
  return (
    <section className="conflict">
      <h2 ref={heading} tabIndex={-1}>
        This note was changed elsewhere
      </h2>
      <p>It was saved in another tab or on another device while you were writing. Which version do you want to keep?</p>
      <div className="versions">
        <VersionCard name="Your version" when="not saved yet" version={mine}>
          <button type="button" className="button primary" disabled={busy} onClick={onKeepMine}>
            Keep my version
          </button>
        </VersionCard>
        <VersionCard name="Other version" when={`saved ${formatDateTime(theirs.updatedAt)}`} version={theirs}>
          <button type="button" className="button" disabled={busy} onClick={onUseTheirs}>
            Use other version
          </button>
        </VersionCard>
      </div>
      <FailureMessage failure={failure} />
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
      {/* biome-ignore lint/a11y/noNoninteractiveTabindex: the text scrolls, so the keyboard has to reach it */}
      <p className="version-text" tabIndex={0}>
        {version.content}
      </p>
      <p className="hint">{version.attachment ? `With ${filename(version.attachment)}` : "Without a file"}</p>
      {children}
    </article>
  );
}
