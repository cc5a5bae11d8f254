import { route } from "./http.ts";
import { type Note, Notes, show } from "./notes.ts";
import { page } from "./page.ts";

export const handler = route(async (event) => {
  const { items, headers } = await page(event, Notes, "noteId", "notes");
  return [200, await show(items as Note[]), headers];
});
