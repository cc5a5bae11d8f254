import { PutObjectCommand } from "@aws-sdk/client-s3";
import { getSignedUrl } from "@aws-sdk/s3-request-presigner";
import { v7 } from "uuid";
import { caller, json, Problem, route } from "./http.ts";
import { Bucket, s3 } from "./s3.ts";

interface File {
  filename: string;
  contentType: string;
  size: number;
}

export const handler = route(async (event) => {
  const { filename, contentType, size } = json<Partial<File>>(event);
  if (typeof filename !== "string" || !/^[^/\\]{1,255}$/.test(filename)) throw new Problem(422, "filename");
  if (typeof contentType !== "string" || !contentType.includes("/")) throw new Problem(422, "contentType");
  if (!Number.isInteger(size) || size! < 1 || size! > 5_000_000) throw new Problem(422, "size");
  const attachment = `private/${caller(event)}/${v7().replaceAll("-", "")}-${filename}`;
  const put = new PutObjectCommand({ Bucket, Key: attachment, ContentType: contentType, ContentLength: size });
  const expiresIn = 900;
  const uploadUrl = await getSignedUrl(s3, put, {
    expiresIn,
    signableHeaders: new Set(["content-type", "content-length"]),
  });
  const headers = { "Content-Length": String(size), "Content-Type": contentType };
  return [201, { attachment, uploadUrl, headers, expiresAt: Date.now() + expiresIn * 1000 }];
});
