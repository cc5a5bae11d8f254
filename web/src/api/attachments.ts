import { AppError, unreachable } from "../failure.ts";
import { request } from "./client.ts";

/** The most bytes that a file can have. */
export const FILE_LIMIT = 5_000_000;

interface Upload {
  attachment: string;
  uploadUrl: string;
  headers: Record<string, string>;
}

/**
 * Uploads a file, and gives the name that a note takes it by.
 *
 * `onProgress` hears which part of it is sent, from 0 to 1.
 */
export async function upload(file: File, onProgress: (part: number) => void, signal: AbortSignal): Promise<string> {
  const body = { filename: file.name, contentType: file.type || "application/octet-stream", size: file.size };
  const { body: leave } = await request<Upload>("POST", "/notes/attachments", { body });
  await put(leave, file, onProgress, signal);
  return leave.attachment;
}

/** The file's name as its owner had it, from the name that its upload was given. */
export function filename(attachment: string): string {
  const last = attachment.slice(attachment.lastIndexOf("/") + 1);
  return last.replace(/^[0-9a-f]{32}-/, "");
}

/** By XMLHttpRequest, for `fetch` does not say how much is sent. */
function put({ uploadUrl, headers }: Upload, file: File, onProgress: (part: number) => void, signal: AbortSignal) {
  return new Promise<void>((done, failed) => {
    const call = new XMLHttpRequest();
    call.open("PUT", uploadUrl);
    for (const [name, value] of Object.entries(headers)) {
      // A browser sends the length by itself, and lets nobody else say it.
      if (name.toLowerCase() !== "content-length") call.setRequestHeader(name, value);
    }
    call.upload.onprogress = ({ loaded, total }) => onProgress(loaded / total);
    call.onload = () => {
      if (call.status < 300) done();
      else failed(new AppError(`The file was not taken (status ${call.status}). Choose it again to try again.`));
    };
    call.onerror = () => failed(new AppError(unreachable()));
    call.onabort = () => failed(signal.reason);
    signal.addEventListener("abort", () => call.abort());
    if (signal.aborted) failed(signal.reason);
    else call.send(file);
  });
}
