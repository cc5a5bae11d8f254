import { AppError, unreachableMessage } from "../failure.ts";
import { request } from "./client.ts";

/** The maximum size of a file, in bytes. */
export const FILE_LIMIT = 5_000_000;

interface PresignedUpload {
  /** The key of the file in the bucket. */
  attachment: string;
  uploadUrl: string;
  /** The headers that the presigned URL requires. */
  headers: Record<string, string>;
}

/**
 * Uploads a file and returns its key, which a note refers to it by.
 *
 * `onProgress` receives the fraction that has been sent, from 0 to 1.
 */
export async function upload(file: File, onProgress: (fraction: number) => void, signal: AbortSignal): Promise<string> {
  const body = { filename: file.name, contentType: file.type || "application/octet-stream", size: file.size };
  const { body: presigned } = await request<PresignedUpload>("POST", "/notes/attachments", { body });
  await putFile(presigned, file, onProgress, signal);
  return presigned.attachment;
}

/** The original name of a file, taken from its key. */
export function filename(attachment: string): string {
  const last = attachment.slice(attachment.lastIndexOf("/") + 1);
  return last.replace(/^[0-9a-f]{32}-/, "");
}

/** Uses XMLHttpRequest because `fetch` does not report upload progress. */
function putFile(
  { uploadUrl, headers }: PresignedUpload,
  file: File,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
) {
  return new Promise<void>((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open("PUT", uploadUrl);
    for (const [name, value] of Object.entries(headers)) {
      // Browsers set Content-Length themselves and forbid scripts to set it.
      if (name.toLowerCase() !== "content-length") request.setRequestHeader(name, value);
    }
    request.upload.onprogress = ({ loaded, total }) => onProgress(loaded / total);
    request.onload = () => {
      if (request.status < 300) resolve();
      else reject(new AppError(`The upload failed (status ${request.status}). Choose the file again to retry.`));
    };
    request.onerror = () => reject(new AppError(unreachableMessage()));
    request.onabort = () => reject(signal.reason);
    signal.addEventListener("abort", () => request.abort());
    if (signal.aborted) reject(signal.reason);
    else request.send(file);
  });
}
