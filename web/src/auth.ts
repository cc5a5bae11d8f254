import { Amplify } from "aws-amplify";
import {
  confirmResetPassword,
  confirmSignUp,
  signOut as endSession,
  fetchAuthSession,
  signUp as register,
  resendSignUpCode,
  resetPassword,
  signIn,
  updatePassword,
} from "aws-amplify/auth";
import { config } from "./config.ts";

/** Who is signed in. */
export interface User {
  /** Cognito's name for the person: an e-mail address can change, this cannot. */
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
  API: { REST: { scratchpad: { endpoint: apiUrl, region, service: "execute-api" } } },
});

/** Who is signed in in this browser, if anybody is. */
export async function currentUser(): Promise<User | undefined> {
  const { tokens } = await fetchAuthSession();
  const claims = tokens?.idToken?.payload;
  return claims?.sub ? { id: claims.sub, email: String(claims.email) } : undefined;
}

/** Whether requests can be signed. `fresh` does not believe what is remembered. */
export async function hasCredentials({ fresh }: { fresh: boolean }): Promise<boolean> {
  const { credentials } = await fetchAuthSession({ forceRefresh: fresh });
  return credentials !== undefined;
}

/** Begins an account, whose e-mail address is then to be confirmed by a code. */
export async function signUp(email: string, password: string): Promise<void> {
  await register({ username: email, password, options: { userAttributes: { email } } });
}

export async function confirmEmail(email: string, code: string): Promise<void> {
  await confirmSignUp({ username: email, confirmationCode: code });
}

export async function resendCode(email: string): Promise<void> {
  await resendSignUpCode({ username: email });
}

/** Signs in by SRP: the password does not leave the browser. */
export async function logIn(email: string, password: string): Promise<"signed in" | "unconfirmed"> {
  // Amplify refuses to sign in over what is left of another session.
  await endSession();
  const { isSignedIn, nextStep } = await signIn({ username: email, password });
  if (isSignedIn) return "signed in";
  if (nextStep.signInStep === "CONFIRM_SIGN_UP") return "unconfirmed";
  throw new Error(`Signing in asks for ${nextStep.signInStep}, which this app does not know.`);
}

/** Ends the session, here or wherever the person is signed in, and forgets what was typed and not saved. */
export async function signOut({ everywhere }: { everywhere: boolean }): Promise<void> {
  await endSession({ global: everywhere });
  sessionStorage.clear();
}

export async function changePassword(oldPassword: string, newPassword: string): Promise<void> {
  await updatePassword({ oldPassword, newPassword });
}

/** Sends a code by which a new password can be set. */
export async function sendPasswordCode(email: string): Promise<void> {
  await resetPassword({ username: email });
}

export async function setNewPassword(email: string, code: string, newPassword: string): Promise<void> {
  await confirmResetPassword({ username: email, confirmationCode: code, newPassword });
}
