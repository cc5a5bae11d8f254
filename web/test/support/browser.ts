import { after, before } from "node:test";
import { type Browser, type BrowserContextOptions, chromium, type Page, type Request } from "playwright-core";
import { stage } from "./stage.ts";

/** Uses the Chromium that is installed on the machine. `cargo xtask test` finds it. */
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

/** How long an element may take to appear, in milliseconds. */
const TIMEOUT = 20_000;

let browser: Browser;
before(async () => {
  browser = await chromium.launch(CHROMIUM);
});
after(() => browser.close());

/** Opens a tab in a new browser context, without cookies or storage. */
export async function openTab(options: BrowserContextOptions = {}): Promise<Page> {
  const context = await browser.newContext({
    baseURL: stage.webUrl,
    viewport: { width: 1100, height: 800 },
    locale: "en-GB",
    timezoneId: "UTC",
    ...options,
  });
  context.setDefaultTimeout(TIMEOUT);
  context.on("page", (page) => {
    // Accepts the warning about unsaved text.
    page.on("dialog", (dialog) => void dialog.accept());
  });
  return context.newPage();
}

/** Closes a tab and its browser context. */
export const closeTab = (page: Page) => page.context().close();

/** Runs a test in a new tab. */
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

/** Collects the requests with this method and path that a tab sends to the API from now on. */
export function requestsTo(page: Page, method: string, path: string): Request[] {
  const sent: Request[] = [];
  page.on("request", (request) => {
    if (request.method() === method && request.url().startsWith(stage.apiUrl + path)) sent.push(request);
  });
  return sent;
}

/** Whether a URL belongs to the API. */
export const isApi = (url: URL) => url.href.startsWith(stage.apiUrl);
