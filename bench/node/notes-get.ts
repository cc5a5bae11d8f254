import { GetCommand } from "@aws-sdk/lib-dynamodb";
import { dynamodb } from "./dynamodb.ts";
import { caller, Problem, route } from "./http.ts";
import { type Note, Notes, show } from "./notes.ts";

export const handler = route(async (event) => {
  const Key = { userId: caller(event), noteId: event.pathParameters!.id };
  const { Item } = await dynamodb.send(new GetCommand({ TableName: Notes, Key, ConsistentRead: true }));
  if (!Item) throw new Problem(404, "You have no note with this id.");
  const note = Item as Note;
  const [shown] = await show([note]);
  return [200, shown, { ETag: `"${note.version}"` }];
});
