// What a first visit costs, against the budgets: scripts at most 250 KiB Brotli in all, 150 KiB for
// the first page; styles at most 25 KiB; no fonts, no pictures but the icon.

import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";

const KIB = 1024;
const assets = new URL("../dist/assets", import.meta.url).pathname;
const html = readFileSync(new URL("../dist/index.html", import.meta.url), "utf8");
const size = (name) => {
  const path = join(assets, name);
  try {
    return statSync(`${path}.br`).size;
  } catch {
    return statSync(path).size;
  }
};
const files = readdirSync(assets).filter((name) => !/\.(br|gz)$/.test(name));
const sum = (names) => names.reduce((total, name) => total + size(name), 0);
const scripts = files.filter((name) => name.endsWith(".js"));
const first = scripts.filter((name) => html.includes(name) || name.startsWith("overview-") || name.startsWith("stream.worker"));
const budgets = [
  ["all scripts", sum(scripts), 250 * KIB],
  ["scripts of the first page", sum(first), 150 * KIB],
  ["styles", sum(files.filter((name) => name.endsWith(".css"))), 25 * KIB],
  ["fonts and pictures", sum(files.filter((name) => /\.(woff2?|ttf|png|jpe?g|gif|webp)$/.test(name))), 0],
];
let over = false;
for (const [what, bytes, limit] of budgets) {
  over ||= bytes > limit;
  console.log(`${what.padEnd(28)} ${(bytes / KIB).toFixed(1).padStart(7)} KiB of ${(limit / KIB).toFixed(0)} KiB${bytes > limit ? "  OVER" : ""}`);
}
process.exit(over ? 1 : 0);
