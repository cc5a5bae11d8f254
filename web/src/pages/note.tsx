import { useEffect, useState } from "react";
import { Link } from "wouter";
import { getNote, type Version } from "../api/notes.ts";
import { Problem } from "../api/problem.ts";
import { Editor } from "../components/editor.tsx";
import { FailureMessage } from "../components/failure-message.tsx";
import { Loading } from "../components/loading.tsx";
import { Page } from "../components/page.tsx";
import { hasDraft, noteForm } from "../hooks/use-draft.ts";
import { useSubmit } from "../hooks/use-submit.ts";
import { useUser } from "../user.ts";

/** The page that edits a note. Without `noteId` it creates one. */
export default function Note({ noteId }: { noteId?: string }) {
  return (
    <Page title={noteId ? "Note" : "New note"}>
      <p className="back">
        <Link href="/notes">All notes</Link>
      </p>
      {noteId ? <ExistingNote noteId={noteId} /> : <Editor />}
    </Page>
  );
}

function ExistingNote({ noteId }: { noteId: string }) {
  const form = noteForm(noteId, useUser().id);
  const [version, setVersion] = useState<Version | "not found">();
  const { failure, submit: load } = useSubmit(async () => {
    const result = await getNote(noteId).catch((error: unknown) => {
      if (error instanceof Problem && error.status === 404) return "not found" as const;
      throw error;
    });
    setVersion(result);
  });
  // biome-ignore lint/correctness/useExhaustiveDependencies: each note has its own `key`, so it is loaded once
  useEffect(() => void load(), []);

  if (version === "not found" && hasDraft(form)) return <Editor deletedId={noteId} />;
  if (version === "not found") return <p>This note does not exist. It may have been deleted.</p>;
  if (version) return <Editor version={version} />;
  if (failure === undefined) return <Loading />;
  return (
    <>
      <FailureMessage failure={failure} />
      <button type="button" className="button" onClick={load}>
        Try again
      </button>
    </>
  );
}
