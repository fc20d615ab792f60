import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

// While developing, requests go to a running MUTT (`cargo muttdev demo`), with its key added here:
//   MUTT_URL=http://127.0.0.1:8090 MUTT_KEY="$(cat /tmp/demo/webui_api_key)" npm run dev
const target = process.env.MUTT_URL ?? "http://127.0.0.1:8090";
const key = process.env.MUTT_KEY;

export default defineConfig({
  plugins: [react()],
  build: {
    target: "es2023",
    // The polyfill is a script of its own that no browser of today needs.
    modulePreload: { polyfill: false },
    assetsInlineLimit: 0,
    cssCodeSplit: true,
    reportCompressedSize: false,
  },
  server: {
    proxy: { "^/api/": { target, headers: key ? { "X-API-KEY": key } : {} } },
  },
});
