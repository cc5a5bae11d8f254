/** How long a condition may take to become true, in milliseconds. */
const TIMEOUT = 20_000;

/** Reads a value until it satisfies a condition, and returns it. */
export async function eventually<T>(read: () => Promise<T>, satisfies: (value: T) => boolean): Promise<T> {
  const end = Date.now() + TIMEOUT;
  for (;;) {
    const value = await read();
    if (satisfies(value)) return value;
    if (Date.now() > end) throw new Error(`this value does not change: ${JSON.stringify(value)}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}
