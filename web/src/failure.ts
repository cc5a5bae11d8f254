/** An error in words for the user. */
export interface Failure {
  message: string;
  /** The ID under which the server's log has the request. */
  requestId?: string;
}

/** Converts an error to the failure that a form shows. */
export function toFailure(error: unknown): Failure {
  if (error instanceof AppError) return error;
  if (!(error instanceof Error)) return { message: String(error) };
  if (error.name === "NetworkError" || error instanceof TypeError) return { message: unreachableMessage() };
  return { message: COGNITO_MESSAGES[error.name] ?? error.message, ...cognitoRequestId(error) };
}

/** An error whose message is written for the user. */
export class AppError extends Error implements Failure {
  constructor(
    message: string,
    readonly requestId?: string,
  ) {
    super(message);
  }
}

export function unreachableMessage(): string {
  return navigator.onLine
    ? "The server cannot be reached. Nothing is lost. Try again in a moment."
    : "You are offline. Nothing is lost. Try again when you are back online.";
}

/** Messages for the Cognito errors that the user can fix. The other errors keep Cognito's own message. */
const COGNITO_MESSAGES: Record<string, string> = {
  CodeDeliveryFailureException: "The e-mail could not be sent. Check the address.",
  CodeMismatchException: "This code is wrong. Check it or send a new one.",
  ExpiredCodeException: "This code has expired. Send a new one.",
  InvalidPasswordException:
    "The password is too weak. Use 8 or more characters, with upper and lower case and a digit.",
  LimitExceededException: "Too many attempts. Wait 15 minutes, then try again.",
  NotAuthorizedException: "The e-mail address or the password is wrong.",
  TooManyFailedAttemptsException: "Too many attempts. Wait 15 minutes, then try again.",
  TooManyRequestsException: "Too many requests. Try again in a moment.",
  UserNotFoundException: "The e-mail address or the password is wrong.",
  UsernameExistsException: "This e-mail address already has an account. Log in or reset your password.",
};

function cognitoRequestId(error: Error): { requestId?: string } {
  const { metadata } = error as { metadata?: { requestId?: string } };
  return metadata?.requestId ? { requestId: metadata.requestId } : {};
}
