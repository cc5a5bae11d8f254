/** Asks the user to log in. Rejects if the user declines. */
type LogInPrompt = () => Promise<void>;

let prompt: LogInPrompt | undefined;

/** Registers the prompt to show when the session expires. Returns a function that removes it. */
export function onSessionExpired(newPrompt: LogInPrompt): () => void {
  prompt = newPrompt;
  return () => {
    if (prompt === newPrompt) prompt = undefined;
  };
}

let pending: Promise<void> | undefined;

/** Asks the user to log in again. Concurrent requests share one prompt. Rejects if the user declines. */
export function logInAgain(): Promise<void> {
  pending ??= (prompt?.() ?? Promise.reject(new Error("You are not logged in."))).finally(() => {
    pending = undefined;
  });
  return pending;
}
