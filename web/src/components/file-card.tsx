import { formatBytes } from "../format.ts";
import type { StoredFile } from "../hooks/use-stored-file.ts";

interface Props {
  name: string;
  /** `pending` while the upload is not recorded yet, `missing` if it never was. */
  file: StoredFile | "pending" | "missing";
}

/** Shows an image as a preview, and any file as a link. */
export function FileCard({ name, file }: Props) {
  if (file === "pending") return <FileLine name={name} text="The preview will appear in a moment." />;
  if (file === "missing") return <FileLine name={name} text="This file is missing: its upload did not finish." />;
  return (
    <figure className="file">
      {file.type.startsWith("image/") && file.url && <img src={file.url} alt={`Preview of ${name}`} />}
      <figcaption>
        {file.url ? (
          // Opens in a new tab: the file is on another origin, which may forbid framing.
          <a href={file.url} target="_blank" rel="noreferrer">
            {name}
          </a>
        ) : (
          name
        )}
        <span className="hint">{formatBytes(file.size)}</span>
      </figcaption>
    </figure>
  );
}

function FileLine({ name, text }: { name: string; text: string }) {
  return (
    <figure className="file">
      <figcaption>
        {name}
        <span className="hint">{text}</span>
      </figcaption>
    </figure>
  );
}
