import * as stacks from "./data-stacks.ts";
import type { Tables } from "./tables-stack.ts";

/** The tables of each stack, by the name of its unit. CloudFormation accepts no stack without resources. */
export const dataStacks: [unit: string, Tables][] = Object.entries<Tables>(stacks).filter(
  ([, tables]) => Object.keys(tables).length > 0,
);

/** The name and the definition of each table. */
export const allTables = dataStacks.flatMap(([, tables]) => Object.entries(tables));

/** The name of each table, with the name of its index or undefined. */
export const tableIndexes = allTables.map(([name, { index }]): [string, string | undefined] => [
  name,
  index?.indexName,
]);
