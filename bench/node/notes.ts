// Notes and their attachments, shared by the notes routes.
import { DeleteObjectCommand, GetObjectCommand } from "@aws-sdk/client-s3";
import { BatchGetCommand, DeleteCommand, UpdateCommand } from "@aws-sdk/lib-dynamodb";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { dynamodb } from "./dynamodb.ts";
import { Problem } from "./http.ts";
import { Bucket, s3 } from "./s3.ts";

export const Notes = process.env.NOTES_TABLE!;
export const Storage = process.env.STORAGE_TABLE!;
export const Attachments = process.env.ATTACHMENTS_TABLE!;

export interface Note {
  userId: string;
  noteId: string;
  content: string;
  attachment: string | null;
  uploaded?: { contentType: string; size: number } | null;
  createdAt: number;
  updatedAt: number;
  version: string;
  counted: boolean;
}

type Write = Pick<Note, "userId" | "noteId" | "version">;

interface Draft {
  content: string;
  attachment: string | null;
}

/** Validates the body of a note. */
export function draft(body: Partial<Draft>): Draft {
  const { content, attachment = null } = body;
  if (typeof content !== "string" || content === "" || content.length > 100_000) throw new Problem(422, "content");
  if (attachment !== null && (typeof attachment !== "string" || attachment === ""))
    throw new Problem(422, "attachment");
  return { content, attachment };
}

/** The S3 key of the user's attachment. */
export function key(userId: string, attachment: string): string {
  const own = `private/${userId}/`;
  if (!attachment.startsWith("private/")) return own + attachment;
  if (!attachment.startsWith(own)) throw new Problem(422, "attachment");
  return attachment;
}

/** Notes as the API returns them, with download URLs. */
export async function show(notes: Note[]) {
  const unknown = notes.flatMap(({ userId, attachment, uploaded }) =>
    attachment && !uploaded ? [key(userId, attachment)] : [],
  );
  const keys = new Set(unknown);
  const files = new Map<string, Note["uploaded"]>();
  if (keys.size > 0) {
    const Keys = [...keys].map((attachment) => ({ userId: notes[0]!.userId, attachment }));
    const found = await dynamodb.send(new BatchGetCommand({ RequestItems: { [Attachments]: { Keys } } }));
    for (const file of found.Responses?.[Attachments] ?? []) files.set(file.attachment, file as Note["uploaded"]);
  }
  return Promise.all(
    notes.map(async ({ version: _, counted: __, uploaded, ...note }) => {
      const Key = note.attachment && key(note.userId, note.attachment);
      const file = Key && (uploaded ?? files.get(Key));
      if (!Key || !file || file.contentType === undefined) return note;
      const attachmentUrl = await getSignedUrl(s3, new GetObjectCommand({ Bucket, Key }), { expiresIn: 900 });
      return { ...note, attachmentType: file.contentType, attachmentSize: file.size, attachmentUrl };
    }),
  );
}

async function change(verb: "ADD" | "DELETE", { userId, noteId, version }: Write, attachment: string) {
  const { Attributes } = await dynamodb.send(
    new UpdateCommand({
      TableName: Attachments,
      Key: { userId, attachment },
      UpdateExpression: `${verb} claims :claim`,
      ExpressionAttributeValues: { ":claim": new Set([`${noteId}/${version}`]) },
      ReturnValues: "ALL_NEW",
    }),
  );
  return Attributes;
}

/** Adds a claim to the file of an attachment. Returns its type and size, or null if it is not uploaded yet. */
export async function claim(write: Write, attachment: string): Promise<Note["uploaded"]> {
  const file = await change("ADD", write, attachment);
  return file?.contentType === undefined ? null : { contentType: file.contentType, size: file.size };
}

/** Removes a claim, and deletes the file if no claim remains. */
export async function release(write: Write, attachment: string) {
  const { userId } = write;
  const left = await change("DELETE", write, attachment);
  if (left?.claims !== undefined) return;
  const ConditionExpression = "attribute_not_exists(claims)";
  await dynamodb.send(new DeleteCommand({ TableName: Attachments, Key: { userId, attachment }, ConditionExpression }));
  await s3.send(new DeleteObjectCommand({ Bucket, Key: attachment }));
}
