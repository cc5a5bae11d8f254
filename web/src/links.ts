/** The pages of users who are logged in that the header links to: the name of each path. */
export const USER_LINKS: Record<string, string> = {
  "/notes": "Notes",
  "/billing": "Billing",
  "/settings": "Settings",
};
