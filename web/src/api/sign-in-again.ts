type Ask = () => Promise<void>;

let ask: Ask | undefined;

/** Says who asks the person to sign in again. Gives back what takes it away. */
export function onSessionEnded(asks: Ask): () => void {
  ask = asks;
  return () => {
    if (ask === asks) ask = undefined;
  };
}

let asking: Promise<void> | undefined;

/** Has the person sign in again, once however many requests wait for it. Rejects when they do not want to. */
export function signInAgain(): Promise<void> {
  asking ??= (ask?.() ?? Promise.reject(new Error("Nobody is signed in."))).finally(() => {
    asking = undefined;
  });
  return asking;
}
