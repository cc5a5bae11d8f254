// The stacks with tables: one line per stack. The name of the export is the name of the unit.
export { tables as dynamodb } from "./dynamodb-stack.ts";
