import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";
import { stageServer } from "./stage-server.ts";

export default defineConfig({
  plugins: [react(), stageServer()],
  build: {
    // The content security policy of security-headers.ts forbids data: URLs.
    assetsInlineLimit: 0,
    // The polyfill is an inline script, which the content security policy forbids. Current browsers do not need it.
    modulePreload: { polyfill: false },
  },
});
