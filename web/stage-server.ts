import { readFileSync } from "node:fs";
import type { Plugin, PreviewServer, ViteDevServer } from "vite";
import { securityHeaders } from "./security-headers.ts";

/**
 * Plays CloudFront's part on a laptop: serves config.json of the stage that SCRATCHPAD_CONFIG names a file of, and with
 * the built app the headers that CloudFront sends. From its sources the app runs without, for Vite's own scripts.
 */
export function stageServer(): Plugin {
  const file = process.env.SCRATCHPAD_CONFIG;
  const serve = ({ middlewares }: ViteDevServer | PreviewServer, headers: boolean) => {
    if (file === undefined) return;
    process.stdin.on("end", () => process.exit()).resume(); // who started it is gone
    middlewares.use((request, response, next) => {
      const path = request.url?.split("?")[0] ?? "/";
      const config = readFileSync(file, "utf8");
      if (headers) {
        for (const [name, value] of Object.entries(headersOf(config))) response.setHeader(name, value);
        const lasting = path.startsWith("/assets/"); // their names carry a hash of their content
        response.setHeader("Cache-Control", lasting ? "public, max-age=31536000, immutable" : "no-cache");
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

function headersOf(config: string) {
  const { apiUrl, cognitoEndpoint, filesUrl, stripeScript } = JSON.parse(config);
  const origin = (address: string) => new URL(address).origin;
  return securityHeaders({
    api: [...new Set([apiUrl, cognitoEndpoint].map(origin))],
    files: origin(filesUrl),
    stripe: [origin(stripeScript)],
  });
}
