import { route } from "./http.ts";
import { page } from "./page.ts";

export const handler = route(async (event) => {
  const { items, headers } = await page(event, process.env.PURCHASES_TABLE!, "purchaseId", "billing");
  const shown = items.map(({ source: _, unsettledShard: __, dueAt: ___, paymentIntentId: ____, ...purchase }) => ({
    currency: "usd",
    ...purchase,
  }));
  return [200, shown, headers];
});
