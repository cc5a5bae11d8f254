import type { FieldTable, FieldValue, Values } from "../fields.ts";
import { request } from "./client.ts";
import { getPage, type Page } from "./page.ts";

/** A resource of the API with a page in the app. */
export interface Resource<T extends FieldTable = FieldTable> {
  /** The path in the API and in the app, such as `/notes`. */
  path: string;
  /** The word for one item. */
  one: string;
  /** The word for several items. */
  many: string;
  /** The name of the field with the ID. */
  id: string;
  fields: T;
}

/** An item as the API returns it: its fields, its ID, and its times in milliseconds since the epoch. */
export type Item<T extends FieldTable = FieldTable> = Values<T> & { createdAt: number; updatedAt: number };

/** An item with the ETag of its current version. */
export interface ItemVersion<T extends FieldTable = FieldTable> {
  item: Item<T>;
  etag: string;
}

export const idOf = ({ id }: Resource, item: Record<string, FieldValue>) => String(item[id]);

/** The path of the first page of a list. */
export const firstPage = ({ path }: Resource) => `${path}?limit=100`;

export const listItems = <T extends FieldTable>(path: string): Promise<Page<Item<T>>> => getPage<Item<T>>(path);

export async function getItem<T extends FieldTable>(resource: Resource<T>, id: string): Promise<ItemVersion<T>> {
  const { body, headers } = await request<Item<T>>("GET", itemPath(resource, id));
  return { item: body, etag: etagOf(headers) };
}

/** Creates an item. Requests with the same idempotency key create one item. */
export async function createItem<T extends FieldTable>(
  { path }: Resource<T>,
  values: Values<T>,
  idempotencyKey: string,
): Promise<Item<T>> {
  const { body } = await request<Item<T>>("POST", path, {
    body: values,
    headers: { "Idempotency-Key": idempotencyKey },
  });
  return body;
}

/**
 * Updates an item if `etag` is still its current version, and returns the ETag of the new version.
 *
 * Fails with 412 if the item was changed elsewhere, and with 404 if it was deleted.
 */
export async function updateItem<T extends FieldTable>(
  resource: Resource<T>,
  id: string,
  values: Values<T>,
  etag: string,
): Promise<string> {
  const { headers } = await request("PUT", itemPath(resource, id), { body: values, headers: { "If-Match": etag } });
  return etagOf(headers);
}

/** Deletes an item. Succeeds if the item does not exist. */
export async function deleteItem(resource: Resource, id: string): Promise<void> {
  await request("DELETE", itemPath(resource, id));
}

const itemPath = ({ path }: Pick<Resource, "path">, id: string) => `${path}/${encodeURIComponent(id)}`;

/** If a proxy removed the header, falls back to `*`, with which a write is unconditional. */
const etagOf = (headers: Record<string, string>) => headers.etag ?? "*";
