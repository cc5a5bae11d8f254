import type { Values } from "../fields.ts";
import type { Resource } from "./resource.ts";

/** The fields that the owner of a specimen writes. */
const fields = {
  // each field {
  epithet: { kind: "text", required: true },
  // each optional field:
  provenance: { kind: "text", required: false },
  // the others:
  accession: { kind: "text", required: true },
  quantity: { kind: "integer", required: true },
  weight: { kind: "decimal", required: false },
  onDisplay: { kind: "checkbox", required: true },
  foundOn: { kind: "date", required: false },
  examinedAt: { kind: "time", required: false },
  website: { kind: "url", required: false },
  curator: { kind: "email", required: false },
  // }
} as const;

export type SpecimenFields = Values<typeof fields>;

/** The specimens of the user. */
export const specimens: Resource<typeof fields> = {
  path: "/specimens",
  one: "specimen",
  many: "specimens",
  id: "specimenId",
  fields,
};
