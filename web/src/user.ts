import { createContext, useContext } from "react";
import type { User } from "./auth.ts";

/** Who is signed in. Pages that anybody may see have nobody. */
export const UserContext = createContext<User | undefined>(undefined);

/** For pages below `SignedIn`. */
export function useUser(): User {
  const user = useContext(UserContext);
  if (user === undefined) throw new Error("This page is for people who are signed in.");
  return user;
}
