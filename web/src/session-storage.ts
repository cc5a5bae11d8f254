/**
 * What outlives a reload of the tab: drafts, and the keys of what was sent and not answered.
 *
 * A value that cannot be kept (the browser refuses, or has no room) is not: it is a second line of defence.
 */
export function keep(name: string, value: object): void {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // As said above.
  }
}

export function kept<T>(name: string): T | undefined {
  const text = sessionStorage.getItem(name);
  return text === null ? undefined : (JSON.parse(text) as T);
}

export function forget(name: string): void {
  sessionStorage.removeItem(name);
}
