// Typed access to the tab's sessionStorage, which survives a reload. It stores drafts, idempotency keys and orders
// without a response.

/** Stores a value as JSON. Does nothing if the browser refuses: the value is only a backup. */
export function storeItem(name: string, value: object): void {
  try {
    sessionStorage.setItem(name, JSON.stringify(value));
  } catch {
    // The storage is full or disabled.
  }
}

export function loadItem<T>(name: string): T | undefined {
  const json = sessionStorage.getItem(name);
  return json === null ? undefined : (JSON.parse(json) as T);
}

export function removeItem(name: string): void {
  sessionStorage.removeItem(name);
}
