import { createContext, useContext } from "react";
import type { User } from "./auth.ts";

/** The user who is logged in. Undefined on public pages. */
export const UserContext = createContext<User | undefined>(undefined);

/** Returns the user who is logged in. Only for components below `LoggedIn`. */
export function useUser(): User {
  const user = useContext(UserContext);
  if (user === undefined) throw new Error("useUser was called outside LoggedIn.");
  return user;
}
