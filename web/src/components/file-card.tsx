import { bytes } from "../format.ts";
import type { StoredFile } from "../hooks/use-stored-file.ts";

interface Props {
  name: string;
  /** What is known of it: nothing yet, or that it is not there. */
  file: StoredFile | "awaited" | "missing";
}

/** Shows a picture, and a link to anything else. */
export function FileCard({ name, file }: Props) {
  if (file === "awaited") return <FileLine name={name} about="Its preview will be here in a moment." />;
  if (file === "missing")
    return <FileLine name={name} about="The file is not there: it was not uploaded to its end." />;
  return (
    <figure className="file">
      {file.type.startsWith("image/") && file.url && <img src={file.url} alt={`Preview of ${name}`} />}
      <figcaption>
        {file.url ? (
          // Of another origin, which may refuse to be opened within this page.
          <a href={file.url} target="_blank" rel="noreferrer">
            {name}
          </a>
        ) : (
          name
        )}
        <span className="hint">{bytes(file.size)}</span>
      </figcaption>
    </figure>
  );
}

function FileLine({ name, about }: { name: string; about: string }) {
  return (
    <figure className="file">
      <figcaption>
        {name}
        <span className="hint">{about}</span>
      </figcaption>
    </figure>
  );
}
