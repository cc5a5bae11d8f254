import { after, before } from "node:test";
import { type Browser, type BrowserContextOptions, chromium, type Page, type Request } from "playwright-core";
import { stage } from "./stage.ts";

/** The machine's own, never one that is downloaded: `cargo xtask test` finds it. */
export const CHROMIUM = {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
};

/** How long anything may take to be seen, in milliseconds. */
const PATIENCE = 20_000;

let browser: Browser;
before(async () => {
  browser = await chromium.launch(CHROMIUM);
});
after(() => browser.close());

/** A tab of a browser that nobody has used yet. It is closed with the test's end. */
export async function openTab(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({
    baseURL: stage.webUrl,
    viewport: { width: 1100, height: 800 },
    locale: "en-GB",
    timezoneId: "UTC",
    ...options,
  });
  context.setDefaultTimeout(PATIENCE);
  context.on("page", (page) => {
    // A tab with unsaved text asks before it goes.
    page.on("dialog", (dialog) => void dialog.accept());
  });
  return context.newPage();
}

/** Closes a tab, with what its browser remembers. */
export const closeTab = (page: Page) => page.context().close();

/** Runs a test in a tab of its own. */
export function inTab(run: (page: Page) => Promise<void>, options: BrowserContextOptions = {}) {
  return async () => {
    const page = await openTab(options);
    try {
      await run(page);
    } finally {
      await closeTab(page);
    }
  };
}

/** The requests of a verb that a tab sends to the API from now on. */
export function requestsTo(page: Page, verb: string, path: string): Request[] {
  const sent: Request[] = [];
  page.on("request", (request) => {
    if (request.method() === verb && request.url().startsWith(stage.apiUrl + path)) sent.push(request);
  });
  return sent;
}

/** Whether an address is the API's. */
export const isApi = (url: URL) => url.href.startsWith(stage.apiUrl);
