/** What went wrong, in words for the person whom it happened to. */
export interface Failure {
  message: string;
  /** What our log has it under. */
  requestId?: string;
}

/** What every error that reaches a form becomes. */
export function failureOf(error: unknown): Failure {
  if (error instanceof AppError) return error;
  if (!(error instanceof Error)) return { message: String(error) };
  if (error.name === "NetworkError" || error instanceof TypeError) return { message: unreachable() };
  return { message: COGNITO[error.name] ?? error.message, ...cognitoRequest(error) };
}

/** An error whose message is already in words for a person. */
export class AppError extends Error implements Failure {
  constructor(
    message: string,
    readonly requestId?: string,
  ) {
    super(message);
  }
}

export function unreachable(): string {
  return navigator.onLine
    ? "The server cannot be reached. Nothing is lost: try again in a moment."
    : "You are offline. Nothing is lost: try again once you are connected.";
}

/** Cognito's errors that a person can do something about. Its own sentences are kept for the rest. */
const COGNITO: Record<string, string> = {
  CodeDeliveryFailureException: "The e-mail could not be sent. Check the address.",
  CodeMismatchException: "That is not the code we sent. Check it, or have a new one sent.",
  ExpiredCodeException: "This code has expired. Have a new one sent.",
  InvalidPasswordException: "The password is too weak: 8 characters or more, with upper and lower case and a digit.",
  LimitExceededException: "That was tried too often. Wait a quarter of an hour, and try again.",
  NotAuthorizedException: "The e-mail address or the password is wrong.",
  TooManyFailedAttemptsException: "That was tried too often. Wait a quarter of an hour, and try again.",
  TooManyRequestsException: "Too many requests at once. Try again in a moment.",
  UserNotFoundException: "The e-mail address or the password is wrong.",
  UsernameExistsException: "There is an account with this e-mail address. Log in, or set a new password.",
};

function cognitoRequest(error: Error): { requestId?: string } {
  const { metadata } = error as { metadata?: { requestId?: string } };
  return metadata?.requestId ? { requestId: metadata.requestId } : {};
}
