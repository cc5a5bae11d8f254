import { readFileSync } from "node:fs";
import type { Plugin, PreviewServer, ViteDevServer } from "vite";
import { securityHeaders } from "./security-headers.ts";

/**
 * Takes the role of CloudFront on a developer's machine.
 *
 * Serves the file that SCRATCHPAD_CONFIG names as /config.json. The preview server, which serves the build, also sends
 * CloudFront's headers. The dev server does not, because they would block Vite's own inline scripts.
 */
export function stageServer(): Plugin {
  const file = process.env.SCRATCHPAD_CONFIG;
  const serve = ({ middlewares }: ViteDevServer | PreviewServer, headers: boolean) => {
    if (file === undefined) return;
    process.stdin.on("end", () => process.exit()).resume(); // the parent process has ended
    middlewares.use((request, response, next) => {
      const path = request.url?.split("?")[0] ?? "/";
      const config = readFileSync(file, "utf8");
      if (headers) {
        for (const [name, value] of Object.entries(headersFor(config))) response.setHeader(name, value);
        const immutable = path.startsWith("/assets/"); // file names contain a hash of the content
        response.setHeader("Cache-Control", immutable ? "public, max-age=31536000, immutable" : "no-cache");
      }
      if (path !== "/config.json") return next();
      response.setHeader("Content-Type", "application/json");
      response.end(config);
    });
  };
  return {
    name: "stage-server",
    configureServer: (server) => serve(server, false),
    configurePreviewServer: (server) => serve(server, true),
  };
}

function headersFor(config: string) {
  const urls = JSON.parse(config);
  const origin = (url: string) => new URL(url).origin;
  return securityHeaders({
    api: [...new Set([urls.apiUrl, urls.cognitoEndpoint].map(origin))],
    files: origin(urls.filesUrl),
    others: [
      origin(urls.stripeScript), // part: billing
    ],
  });
}
