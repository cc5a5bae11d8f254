import type { Tables } from "./tables-stack.ts";

/** The tables of museum-api. */
export const tables: Tables = {
  // The specimens of each user, and the values of their unique fields.
  Specimens: { partitionKey: "userId", sortKey: "specimenId" },
};
