import { Amplify } from "aws-amplify";
import * as amplify from "aws-amplify/auth";
import { config } from "./config.ts";

/** The user who is logged in. */
export interface User {
  /** Cognito's `sub` claim. Unlike the e-mail address it never changes. */
  id: string;
  email: string;
}

const { apiUrl, region, userPoolId, userPoolClientId, identityPoolId, cognitoEndpoint } = config;

Amplify.configure({
  Auth: {
    Cognito: {
      userPoolId,
      userPoolClientId,
      identityPoolId,
      allowGuestAccess: false,
      ...(cognitoEndpoint && { userPoolEndpoint: cognitoEndpoint, identityPoolEndpoint: cognitoEndpoint }),
    },
  },
  API: { REST: { api: { endpoint: apiUrl, region, service: "execute-api" } } },
});

/** Returns the user who is logged in, in this browser. Undefined if no user is. */
export async function currentUser(): Promise<User | undefined> {
  const { tokens } = await amplify.fetchAuthSession();
  const claims = tokens?.idToken?.payload;
  return claims?.sub ? { id: claims.sub, email: String(claims.email) } : undefined;
}

/** Whether requests can be signed. With `refresh`, fetches new credentials instead of using the cached ones. */
export async function hasCredentials({ refresh }: { refresh: boolean }): Promise<boolean> {
  const { credentials } = await amplify.fetchAuthSession({ forceRefresh: refresh });
  return credentials !== undefined;
}

/** Creates an account. The user then confirms the e-mail address with a code. */
export async function signUp(email: string, password: string): Promise<void> {
  await amplify.signUp({ username: email, password, options: { userAttributes: { email } } });
}

export async function confirmEmail(email: string, code: string): Promise<void> {
  await amplify.confirmSignUp({ username: email, confirmationCode: code });
}

export async function resendCode(email: string): Promise<void> {
  await amplify.resendSignUpCode({ username: email });
}

/** Logs in with SRP: the password does not leave the browser. */
export async function logIn(email: string, password: string): Promise<"logged in" | "unconfirmed"> {
  // Amplify refuses to sign in while another session exists.
  await amplify.signOut();
  const { isSignedIn, nextStep } = await amplify.signIn({ username: email, password });
  if (isSignedIn) return "logged in";
  if (nextStep.signInStep === "CONFIRM_SIGN_UP") return "unconfirmed";
  throw new Error(`This app does not support the log-in step ${nextStep.signInStep}.`);
}

/** Ends the session, in this browser or on all devices, and deletes unsaved text. */
export async function logOut({ everywhere }: { everywhere: boolean }): Promise<void> {
  await amplify.signOut({ global: everywhere });
  sessionStorage.clear();
}

export async function changePassword(oldPassword: string, newPassword: string): Promise<void> {
  await amplify.updatePassword({ oldPassword, newPassword });
}

/** Sends a code with which the user can set a new password. */
export async function sendPasswordCode(email: string): Promise<void> {
  await amplify.resetPassword({ username: email });
}

export async function setNewPassword(email: string, code: string, newPassword: string): Promise<void> {
  await amplify.confirmResetPassword({ username: email, confirmationCode: code, newPassword });
}
