import { useEffect, useState } from "react";
import { Link } from "wouter";
import { note, type Version } from "../api/notes.ts";
import { Problem } from "../api/problem.ts";
import { Editor } from "../components/editor.tsx";
import { FailureNote } from "../components/failure-note.tsx";
import { Loading } from "../components/loading.tsx";
import { Page } from "../components/page.tsx";
import { useSubmit } from "../hooks/use-submit.ts";

/** A note to write on, or with no id a new one. */
export default function Note({ noteId }: { noteId?: string }) {
  return (
    <Page title={noteId ? "Note" : "New note"}>
      <p className="back">
        <Link href="/notes">All notes</Link>
      </p>
      {noteId ? <Existing noteId={noteId} /> : <Editor />}
    </Page>
  );
}

function Existing({ noteId }: { noteId: string }) {
  const [version, setVersion] = useState<Version | "none">();
  const { failure, submit: read } = useSubmit(async () => {
    const found = await note(noteId).catch((error: unknown) => {
      if (error instanceof Problem && error.status === 404) return "none" as const;
      throw error;
    });
    setVersion(found);
  });
  useEffect(() => void read(), []);

  if (version === "none") return <p>You have no note at this address. It may have been deleted.</p>;
  if (version) return <Editor version={version} />;
  if (failure === undefined) return <Loading />;
  return (
    <>
      <FailureNote failure={failure} />
      <button className="button" onClick={read}>
        Try again
      </button>
    </>
  );
}
