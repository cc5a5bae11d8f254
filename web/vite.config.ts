import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { stageServer } from "./stage-server.ts";

export default defineConfig({
  plugins: [react(), stageServer()],
  build: {
    // The policy of security-headers.ts takes no data: addresses.
    assetsInlineLimit: 0,
    // What it preloads by is an inline script, which the policy refuses; browsers of today need none.
    modulePreload: { polyfill: false },
  },
});
